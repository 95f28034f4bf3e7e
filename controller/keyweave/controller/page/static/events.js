// What happened, newest first.

import { badge, html } from "./elements.js";
import { SEVERITIES, clock } from "./words.js";

const KINDS = ["stream", "link", "node"];

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
    const kind = KINDS.find((one) => event[one]);
    const name = kind && event[kind];
    const about = name
      ? html("button", { type: "button", class: "link-button", onclick: () => this.open(kind, name) }, name)
      : html("span", { class: "muted" }, "network");
    return html(
      "li",
      { "data-severity": event.severity },
      html("time", { datetime: new Date(event.time * 1000).toISOString() }, clock(event.time)),
      badge(SEVERITIES[event.severity] ?? SEVERITIES.info),
      about,
      html("span", { class: "message" }, html("span", { class: "muted" }, `${event.kind.replaceAll("_", " ")} `), event.message),
    );
  }
}
