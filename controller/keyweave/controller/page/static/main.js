// Wires the page: news into the model, the model into its views, choices into the address bar.

import { badge, html, say, svg } from "./elements.js";
import { Announcer } from "./announcer.js";
import { Detail } from "./detail.js";
import { EventList } from "./events.js";
import { Feed } from "./feed.js";
import { Lists } from "./lists.js";
import { NetworkMap } from "./map.js";
import { Model } from "./model.js";
import { Summary } from "./summary.js";
import { chooseTheme } from "./theme.js";
import { CONDITIONS } from "./words.js";

const element = (id) => document.getElementById(id);
const STATES = {
  connecting: "connecting",
  live: "live",
  away: "controller away, trying again",
  paused: "paused while hidden",
};

const model = new Model();
const selection = { kind: "", name: "" };

function select(kind, name) {
  const wanted = kind ? `#${kind}/${name}` : "#";
  if (location.hash !== wanted) history.pushState(null, "", wanted === "#" ? location.pathname : wanted);
  follow({ focus: true });
}

function follow({ focus }) {
  const [kind, name] = location.hash.slice(1).split("/");
  const before = { ...selection };
  Object.assign(selection, model.thing(kind, name) ? { kind, name } : { kind: "", name: "" });
  map.select(selection);
  lists.select(selection);
  detail.show(selection, { focus });
  if (focus && before.kind && !selection.kind) lists.focus(before);
}

const map = new NetworkMap(element("canvas"), element("caption"), model, select);
const lists = new Lists(element("tabs"), element("tables"), element("filter"), model, {
  open: select,
  point: (thing) => map.point(thing),
});
const detail = new Detail(element("detail"), model, { open: select, close: () => select("", "") });
const events = new EventList(element("event-list"), element("all-events"), model, select);
const announcer = new Announcer(element("announcer"));
const summary = new Summary(element("summary"), model, (tab, text) => lists.filterBy(tab, text));

model.addEventListener("change", ({ detail: change }) => {
  map.update(change);
  lists.update();
  summary.update();
  ofPairs.hidden = !model.hasPairs;
  events.update(change);
  if (change.first) follow({ focus: false });
  else if (selection.kind && !model.thing(selection.kind, selection.name)) select("", "");
  else detail.update();
  if (!change.first) announcer.tell(change.fresh);
});

const feed = new Feed(
  (kind, message) => model.take(kind, message),
  (state) => {
    const line = element("connection");
    line.dataset.state = state;
    say(line, STATES[state]);
    document.body.dataset.feed = state;
  },
);

element("zoom-in").addEventListener("click", () => map.zoom(1.4));
element("zoom-out").addEventListener("click", () => map.zoom(1 / 1.4));
element("zoom-all").addEventListener("click", () => map.showAll());
map.offerKinds(element("map-kind"));
const sample = (...lines) => svg("svg", { viewBox: "0 0 40 8", width: 40, height: 8, "aria-hidden": "true" }, lines);
for (const condition of Object.values(CONDITIONS)) {
  const line = svg("path", { class: "sample", "data-condition": condition.word, d: "M0 4H40" });
  element("legend").append(html("li", {}, sample(line), badge(condition)));
}
const double = [svg("path", { class: "sample pairs", "data-condition": "ok", d: "M0 4H40" }), svg("path", { class: "core", d: "M0 4H40" })];
const ofPairs = html("li", { id: "legend-pairs", hidden: true }, sample(...double), html("span", { class: "muted" }, "entangled pairs"));
element("legend").append(ofPairs);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && selection.kind) select("", "");
});
window.addEventListener("popstate", () => follow({ focus: true }));
chooseTheme(element("theme"));
feed.open();
