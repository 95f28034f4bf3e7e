// All that is known of one stream, link or node.

import { html } from "./elements.js";
import { pairLinkParts, pairStreamParts } from "./pairs.js";
import { linkParts, nodeParts, streamParts } from "./parts.js";

const PARTS = { stream: streamParts, link: linkParts, node: nodeParts, "pair-stream": pairStreamParts, "pair-link": pairLinkParts };
const TITLES = { stream: "Stream", link: "Link", node: "Node", "pair-stream": "Pair stream", "pair-link": "Pair link" };
// Streams whose why the controller tells: where to ask, and what of them makes it another.
const EXPLAINED = {
  stream: { path: "explain/", of: (stream) => [stream.path_sets, stream.protection] },
  "pair-stream": { path: "explain/pair-stream/", of: (stream) => [stream.paths.map((path) => path.links), stream.state] },
};

export class Detail {
  constructor(section, model, { open, close }) {
    this.section = section;
    this.model = model;
    this.open = open;
    this.selection = { kind: "", name: "" };
    this.title = html("h2", { id: "detail-title", tabindex: "-1" });
    this.body = html("div", { class: "detail-body" });
    const button = html("button", { type: "button", class: "quiet", id: "close", onclick: close }, "Close");
    section.append(html("div", { class: "panel-head" }, this.title, button), this.body);
    this.explained = { key: "", block: html("div", { class: "explain" }) };
  }

  show(selection, { focus }) {
    this.selection = { ...selection };
    this.section.hidden = !selection.kind;
    document.body.classList.toggle("has-detail", Boolean(selection.kind));
    if (!selection.kind) return;
    this.title.replaceChildren(html("span", { class: "muted" }, `${TITLES[selection.kind]} `), selection.name);
    this.update();
    this.body.scrollTop = 0;
    if (focus) this.title.focus();
  }

  update() {
    const { kind, name } = this.selection;
    const thing = kind && this.model.thing(kind, name);
    if (!thing) return;
    if (EXPLAINED[kind]) this.explain(kind, thing);
    const parts = PARTS[kind](thing, this.model, this.open, this.explained.block);
    // The figures change every two seconds; whoever has a button in focus keeps it.
    const focused = this.body.contains(document.activeElement) ? document.activeElement.dataset.opens : "";
    this.body.replaceChildren(...parts);
    if (focused) this.body.querySelector(`[data-opens="${CSS.escape(focused)}"]`)?.focus();
  }

  /** Ask why the stream goes as it does, once for each of its plans. */
  async explain(kind, stream) {
    const about = JSON.stringify([kind, stream.name]);
    const key = `${about} ${JSON.stringify(EXPLAINED[kind].of(stream))}`;
    if (key === this.explained.key) return;
    const block = this.explained.key.startsWith(about) ? this.explained.block : html("div", { class: "explain" });
    this.explained = { key, block };
    let lines;
    try {
      const answer = await fetch(`${EXPLAINED[kind].path}${encodeURIComponent(stream.name)}`);
      const content = await answer.json();
      lines = content.lines ?? [content.error];
    } catch {
      lines = ["The controller did not answer; open this stream again."];
      if (this.explained.key === key) this.explained.key = "";
    }
    block.replaceChildren(html("ul", {}, lines.map((line) => html("li", {}, line))));
  }
}
