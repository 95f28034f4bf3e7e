// What happened, newest first.

import { badge, html } from "./elements.js";
import { SEVERITIES, clock } from "./words.js";

const KINDS = ["stream", "link", "node"];

/** What an event is about: pairs have names of their own, so that a link of keys may be called as one of pairs. */
function about(event) {
  const kind = KINDS.find((one) => event[one]);
  if (!kind) return {};
  const ofPairs = event.kind.startsWith("pair_") && kind !== "node";
  return { kind: ofPairs ? `pair-${kind}` : kind, name: event[kind] };
}

export class EventList {
  constructor(list, all, model, open) {
    this.list = list;
    this.all = all;
    this.model = model;
    this.open = open;
    all.addEventListener("change", () => this.fill());
  }

  update({ first, fresh }) {
    if (first) return this.fill();
    const added = fresh.filter((event) => this.wanted(event)).map((event) => this.item(event));
    this.list.prepend(...added.reverse());
    while (this.list.childElementCount > 200) this.list.lastElementChild.remove();
    if (added.length) this.list.querySelector(".nothing")?.remove();
  }

  fill() {
    const items = this.model.events.filter((event) => this.wanted(event)).map((event) => this.item(event));
    const nothing = html("li", { class: "nothing" }, "Nothing of note yet.");
    this.list.replaceChildren(...(items.length ? items.reverse() : [nothing]));
  }

  wanted(event) {
    return this.all.checked || event.severity !== "info";
  }

  item(event) {
    const { kind, name } = about(event);
    const opener = name
      ? html("button", { type: "button", class: "link-button", onclick: () => this.open(kind, name) }, name)
      : html("span", { class: "muted" }, "network");
    return html(
      "li",
      { "data-severity": event.severity },
      html("time", { datetime: new Date(event.time * 1000).toISOString() }, clock(event.time)),
      badge(SEVERITIES[event.severity] ?? SEVERITIES.info),
      opener,
      html("span", { class: "message" }, html("span", { class: "muted" }, `${event.kind.replaceAll("_", " ")} `), event.message),
    );
  }
}
