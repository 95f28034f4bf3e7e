// A figure's last ten minutes as a small curve, with its range in words.

import { html, svg } from "./elements.js";

const WIDTH = 380;
const HEIGHT = 44;

export function curve(points, key, words, title) {
  const known = points.filter((point) => point[key] != null);
  if (known.length < 3) return "";
  const values = known.map((point) => point[key]);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const first = known[0].time;
  const span = Math.max(known.at(-1).time - first, 1);
  // Noise of less than a tenth is drawn as the calm that it is.
  const height = Math.max(high - low, 0.1 * Math.abs(high)) || 1;
  const base = (low + high - height) / 2;
  const place = (point) => `${((point.time - first) / span) * WIDTH},${HEIGHT - 3 - ((point[key] - base) / height) * (HEIGHT - 6)}`;
  const minutes = Math.max(1, Math.round(span / 60));
  const said = `${title} over ${minutes} min: ${words(low)} to ${words(high)}`;
  return html(
    "figure",
    { class: "curve" },
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, svg("polyline", { points: known.map(place).join(" ") })),
    html("figcaption", {}, said),
  );
}
