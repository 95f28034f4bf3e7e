// Elements of the page. Text is only ever set as text, so nothing in it is read as markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== ""));
  return element;
}

/** An HTML element; attributes that start with `on` are listeners. */
export function html(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function svg(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Sets attributes that differ. */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value == null) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }
}

/** Sets an element's text if it differs, so that what has not changed is not announced or selected away. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Shapes tell apart what colours tell apart; each within a square of 12 around 0.
const SHAPES = {
  disc: "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0Z",
  triangle: "M0-5 5.2 4.2H-5.2Z",
  diamond: "M0-5.6 5.6 0 0 5.6-5.6 0Z",
  cross: "M-4.5-4.5 4.5 4.5M4.5-4.5-4.5 4.5",
  ring: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
  bars: "M-2.5-4.5v9M2.5-4.5v9",
  target: "M-4.6 0a4.6 4.6 0 1 0 9.2 0a4.6 4.6 0 1 0-9.2 0M-1.4 0a1.4 1.4 0 1 0 2.8 0a1.4 1.4 0 1 0-2.8 0",
  half: "M0-4.8a4.8 4.8 0 0 0 0 9.6ZM0-4.8a4.8 4.8 0 0 1 0 9.6V3.4a3.4 3.4 0 0 0 0-6.8Z",
};
const OUTLINES = new Set(["cross", "ring", "bars", "target"]);

/** A shape as a path. */
export function shape(name) {
  return svg("path", { d: SHAPES[name], class: OUTLINES.has(name) ? "shape outline" : "shape" });
}

/** A word with its shape and colour, as `{word, shape, tone}` says. */
export function badge({ word, shape: name, tone }) {
  const picture = svg("svg", { viewBox: "-6 -6 12 12", width: 12, height: 12, "aria-hidden": "true" }, shape(name));
  return html("span", { class: `badge tone-${tone}` }, picture, word);
}
