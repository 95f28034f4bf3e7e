// How far the map is zoomed and moved: by wheel and drag here, by buttons beside it.

const LEAST = 1;
const MOST = 24;
const DRAG_PIXELS = 4;

export class MapView {
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    this.pointer = null;
    // Whether the click that ends a drag is just coming.
    this.dragged = false;
    this.reset();
    root.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    root.addEventListener("pointerdown", (event) => this.press(event));
    root.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) root.addEventListener(end, () => this.release());
  }

  reset() {
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.root.classList.remove("zoomed");
  }

  zoom(factor, x, y) {
    const scale = Math.min(MOST, Math.max(LEAST, this.scale * factor));
    const ratio = scale / this.scale;
    const { width, height } = this.root.getBoundingClientRect();
    // What is under the pointer stays there.
    this.x = (this.x - (x - width / 2)) * ratio + (x - width / 2);
    this.y = (this.y - (y - height / 2)) * ratio + (y - height / 2);
    this.scale = scale;
    if (scale === LEAST) this.x = this.y = 0;
    this.root.classList.toggle("zoomed", scale > LEAST);
    this.changed();
  }

  wheel(event) {
    event.preventDefault();
    const box = this.root.getBoundingClientRect();
    this.zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
  }

  press(event) {
    this.dragged = false;
    if (this.scale > LEAST && event.button === 0) this.pointer = { x: event.clientX, y: event.clientY, id: event.pointerId };
  }

  move(event) {
    if (!this.pointer || event.pointerId !== this.pointer.id) return;
    const [dx, dy] = [event.clientX - this.pointer.x, event.clientY - this.pointer.y];
    if (!this.dragged && Math.hypot(dx, dy) < DRAG_PIXELS) return;
    if (!this.dragged) this.root.setPointerCapture(event.pointerId);
    this.dragged = true;
    this.x += dx;
    this.y += dy;
    this.pointer = { ...this.pointer, x: event.clientX, y: event.clientY };
    this.changed();
  }

  release() {
    this.pointer = null;
  }
}
