// Where things are on the canvas, in pixels.

const MARGIN = { x: 70, y: 46 };
// Between parallel links.
const BULGE = 36;

/** Puts a picture's places onto a canvas; `view` is how far it is zoomed and moved. */
export function projection(picture, width, height, view) {
  const margin = { x: Math.min(MARGIN.x, width * 0.13), y: Math.min(MARGIN.y, height * 0.13) };
  const fit = Math.min((width - 2 * margin.x) / picture.width, (height - 2 * margin.y) / picture.height);
  const scale = fit * view.scale;
  const left = width / 2 + view.x - (picture.width / 2) * scale;
  const top = height / 2 + view.y - (picture.height / 2) * scale;
  const place = ([x, y]) => ({ x: left + x * scale, y: top + y * scale });
  const back = (x, y) => [(x - left) / scale, (y - top) / scale];
  return { place, back, scale };
}

/** How far each link bows out, by link, so that those between the same nodes lie side by side. */
export function bulges(links) {
  const between = new Map();
  for (const link of links) {
    const pair = [link.a, link.b].sort().join(" ");
    between.set(pair, [...(between.get(pair) ?? []), link]);
  }
  const found = new Map();
  for (const parallel of between.values()) {
    parallel.forEach((link, index) => {
      const side = link.a < link.b ? 1 : -1;
      found.set(link, side * BULGE * (index - (parallel.length - 1) / 2));
    });
  }
  return found;
}

/** A line from `a` to `b` that bows out by `bulge` in its middle. */
export function arc(a, b, bulge) {
  const length = Math.hypot(b.x - a.x, b.y - a.y) || 1;
  const across = { x: -(b.y - a.y) / length, y: (b.x - a.x) / length };
  const middle = { x: (a.x + b.x) / 2 + across.x * bulge, y: (a.y + b.y) / 2 + across.y * bulge };
  const control = { x: (a.x + b.x) / 2 + 2 * across.x * bulge, y: (a.y + b.y) / 2 + 2 * across.y * bulge };
  const point = (at) => `${at.x.toFixed(1)} ${at.y.toFixed(1)}`;
  const line = bulge ? `Q${point(control)} ${point(b)}` : `L${point(b)}`;
  const back = bulge ? `Q${point(control)} ${point(a)}` : `L${point(a)}`;
  return { forth: `M${point(a)}${line}`, back: `M${point(b)}${back}`, middle, across };
}

// Of an ordinary sans-serif letter; names are measured by it, which is quick and seldom too narrow.
const LETTER = 7.4;
const LINE = 14;
const CLEAR = 11;

function corners(spot, width) {
  const left = spot.anchor === "start" ? spot.x : spot.anchor === "end" ? spot.x - width : spot.x - width / 2;
  return { left, right: left + width, top: spot.y - LINE + 3, bottom: spot.y + 3 };
}

const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

function crosses(box, line) {
  // Sampled: good enough to keep words off lines.
  for (let step = 1; step < 12; step += 1) {
    const x = line.a.x + ((line.b.x - line.a.x) * step) / 12;
    const y = line.a.y + ((line.b.y - line.a.y) * step) / 12;
    if (x > box.left && x < box.right && y > box.top && y < box.bottom) return true;
  }
  return false;
}

/**
 * Where each node's name has room: beside it, clear of other nodes and names, and of lines where that can be.
 * The most linked come first; a name without room is left out, unless it must be there.
 */
export function labels(nodes, lines, limits) {
  const taken = nodes.map(({ at }) => ({ left: at.x - 7, right: at.x + 7, top: at.y - 7, bottom: at.y + 7 }));
  const found = new Map();
  for (const node of [...nodes].sort((a, b) => b.must - a.must || b.degree - a.degree || a.name.localeCompare(b.name))) {
    const { x, y } = node.at;
    const width = node.name.length * LETTER;
    const spots = [
      { x: x + CLEAR, y: y + 4, anchor: "start" },
      { x: x - CLEAR, y: y + 4, anchor: "end" },
      { x, y: y - CLEAR, anchor: "middle" },
      { x, y: y + CLEAR + LINE - 4, anchor: "middle" },
      { x: x + 8, y: y - 9, anchor: "start" },
      { x: x - 8, y: y - 9, anchor: "end" },
      { x: x + 8, y: y + 18, anchor: "start" },
      { x: x - 8, y: y + 18, anchor: "end" },
    ];
    let best = null;
    for (const spot of spots) {
      const box = corners(spot, width);
      const outside = box.left < 2 || box.right > limits.width - 2 || box.top < 2 || box.bottom > limits.height - 2;
      const hits = taken.filter((other) => overlap(box, other)).length;
      const cost = hits * 10 + (outside ? 8 : 0) + lines.filter((line) => crosses(box, line)).length;
      if (!best || cost < best.cost) best = { spot, box, cost };
      if (!cost) break;
    }
    if (best.cost >= 8 && !node.must) continue;
    taken.push(best.box);
    found.set(node.name, best.spot);
  }
  return found;
}

/** Degrees at which lines of a map's grid are drawn: round numbers, a handful of them. */
export function gridSteps(from, to, wanted) {
  const low = Math.min(from, to);
  const high = Math.max(from, to);
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((one) => one * power >= rough) * power;
  const found = [];
  for (let index = Math.ceil(low / step); index * step <= high && found.length < 50; index += 1) found.push(index * step);
  return { steps: found, digits: Math.max(0, -Math.floor(Math.log10(step))) };
}
