// The network in one line; each entry filters the list it counts.

import { badge, html } from "./elements.js";
import { CONDITIONS, PAIR_STATES, PROTECTIONS, plural } from "./words.js";

export class Summary {
  constructor(list, model, filter) {
    this.list = list;
    this.model = model;
    this.filter = filter;
    this.shown = "";
  }

  update() {
    const entries = [...this.entries()];
    const shown = JSON.stringify(entries);
    if (shown === this.shown) return;
    this.shown = shown;
    document.title = this.title();
    const focused = document.activeElement?.dataset?.entry;
    this.list.replaceChildren(...entries.map((entry) => this.item(entry)));
    if (focused) this.list.querySelector(`[data-entry="${CSS.escape(focused)}"]`)?.focus();
  }

  /** What a tab in the background says. */
  title() {
    const { links, pair_links } = this.model;
    const conditions = [...links.values(), ...pair_links.values()].map((link) => link.condition);
    const wrong = ["down", "suspect", "degraded", "stale"].map((one) => [conditions.filter((each) => each === one).length, one]);
    const worst = wrong.find(([number]) => number);
    return worst ? `${worst.join(" ")} – Keyweave` : "Keyweave";
  }

  *entries() {
    const { nodes, links, streams, pair_links, pair_streams, status } = this.model;
    const away = [...nodes.values()].filter((node) => !node.connected).length;
    yield away
      ? { tab: "node", text: "away", look: { word: `${away} of ${plural(nodes.size, "agent")} away`, shape: "cross", tone: "down" } }
      : { tab: "node", text: "", look: { word: `${plural(nodes.size, "agent")}`, shape: "disc", tone: "ok" } };
    yield* this.counted("link", links, (link) => CONDITIONS[link.condition], plural(links.size, "link"));
    yield* this.counted("stream", streams, (stream) => PROTECTIONS[stream.protection], plural(streams.size, "stream"));
    if (this.model.hasPairs) {
      yield* this.counted("pair-link", pair_links, (link) => CONDITIONS[link.condition], plural(pair_links.size, "pair link"));
      yield* this.counted("pair-stream", pair_streams, (stream) => PAIR_STATES[stream.state], plural(pair_streams.size, "pair stream"));
    }
    const emulated = [...links.values()].some((link) => link.emulated) || [...nodes.values()].some((node) => node.memories?.emulated);
    if (emulated) yield { look: { word: "emulated devices", shape: "ring", tone: "stale" } };
    if (status.read_only) yield { look: { word: "controller is read-only", shape: "cross", tone: "down" } };
    if (status.warming_up) yield { look: { word: "warming up", shape: "ring", tone: "stale" } };
    for (const order of status.orders ?? []) {
      const what = `${order.kind.replaceAll("_", " ")} ${order.link || order.node}`;
      yield { look: { word: `${what}: waits for ${order.waiting_for.join(", ")}`, shape: "ring", tone: "stale" } };
    }
  }

  *counted(tab, things, look, all) {
    const numbers = new Map();
    for (const thing of things.values()) {
      const found = look(thing);
      numbers.set(found, (numbers.get(found) ?? 0) + 1);
    }
    const found = [...numbers].sort(([a], [b]) => b.rank - a.rank);
    yield { tab, text: "", word: all };
    for (const [one, number] of found) {
      yield { tab, text: one.word, look: { ...one, word: `${number} ${one.word}` } };
    }
  }

  item(entry) {
    const content = entry.look ? badge(entry.look) : entry.word;
    if (!entry.tab) return html("li", {}, content);
    const press = () => this.filter(entry.tab, entry.text);
    return html("li", {}, html("button", { type: "button", class: "quiet", "data-entry": `${entry.tab} ${entry.text}`, onclick: press }, content));
  }
}
