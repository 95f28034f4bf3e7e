// Streams, links, nodes and pairs as tables: all that the map shows, in words, and the way to it by keyboard.

import { badge, html, say } from "./elements.js";
import { PLACES } from "./model.js";
import { CONDITIONS, PAIR_STATES, PROTECTIONS, agentBadge, fidelity, number, percent, plural, rate } from "./words.js";

const TABS = {
  stream: {
    title: "Streams",
    columns: ["Stream and its path", "Protected by", "Delivered"],
    under: (stream, model) => model.way(stream).paths.map((path) => path.nodes.join(" › ")).join("; ") || "no quantum path",
    row: (stream) => [badge(PROTECTIONS[stream.protection]), rate(stream.figures.delivered_bps)],
    words: (stream) => `${stream.name} ${PROTECTIONS[stream.protection].word} ${stream.source} ${stream.target} ${stream.tenant}`,
    marks: (stream, model) => ({ "data-protection": stream.protection, "data-links": model.way(stream).paths.flatMap((path) => path.links).join(" ") }),
  },
  link: {
    title: "Links",
    columns: ["Link", "Condition", "QBER", "Key rate"],
    under: (link) => `${link.a} – ${link.b}`,
    row: (link) => [badge(CONDITIONS[link.condition]), percent(link.figures.qber_ratio), rate(link.figures.skr_bps)],
    words: (link) => `${link.name} ${CONDITIONS[link.condition].word} ${link.a} ${link.b} ${link.diagnosis}`,
    marks: (link) => ({ "data-condition": link.condition }),
  },
  node: {
    title: "Nodes",
    columns: ["Node", "Agent", "Links"],
    under: (node) => node.location,
    row: (node, model) => [badge(agentBadge(node)), linksAt(node, model)],
    words: (node) => `${node.name} ${agentBadge(node).word} ${node.owner} ${node.location} ${node.trust_domain}`,
    marks: (node) => ({ "data-connected": node.connected }),
  },
  "pair-stream": {
    title: "Pair streams",
    columns: ["Pair stream and its path", "State", "Pairs/s", "Fidelity"],
    under: (stream) => stream.paths.map((path) => path.nodes.join(" › ")).join("; ") || "no path",
    row: (stream) => [badge(PAIR_STATES[stream.state]), number(stream.figures.delivered_rate_hz), fidelity(stream.figures.fidelity)],
    words: (stream) => `${stream.name} ${stream.state} ${stream.source} ${stream.target} ${stream.tenant}`,
    marks: (stream) => ({ "data-state": stream.state, "data-links": stream.paths.flatMap((path) => path.links).join(" ") }),
  },
  "pair-link": {
    title: "Pair links",
    columns: ["Pair link", "Condition", "Pairs/s", "Fidelity"],
    under: (link) => `${link.a} – ${link.b}`,
    row: (link) => [badge(CONDITIONS[link.condition]), number(link.figures.pair_rate_hz), fidelity(link.figures.fidelity)],
    words: (link) => `${link.name} ${CONDITIONS[link.condition].word} ${link.a} ${link.b}`,
    marks: (link) => ({ "data-condition": link.condition }),
  },
};
// Shown only where somebody makes or wants entangled pairs.
const OF_PAIRS = ["pair-stream", "pair-link"];

function linksAt(node, model) {
  const links = [...model.links.values()].filter((link) => link.a === node.name || link.b === node.name);
  const ok = links.filter((link) => link.condition === "ok").length;
  return ok === links.length ? plural(ok, "link") : `${ok} of ${links.length} ok`;
}

export class Lists {
  constructor(tabs, tables, filter, model, { open, point }) {
    this.tabs = tabs;
    this.filter = filter;
    this.model = model;
    this.open = open;
    this.point = point;
    this.selection = {};
    this.panels = new Map();
    for (const [kind, tab] of Object.entries(TABS)) this.build(kind, tab, tables);
    tabs.addEventListener("keydown", (event) => this.moveTab(event));
    filter.addEventListener("input", () => this.update());
    this.choose("stream");
  }

  build(kind, tab, tables) {
    const button = html("button", { type: "button", role: "tab", id: `tab-${kind}`, "aria-controls": `panel-${kind}`, onclick: () => this.choose(kind) }, tab.title);
    const body = html("tbody", {});
    const head = html("tr", {}, tab.columns.map((title) => html("th", { scope: "col" }, title)));
    const table = html("table", { class: `table-${kind}`, "aria-describedby": "keys-help" }, html("caption", { class: "hidden" }, tab.title), html("thead", {}, head), body);
    const empty = html("p", { class: "nothing", hidden: true });
    const panel = html("div", { role: "tabpanel", id: `panel-${kind}`, "aria-labelledby": `tab-${kind}` }, table, empty);
    body.addEventListener("keydown", (event) => this.moveRow(event, kind));
    body.addEventListener("pointerover", (event) => this.pointAt(event, kind));
    body.addEventListener("pointerleave", () => this.point(null));
    body.addEventListener("focusin", (event) => this.pointAt(event, kind));
    body.addEventListener("focusout", () => this.point(null));
    this.tabs.append(button);
    tables.append(panel);
    this.panels.set(kind, { button, panel, body, empty, rows: new Map() });
  }

