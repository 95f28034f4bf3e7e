// What the detail of a pair link, a pair stream and a node's memories consists of: what the command line says of them.

import { bar, facts, joined, opener, part } from "./blocks.js";
import { badge, html } from "./elements.js";
import { curve } from "./curve.js";
import { CONDITIONS, PAIR_KINDS, PAIR_STATES, clock, count, fidelity, pairRate, percent, plural, seconds } from "./words.js";

// Below this a pair is worth nothing, so bars begin here.
const SEPARABLE = 0.5;

function interval(figures) {
  if (figures.fidelity == null) return "not measured yet";
  return `${fidelity(figures.fidelity_low)} to ${fidelity(figures.fidelity_high)} with 95\u00a0% confidence`;
}

function since(thing, model) {
  return ` since ${clock(thing.since)}, ${seconds(Math.max(1, Math.round(model.now() - thing.since)))} ago`;
}

export function pairLinkParts(link, model, open) {
  const { figures } = link;
  const node = opener("node", open);
  const stream = opener("pair-stream", open);
  const past = model.past("pair-link", link.name);
  return [
    html("p", { class: "headline" }, badge(CONDITIONS[link.condition]), html("span", { class: "muted" }, " makes entangled pairs")),
    html("p", {}, joined([node(link.a), node(link.b)], " – ")),
    link.reason ? part("Why", html("p", { class: "reason" }, link.reason)) : "",
    part(
      "Pairs of one memory at each end",
      html("p", { class: "big" }, pairRate(figures.pair_rate_hz)),
      curve(past, "rate", pairRate, "Pairs"),
    ),
    part(
      "Fidelity as they are made",
      html("p", { class: "big" }, fidelity(figures.fidelity), html("span", { class: "muted" }, ` ${interval(figures)}`)),
      figures.fidelity == null ? "" : bar(figures.fidelity - SEPARABLE, 1 - SEPARABLE, [], CONDITIONS[link.condition].tone),
      curve(past, "fidelity", fidelity, "Fidelity"),
    ),
    part(
      "Link",
      facts(
        ["Attempts", figures.attempt_rate_hz ? `${count(figures.attempt_rate_hz)} a second` : ""],
        ["Success", figures.success_ratio ? percent(figures.success_ratio) : ""],
        ["Pairs tested", count(figures.tests_total)],
        ["Length", link.length_km ? `${link.length_km} km` : ""],
        ["Model", link.model],
      ),
    ),
    part(
      "Pair streams",
      link.streams.length ? facts(["Planned over it", joined(link.streams.map((name) => stream(name)))]) : html("p", { class: "muted" }, "None goes over it."),
    ),
  ];
}

export function pairStreamParts(stream, model, open, explained) {
  const { figures } = stream;
  const node = opener("node", open);
  const planned = stream.paths.length > 0;
  const past = model.past("pair-stream", stream.name);
  const look = PAIR_STATES[stream.state];
  return [
    html("p", { class: "headline" }, badge(look), html("span", { class: "muted" }, since(stream, model))),
    html("p", {}, node(stream.source), " – ", node(stream.target)),
    stream.reason ? html("p", { class: look.tone === "down" ? "alarm" : "" }, stream.reason) : "",
    part(
      "Pairs from end to end",
      html("p", { class: "big" }, pairRate(figures.delivered_rate_hz), html("span", { class: "muted" }, ` delivered of ${pairRate(stream.rate_hz)} asked`)),
      bar(figures.delivered_rate_hz, Math.max(stream.rate_hz, figures.delivered_rate_hz)),
      planned ? facts(["Its paths can give", pairRate(stream.paths.reduce((sum, path) => sum + path.predicted_rate_hz, 0))], ["Of these for it", pairRate(figures.predicted_rate_hz)]) : "",
      curve(past, "rate", pairRate, "Pairs"),
    ),
    part(
      "Fidelity delivered",
      html("p", { class: "big" }, fidelity(figures.fidelity), html("span", { class: "muted" }, ` ${interval(figures)}`)),
      figures.fidelity == null ? "" : bar(figures.fidelity - SEPARABLE, 1 - SEPARABLE, [[stream.min_fidelity - SEPARABLE, "limit"]]),
      facts(["Asked, at least", stream.min_fidelity], ["Predicted", planned ? fidelity(figures.predicted_fidelity) : ""]),
      curve(past, "fidelity", fidelity, "Fidelity"),
    ),
    part("Paths", planned ? html("ol", { class: "paths" }, stream.paths.map((path, index) => way(path, index, open))) : html("p", {}, "No path.")),
    part("Why", explained),
    part(
      "So far",
      facts(
        ["Pairs are for", PAIR_KINDS[stream.kind]],
        ["Delivered", stream.pair_count ? `${count(figures.delivered_total)} of ${count(stream.pair_count)}` : count(figures.delivered_total)],
        ["Used as tests", count(figures.tested_total)],
        ["Lost on the way", count(figures.lost_total)],
        ["Kept in memory now", figures.kept ? count(figures.kept) : ""],
        ["Waited, on average", figures.mean_wait_seconds ? seconds(figures.mean_wait_seconds) : ""],
        ["Keys of them feed", stream.key_link && model.links.has(stream.key_link) ? opener("link", open)(stream.key_link) : stream.key_link],
        ["Ends", stream.deadline ? new Date(stream.deadline * 1000).toLocaleString("en-GB") : ""],
        ["Priority", stream.priority || ""],
        ["Tenant", stream.tenant],
      ),
    ),
  ];
}

function purified(rounds) {
  return plural(rounds, "round of purification", "rounds of purification");
}

function way(path, index, open) {
  const node = opener("node", open);
  const link = opener("pair-link", open);
  const hops = path.links.map((name, hop) => {
    const how = [`${plural(path.memories[hop], "memory", "memories")} at either end`];
    if (path.rounds[hop]) how.push(purified(path.rounds[hop]));
    if (path.cutoff_seconds[hop]) how.push(`given up after ${seconds(path.cutoff_seconds[hop])}`);
    return html("li", {}, link(name, `${index}.${hop}`), html("span", { class: "muted" }, `: ${how.join(", ")}`));
  });
  return html(
    "li",
    { class: "used" },
    html("p", { class: "hops" }, joined(path.nodes.map((name) => node(name, `${index}`)), " › ")),
    html("p", { class: "muted" }, `can give ${pairRate(path.predicted_rate_hz)} of fidelity ${fidelity(path.predicted_fidelity)}`),
    html("ul", { class: "plain" }, hops),
    path.swaps.length ? html("p", { class: "muted" }, `swaps at ${path.swaps.map((level) => level.join(" and ")).join(", then ")}`) : "",
    path.end_rounds ? html("p", { class: "muted" }, `${purified(path.end_rounds)} from end to end`) : "",
  );
}

/** A node's quantum memories; nothing where it has none. */
export function memoryPart({ memories, figures }) {
  if (!memories) return "";
  const now = figures.memories;
  return part(
    "Quantum memories",
    facts(
      ["Working", `${now.working} of ${memories.count}`],
      ["In the plan", count(now.planned)],
      ["Holding a half", count(now.holding)],
      ["Trying", count(now.attempting)],
      ["T1", memories.t1_seconds ? seconds(memories.t1_seconds) : ""],
      ["T2", memories.t2_seconds ? seconds(memories.t2_seconds) : ""],
      ["Swaps that succeed", percent(now.swap_success_ratio)],
      ["Model", memories.model],
    ),
  );
}
