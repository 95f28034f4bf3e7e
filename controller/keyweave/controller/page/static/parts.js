// What the detail of a stream, a link or a node consists of.

import { bar, facts, joined, opener, part } from "./blocks.js";
import { badge, html } from "./elements.js";
import { curve } from "./curve.js";
import { memoryPart } from "./pairs.js";
import { CONDITIONS, POLICIES, PROTECTIONS, agentBadge, bits, clock, count, decibels, percent, rate, seconds } from "./words.js";

export function linkParts(link, model, open) {
  const { figures } = link;
  const node = opener("node", open);
  const stream = opener("stream", open);
  const over = model.streamsOver(link.name);
  const past = model.past("link", link.name);
  const contact = link.next_contact;
  const why = [html("p", { class: "reason" }, link.reason)];
  if (link.diagnosis) why.push(html("p", {}, "Reads as ", html("strong", {}, link.diagnosis.replaceAll("_", " "))));
  if (link.evidence.length) why.push(html("ul", { class: "evidence" }, link.evidence.map((line) => html("li", {}, line))));
  return [
    html("p", { class: "headline" }, badge(CONDITIONS[link.condition]), html("span", { class: "muted" }, ` since ${clock(link.since)}, ${seconds(Math.max(1, Math.round(model.now() - link.since)))} ago`)),
    html("p", {}, joined([node(link.a), node(link.b)], " – ")),
    part("Why", why),
    part(
      "Error rate",
      html("p", { class: "big" }, percent(figures.qber_ratio), html("span", { class: "muted" }, ` QBER; degraded from ${percent(link.degraded_qber_ratio)}, abort at ${percent(link.abort_qber_ratio)}`)),
      bar(figures.qber_ratio, link.abort_qber_ratio * 1.15, [[link.degraded_qber_ratio, "warn"], [link.abort_qber_ratio, "limit"]], CONDITIONS[link.condition].tone),
      curve(past, "qber", percent, "QBER"),
    ),
    part(
      "Key rate",
      html("p", { class: "big" }, rate(figures.skr_bps), html("span", { class: "muted" }, " secret key")),
      facts(["Usable, lower bound", rate(figures.usable_rate_bps)], ["Planned", rate(figures.planned_bps)]),
      bar(figures.planned_bps, figures.usable_rate_bps),
      curve(past, "skr", rate, "Secret key rate"),
    ),
    part(
      "Link",
      facts(
        ["Loss", decibels(figures.loss_db)],
        ["Pool", bits(figures.pool_bits)],
        ["In quarantine", figures.held_bits ? bits(figures.held_bits) : ""],
        ["Status", link.status],
        ["Technology", link.technology],
        ["Length", link.length_km ? `${link.length_km} km` : ""],
        ["Shares risk in", link.risk_groups.join(", ")],
        ["Keys through", link.vendor_domain ? `vendor domain ${link.vendor_domain}, hops unknown` : ""],
        ["Next contact", contact ? `${clock(contact[0])} to ${clock(contact[1])}` : ""],
        ["By operators", link.disabled ? "disabled" : link.maintenance ? "maintenance" : ""],
        ["Emulated", link.emulated ? "yes: no quantum device is behind it" : ""],
      ),
    ),
    part(
      "Streams",
      facts(["Carries now", joined(over.now.map((name) => stream(name)))], ["Would carry", joined(over.backup.map((name) => stream(name)))]),
      over.now.length + over.backup.length ? "" : html("p", { class: "muted" }, "None goes over it."),
    ),
  ];
}