  choose(kind) {
    this.kind = kind;
    for (const [name, { button, panel }] of this.panels) {
      button.setAttribute("aria-selected", String(name === kind));
      button.tabIndex = name === kind ? 0 : -1;
      panel.hidden = name !== kind;
    }
    this.update();
  }

  filterBy(kind, text) {
    this.filter.value = text;
    this.choose(kind);
    this.panels.get(kind).button.focus();
  }

  select(selection) {
    this.selection = { ...selection };
    if (selection.kind && selection.kind !== this.kind) this.choose(selection.kind);
    else this.update();
  }

  focus({ kind, name }) {
    this.choose(kind);
    const row = this.panels.get(kind).rows.get(name);
    (row && !row.line.hidden ? row.button : this.panels.get(kind).button).focus();
  }

  update() {
    for (const kind of OF_PAIRS) this.panels.get(kind).button.hidden = !this.model.hasPairs;
    if (this.panels.get(this.kind).button.hidden) return this.choose("stream");
    const tab = TABS[this.kind];
    const { body, empty, rows } = this.panels.get(this.kind);
    const things = this.model[PLACES[this.kind]];
    for (const [name, row] of rows) {
      if (things.has(name)) continue;
      row.line.remove();
      rows.delete(name);
    }
    let before = null;
    let shown = 0;
    const wanted = this.filter.value.trim().toLowerCase().split(/\s+/);
    for (const [name, thing] of things) {
      const row = rows.get(name) ?? this.addRow(rows, name, tab);
      const next = before ? before.nextElementSibling : body.firstElementChild;
      if (next !== row.line) body.insertBefore(row.line, next);
      before = row.line;
      const words = tab.words(thing).toLowerCase();
      row.line.hidden = !wanted.every((word) => words.includes(word));
      if (!row.line.hidden) shown += 1;
      this.fill(row, thing, tab);
    }
    this.rove(rows);
    empty.hidden = shown > 0;
    say(empty, things.size ? `None of ${things.size} matches.` : `There are no ${tab.title.toLowerCase()} yet.`);
  }

  addRow(rows, name, tab) {
    const kind = this.kind;
    const button = html("button", { type: "button", class: "row-button", tabindex: "-1", "data-name": name, onclick: () => this.open(kind, name) }, name);
    const cells = tab.columns.slice(1).map(() => html("td", {}));
    const under = html("span", { class: "under" });
    const line = html("tr", { "data-name": name }, html("th", { scope: "row" }, button, under), cells);
    line.addEventListener("click", (event) => event.target.closest("button") || this.open(kind, name));
    const row = { line, button, under, cells, shown: [] };
    rows.set(name, row);
    return row;
  }

  fill(row, thing, tab) {
    for (const [name, value] of Object.entries(tab.marks(thing, this.model))) row.line.setAttribute(name, value);
    const chosen = this.selection.kind === this.kind && this.selection.name === thing.name;
    if (chosen) row.button.setAttribute("aria-current", "true");
    else row.button.removeAttribute("aria-current");
    row.line.classList.toggle("chosen", chosen);
    say(row.under, tab.under(thing, this.model));
    tab.row(thing, this.model).forEach((content, index) => {
      const text = typeof content === "string" ? content : content.outerHTML;
      if (row.shown[index] === text) return;
      row.shown[index] = text;
      row.cells[index].replaceChildren(content);
    });
  }

  /** One row is in the tab order; arrow keys go to the others. */
  rove(rows) {
    const seen = [...rows.values()].filter((row) => !row.line.hidden);
    const current =
      seen.find((row) => row.button === document.activeElement) ??
      seen.find((row) => row.button.hasAttribute("aria-current")) ??
      seen.find((row) => row.button.tabIndex === 0) ??
      seen[0];
    for (const row of rows.values()) row.button.tabIndex = row === current ? 0 : -1;
  }

  moveRow(event, kind) {
    const seen = [...this.panels.get(kind).body.querySelectorAll("tr:not([hidden]) .row-button")];
    const at = seen.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: seen.length - 1, PageDown: at + 10, PageUp: at - 10 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    seen[Math.max(0, Math.min(seen.length - 1, to))].focus();
    this.rove(this.panels.get(kind).rows);
  }

  moveTab(event) {
    const kinds = [...this.panels.keys()].filter((kind) => !this.panels.get(kind).button.hidden);
    const at = kinds.indexOf(this.kind);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: kinds.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.choose(kinds[(to + kinds.length) % kinds.length]);
    this.panels.get(this.kind).button.focus();
  }

  pointAt(event, kind) {
    const line = event.target.closest("tr[data-name]");
    this.point(line ? { kind, name: line.dataset.name } : null);
  }
}
