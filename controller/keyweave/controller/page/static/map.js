// The network drawn: on a map where all sites have a location, else as a graph. A picture only; the lists beside it say
// the same in words and are the way to it by keyboard.

import { html, say, set, shape, svg } from "./elements.js";
import { arc, bulges, gridSteps, labels, projection } from "./geometry.js";
import { MapView } from "./view.js";
import { PLACES } from "./model.js";
import { CONDITIONS, PAIR_STATES, PROTECTIONS, agentBadge, clock, fidelity, pairRate, percent, plural, rate } from "./words.js";

const KINDS = { map: "Map", graph: "Graph" };
const LAYERS = ["grid", "halos", "links", "ways", "marks", "nodes", "names", "hits"];
// Those of pairs are double lines.
const LINK_KINDS = ["link", "pair-link"];
// Of the arc that stands for what goes from end to end, over no node in between.
const DIRECT_BOW = 60;

export class NetworkMap {
  constructor(canvas, caption, model, open) {
    this.canvas = canvas;
    this.caption = caption;
    this.model = model;
    this.open = open;
    this.selection = { kind: "", name: "" };
    this.pointed = null;
    this.kind = "";
    this.buttons = new Map();
    this.root = svg("svg", { role: "img", "aria-label": "Map of the network" });
    this.layers = Object.fromEntries(LAYERS.map((name) => [name, svg("g", { class: name })]));
    this.root.append(...Object.values(this.layers));
    canvas.append(this.root);
    this.things = { link: new Map(), "pair-link": new Map(), node: new Map() };
    this.view = new MapView(this.root, () => this.draw());
    this.root.addEventListener("click", (event) => this.click(event));
    this.root.addEventListener("pointerover", (event) => this.point(thingOf(event.target)));
    this.root.addEventListener("pointerleave", () => this.point(null));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  offerKinds(group) {
    for (const [kind, title] of Object.entries(KINDS)) {
      const button = html("button", { type: "button", "aria-pressed": "false", onclick: () => this.choose(kind) }, title);
      this.buttons.set(kind, button);
      group.append(button);
    }
  }

  choose(kind) {
    this.kind = kind;
    this.view.reset();
    this.draw();
  }

  zoom(factor) {
    this.view.zoom(factor, this.canvas.clientWidth / 2, this.canvas.clientHeight / 2);
  }

  showAll() {
    this.view.reset();
    this.draw();
  }

  select(selection) {
    this.selection = { ...selection };
    this.draw();
  }

  /** What a pointer or the keyboard is on, in a list or here. */
  point(thing) {
    if (thing?.kind === this.pointed?.kind && thing?.name === this.pointed?.name) return;
    this.pointed = thing;
    this.emphasise();
    this.describe();
  }

  update({ message }) {
    if (message.pictures || Object.values(PLACES).some((name) => message[name])) this.draw();
    this.describe();
  }

  get picture() {
    const { pictures } = this.model;
    return pictures[this.kind] ?? pictures.map ?? pictures.graph;
  }

  draw() {
    const picture = this.picture;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.offer();
    if (!picture || !width || !height) return;
    const began = performance.now();
    this.drawAll(picture, width, height);
    performance.measure(this.measured ? "drawing" : "first-drawing", { start: began });
    this.measured = true;
  }

  drawAll(picture, width, height) {
    set(this.root, { viewBox: `0 0 ${width} ${height}`, width, height });
    const { place, back } = projection(picture, width, height, this.view);
    this.places = new Map(Object.entries(picture.places).map(([name, at]) => [name, place(at)]));
    this.drawGrid(picture.grid, back, place, width, height);
    this.drawLinks();
    // Many nodes in little room are drawn smaller.
    const room = Math.sqrt((width * height) / Math.max(1, this.places.size)) * this.view.scale;
    this.size = Math.min(1, Math.max(0.5, room / 45));
    this.root.classList.toggle("dense", this.size < 0.8);
    this.drawNodes(width, height);
    this.emphasise();
    this.describe();
  }

  offer() {
    const { pictures } = this.model;
    for (const [kind, button] of this.buttons) {
      button.disabled = !pictures[kind];
      button.setAttribute("aria-pressed", String(this.picture === pictures[kind] && Boolean(pictures[kind])));
    }
  }

  drawGrid(grid, back, place, width, height) {
    const lines = [];
    if (grid) {
      const [left, top] = back(0, 0);
      const [right, bottom] = back(width, height);
      const degrees = (x, y) => [grid.west + x * grid.per_x, grid.north + y * grid.per_y];
      const [west, north] = degrees(left, top);
      const [east, south] = degrees(right, bottom);
      const meridians = gridSteps(west, east, Math.max(2, width / 170));
      for (const degree of meridians.steps) {
        const { x } = place([(degree - grid.west) / grid.per_x, 0]);
        lines.push(svg("path", { d: `M${x} 0V${height}` }), svg("text", { x: x + 4, y: height - 6 }, compass(degree, "E", "W", meridians.digits)));
      }
      const parallels = gridSteps(south, north, Math.max(2, height / 140));
      for (const degree of parallels.steps) {
        const { y } = place([0, (degree - grid.north) / grid.per_y]);
        lines.push(svg("path", { d: `M0 ${y}H${width}` }), svg("text", { x: 6, y: y - 4 }, compass(degree, "N", "S", parallels.digits)));
      }
    }
    this.layers.grid.replaceChildren(...lines);
  }

  drawLinks() {
    const all = LINK_KINDS.flatMap((kind) => [...this.model[PLACES[kind]].values()].map((link) => ({ kind, link })));
    const bows = bulges(all.map(({ link }) => link));
    this.arcs = { link: new Map(), "pair-link": new Map() };
    for (const kind of LINK_KINDS) this.forget(kind);
    const words = [];
    const worst = all.sort((one, other) => CONDITIONS[one.link.condition].rank - CONDITIONS[other.link.condition].rank);
    for (const { kind, link } of worst) {
      const [a, b] = [this.places.get(link.a), this.places.get(link.b)];
      if (!a || !b) continue;
      // No fibre is behind a link of keys that are made of pairs: it passes over the nodes between.
      const ofPairs = link.technology === "ENTANGLED";
      const way = arc(a, b, bows.get(link) || (ofPairs ? DIRECT_BOW : 0));
      this.arcs[kind].set(link.name, { ...way, a, b });
      const parts = this.things[kind].get(link.name) ?? this.addLink(kind, link.name);
      const look = CONDITIONS[link.condition];
      for (const part of [parts.halo, parts.line, parts.core, parts.hit]) if (part) set(part, { d: way.forth });
      set(parts.line, { "data-condition": link.condition });
      set(parts.mark, { transform: `translate(${way.middle.x.toFixed(1)} ${way.middle.y.toFixed(1)})`, "data-condition": link.condition });
      if (parts.mark.dataset.shape !== look.shape) {
        parts.mark.setAttribute("class", `mark tone-${look.tone}`);
        parts.mark.dataset.shape = look.shape;
        const drawing = link.condition === "ok" ? [] : [svg("circle", { r: 9 }), shape(look.shape), svg("text", { y: 22, "text-anchor": "middle" }, look.word)];
        parts.mark.replaceChildren(...drawing);
      }
      // Where marks crowd, the worst keep their words; all keep their shapes.
      const crowded = words.some((other) => Math.abs(other.x - way.middle.x) < 62 && Math.abs(other.y - way.middle.y) < 15);
      parts.mark.classList.toggle("crowded", crowded);
      if (link.condition !== "ok" && !crowded) words.push(way.middle);
    }
  }

  /** Takes away what is drawn of things that are gone. */
  forget(kind) {
    const drawn = this.things[kind];
    for (const [name, parts] of drawn) {
      if (this.model.thing(kind, name)) continue;
      Object.values(parts).forEach((part) => part.remove());
      drawn.delete(name);
    }
  }

  addLink(kind, name) {
    const parts = {
      halo: svg("path", { class: "halo" }),
      line: svg("path", { class: kind === "link" ? "link" : "link pairs", [`data-${kind}`]: name }),
      mark: svg("g", { class: "mark" }),
      hit: svg("path", { class: "hit", "data-kind": kind, "data-name": name }),
    };
    this.layers.halos.append(parts.halo);
    this.layers.links.append(parts.line);
    if (kind === "pair-link") {
      parts.core = svg("path", { class: "core" });
      this.layers.links.append(parts.core);
    }
    this.layers.marks.append(parts.mark);
    this.layers.hits.append(parts.hit);
    this.things[kind].set(name, parts);
    return parts;
  }

  drawNodes(width, height) {
    const { node: drawn } = this.things;
    this.forget("node");
    const degrees = new Map();
    for (const link of [...this.model.links.values(), ...this.model.pair_links.values()]) {
      for (const end of [link.a, link.b]) degrees.set(end, (degrees.get(end) ?? 0) + 1);
    }
    const placed = [];
    for (const node of this.model.nodes.values()) {
      const at = this.places.get(node.name);
      if (!at) continue;
      const must = this.selection.kind === "node" && this.selection.name === node.name;
      placed.push({ name: node.name, at, degree: degrees.get(node.name) ?? 0, must });
      const parts = drawn.get(node.name) ?? this.addNode(node.name);
      set(parts.dot, { transform: `translate(${at.x.toFixed(1)} ${at.y.toFixed(1)}) scale(${this.size.toFixed(2)})`, class: `node tone-${agentBadge(node).tone}`, "data-connected": node.connected });
      set(parts.hit, { cx: at.x.toFixed(1), cy: at.y.toFixed(1) });
    }
    const spots = labels(placed, LINK_KINDS.flatMap((kind) => [...this.arcs[kind].values()]), { width, height });
    for (const { name, at } of placed) {
      const { text } = drawn.get(name);
      const spot = spots.get(name) ?? { x: at.x + 11, y: at.y + 4, anchor: "start" };
      set(text, { x: spot.x.toFixed(1), y: spot.y.toFixed(1), "text-anchor": spot.anchor, "data-crowded": spots.has(name) ? null : "" });
    }
  }

  addNode(name) {
    const parts = {
      dot: svg("g", { class: "node", "data-node": name }, svg("circle", { class: "ring", r: 11 }), svg("circle", { class: "disc", r: 6.5 }), svg("path", { class: "lost", d: "M-3-3 3 3M3-3-3 3" })),
      text: svg("text", { class: "name" }, name),
      hit: svg("circle", { class: "hit", r: 14, "data-kind": "node", "data-name": name }),
    };
    this.layers.nodes.append(parts.dot);
    this.layers.names.append(parts.text);
    this.layers.hits.append(parts.hit);
    this.things.node.set(name, parts);
    return parts;
  }

  /** Brings out what is chosen or pointed at, with the ways of a stream, and lets the rest recede. */
  emphasise() {
    if (!this.arcs) return;
    const shown = this.pointed ?? (this.selection.kind ? this.selection : null);
    const thing = shown && this.model.thing(shown.kind, shown.name);
    const stream = shown?.kind === "stream" || shown?.kind === "pair-stream" ? thing : null;
    // What is brought out, by kind.
    const strong = { link: new Set(), "pair-link": new Set(), node: new Set() };
    strong[shown?.kind]?.add(shown.name);
    const ways = !stream ? [] : shown.kind === "stream" ? this.ways(stream, strong.link, strong.node) : this.pairWays(stream, strong);
    this.layers.ways.replaceChildren(...ways);
    this.root.classList.toggle("with-stream", Boolean(stream));
    for (const kind of LINK_KINDS) {
      for (const [name, parts] of this.things[kind]) {
        for (const part of Object.values(parts)) part.classList.toggle("strong", strong[kind].has(name));
      }
    }
    for (const [name, parts] of this.things.node) {
      for (const part of Object.values(parts)) part.classList.toggle("strong", strong.node.has(name));
      parts.dot.classList.toggle("end", Boolean(stream) && (name === stream.source || name === stream.target));
    }
  }

  ways(stream, links, nodes) {
    const found = [];
    const way = this.model.way(stream);
    const now = new Set(way.paths);
    for (const group of [...stream.path_sets].reverse()) {
      for (const path of group.paths) {
        const line = this.way("link", path);
        if (!line) continue;
        if (now.has(path)) {
          path.links.forEach((link) => links.add(link));
          path.nodes.forEach((node) => nodes.add(node));
        }
        const marks = { "data-stream": stream.name, "data-links": path.links.join(" ") };
        if (!now.has(path)) found.unshift(svg("path", { class: "way backup", d: line, ...marks }));
        else found.push(svg("path", { class: "way used", d: line, "data-word": way.word, ...marks }), svg("path", { class: "flow", d: line }));
      }
    }
    const [a, b] = [this.places.get(stream.source), this.places.get(stream.target)];
    if (a && b) {
      nodes.add(stream.source).add(stream.target);
      if (stream.protection === "pqc") {
        const direct = arc(a, b, DIRECT_BOW);
        found.push(svg("path", { class: "way classical", d: direct.forth, "data-stream": stream.name, "data-links": "" }));
        found.push(svg("text", { class: "way-word", x: direct.middle.x, y: direct.middle.y - 6, "text-anchor": "middle" }, "ML-KEM only"));
      }
    }
    return found;
  }

  /** The paths of a pair stream, and what comes over them, in words. */
  pairWays(stream, strong) {
    const found = [];
    for (const path of stream.paths) {
      const line = this.way("pair-link", path);
      if (!line) continue;
      path.links.forEach((link) => strong["pair-link"].add(link));
      path.nodes.forEach((node) => strong.node.add(node));
      const marks = { "data-pair-stream": stream.name, "data-links": path.links.join(" ") };
      found.push(svg("path", { class: "way used pairs", d: line, ...marks }));
    }
    [stream.source, stream.target].forEach((node) => strong.node.add(node));
    const first = stream.paths[0] && this.arcs["pair-link"].get(stream.paths[0].links[0]);
    if (first) {
      const { delivered_rate_hz: delivered, fidelity: measured } = stream.figures;
      const said = `${pairRate(delivered)}${measured == null ? "" : `, fidelity ${fidelity(measured)}`}`;
      found.push(svg("text", { class: "way-word pairs", x: first.middle.x, y: first.middle.y - 24, "text-anchor": "middle" }, said));
    }
    return found;
  }

  way(kind, path) {
    const pieces = path.links.map((name, index) => {
      const along = this.arcs[kind].get(name);
      if (!along) return "";
      return this.model.thing(kind, name).a === path.nodes[index] ? along.forth : along.back;
    });
    return pieces.every(Boolean) ? pieces.join("") : "";
  }

  describe() {
    const { nodes, links, pair_links: pairLinks } = this.model;
    const bad = [...links.values(), ...pairLinks.values()].filter((link) => link.condition !== "ok");
    const ofPairs = pairLinks.size ? `, ${plural(pairLinks.size, "link")} of entangled pairs` : "";
    const said = `${plural(nodes.size, "node")}, ${plural(links.size, "link")}${ofPairs}; ${
      bad.length ? bad.map((link) => `${link.name} is ${link.condition}`).slice(0, 12).join(", ") : "all links are ok"
    }`;
    set(this.root, { "aria-label": `Picture of the network: ${said}` });
    const thing = this.pointed && this.model.thing(this.pointed.kind, this.pointed.name);
    say(this.caption, thing ? CAPTIONS[this.pointed.kind](thing) : this.idleCaption());
  }

  idleCaption() {
    const { nodes, status } = this.model;
    if (status.epoch === undefined) return "Waiting for the controller.";
    if (!nodes.size) return "There are no nodes yet.";
    if (!this.picture) return "The network is being laid out.";
    const made = status.planned_at ? `, made at ${clock(status.planned_at)}` : "";
    return `Plan ${status.plan_version}${made}. Point at something for its figures, choose it for all that is known.`;
  }

  click(event) {
    const thing = thingOf(event.target);
    if (this.view.dragged) return;
    if (thing) this.open(thing.kind, thing.name);
    else if (this.selection.kind) this.open("", "");
  }
}

const CAPTIONS = {
  link: (link) => `${link.name}: ${CONDITIONS[link.condition].word}, QBER ${percent(link.figures.qber_ratio)}, ${rate(link.figures.skr_bps)}`,
  node: (node) => `${node.name}: ${agentBadge(node).word}${node.location ? `, ${node.location}` : ""}`,
  "pair-link": (link) => `${link.name}: ${CONDITIONS[link.condition].word}, ${pairRate(link.figures.pair_rate_hz)} of fidelity ${fidelity(link.figures.fidelity)}`,
  "pair-stream": (stream) => `${stream.name}: ${PAIR_STATES[stream.state].word}, ${pairRate(stream.figures.delivered_rate_hz)} of fidelity ${fidelity(stream.figures.fidelity)}`,
  stream: (stream) => `${stream.name}: ${PROTECTIONS[stream.protection].word}, ${rate(stream.figures.delivered_bps)}`,
};

function thingOf(target) {
  const hit = target.closest("[data-kind]");
  return hit ? { kind: hit.dataset.kind, name: hit.dataset.name } : null;
}

function compass(degree, positive, negative, digits) {
  return `${Math.abs(degree).toFixed(digits)}° ${degree < 0 ? negative : positive}`;
}