export function streamParts(stream, model, open, explained) {
  const { figures } = stream;
  const node = opener("node", open);
  const planned = figures.planned_bps;
  const way = model.way(stream);
  return [
    html("p", { class: "headline" }, badge(PROTECTIONS[stream.protection]), html("span", { class: "muted" }, ` requires ${stream.requirement}`)),
    html("p", {}, node(stream.source), ` (${stream.source_sae}) – `, node(stream.target), ` (${stream.target_sae})`),
    stream.unmet ? html("p", { class: "alarm" }, `Cannot have what it requires: ${stream.unmet}`) : "",
    part(
      "Rate",
      html("p", { class: "big" }, rate(figures.delivered_bps), html("span", { class: "muted" }, ` delivered of ${rate(planned)} planned`)),
      bar(figures.delivered_bps, Math.max(planned, figures.delivered_bps)),
      facts(
        ["Wants at least", rate(stream.min_rate_bps)],
        ["At most", stream.max_rate_bps ? rate(stream.max_rate_bps) : "no limit"],
        ["Keys ready", `${count(figures.buffered_keys)} of ${count(stream.buffer_keys)}`],
      ),
      figures.buffered_keys >= stream.buffer_keys ? html("p", { class: "muted" }, "Its buffers are full: no more is made than is fetched.") : "",
    ),
    part(
      "Paths",
      stream.path_sets.length ? html("ol", { class: "paths" }, stream.path_sets.map((group) => pathSet(group, model, way, node))) : html("p", {}, "No quantum path."),
    ),
    part("Why, and who can see its keys", explained),
    part(
      "So far",
      facts(
        ["Served by QKD + ML-KEM", count(figures.served_hybrid_total)],
        ["Served by QKD", count(figures.served_qkd_total)],
        ["Served by ML-KEM only", count(figures.served_pqc_total)],
        ["Failovers", count(stream.failovers_total)],
        ["Last one took", stream.failovers_total ? seconds(stream.last_failover_seconds) : ""],
        ["Tenant", stream.tenant],
        ["Application", stream.application_class],
        ["Priority", stream.priority || ""],
        ["Without quantum path", stream.on_exhaustion],
      ),
    ),
  ];
}

function pathSet(group, model, way, node) {
  const used = group.paths.some((path) => way.paths.includes(path));
  const broken = group.paths.some((path) => model.broken(path));
  const role = group.rank === 0 ? "planned" : `backup ${group.rank}`;
  const words = used ? `${way.word}, ${role}` : broken ? `${role}, broken` : role;
  const look = { word: words, shape: used ? "disc" : "ring", tone: used ? "accent" : "stale" };
  return html(
    "li",
    { class: used ? "used" : "" },
    html("p", {}, badge(look), group.rate_bps ? ` ${rate(group.rate_bps)}` : ""),
    group.paths.map((path, index) => html("p", { class: "hops" }, joined(path.nodes.map((name) => node(name, `${group.rank}.${index}`)), " › "))),
    html("p", { class: "muted" }, group.reason),
  );
}

export function nodeParts(node, model, open) {
  const link = opener("link", open);
  const stream = opener("stream", open);
  const through = model.streamsThrough(node.name);
  const links = [...model.links.values()].filter((one) => one.a === node.name || one.b === node.name);
  const ending = [...model.streams.values()].filter((one) => one.source === node.name || one.target === node.name);
  const since = node.connected && node.connected_since ? ` since ${clock(node.connected_since)}` : "";
  return [
    html("p", { class: "headline" }, badge(agentBadge(node)), html("span", { class: "muted" }, since)),
    html("p", {}, badge(POLICIES[node.policy])),
    node.refused_rules.length ? part("Rules its agent refuses", html("ul", {}, node.refused_rules.map((line) => html("li", {}, line)))) : "",
    node.withheld_rules.length ? part("Rules its guard withholds", html("ul", {}, node.withheld_rules.map((line) => html("li", {}, line)))) : "",
    part(
      "Site",
      facts(
        ["Owner", node.owner],
        ["Location", node.location],
        ["Trust domain", node.trust_domain],
        ["Keys at", node.kme_url],
        ["Agent", node.software_version],
        ["Samples dropped", node.figures.dropped_samples_total ? count(node.figures.dropped_samples_total) : ""],
      ),
    ),
    memoryPart(node),
    part("Links", html("ul", { class: "plain" }, links.map((one) => html("li", {}, badge(CONDITIONS[one.condition]), " ", link(one.name), html("span", { class: "muted" }, ` to ${one.a === node.name ? one.b : one.a}`))))),
    part(
      "Streams",
      facts(
        ["End here", joined(ending.map((one) => stream(one.name)))],
        ["Relayed now: it sees their QKD part", joined(through.now.map((name) => stream(name)))],
        ["Would be relayed", joined(through.backup.map((name) => stream(name)))],
      ),
    ),
  ];
}
