// What details are built of.

import { html } from "./elements.js";

export function opener(kind, open) {
  return (name, extra) =>
    html("button", { type: "button", class: "link-button", "data-opens": `${kind}/${name}/${extra ?? ""}`, onclick: () => open(kind, name) }, name);
}

/** Facts as a list of terms; those without a value are left out. */
export function facts(...pairs) {
  const kept = pairs.filter(([, value]) => value !== "" && value != null && !(Array.isArray(value) && !value.length));
  return html("dl", { class: "facts" }, kept.map(([term, value]) => html("div", {}, html("dt", {}, term), html("dd", {}, value))));
}

export function part(title, ...content) {
  return html("div", { class: "part" }, html("h3", {}, title), content);
}

export function joined(items, separator = ", ") {
  return items.flatMap((item, index) => (index ? [separator, item] : [item]));
}

/** A share as a bar with its limits marked; the words beside it say the same. */
export function bar(value, full, marks = [], tone = "accent") {
  const share = full > 0 ? Math.max(0, Math.min(1, value / full)) : 0;
  const track = html("div", { class: `bar tone-${tone}`, "aria-hidden": "true" }, html("span", { class: "bar-fill" }));
  track.firstChild.style.inlineSize = `${100 * share}%`;
  for (const [at, kind] of marks) {
    const mark = html("span", { class: `bar-mark ${kind}` });
    mark.style.insetInlineStart = `${100 * Math.min(1, at / full)}%`;
    track.append(mark);
  }
  return track;
}
