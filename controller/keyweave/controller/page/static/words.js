// How conditions, protections, severities and figures are written and drawn.

export const CONDITIONS = {
  ok: { word: "ok", shape: "disc", tone: "ok", rank: 5 },
  degraded: { word: "degraded", shape: "triangle", tone: "degraded", rank: 2 },
  suspect: { word: "suspect", shape: "diamond", tone: "suspect", rank: 1 },
  down: { word: "down", shape: "cross", tone: "down", rank: 0 },
  stale: { word: "stale", shape: "ring", tone: "stale", rank: 3 },
  maintenance: { word: "maintenance", shape: "bars", tone: "maintenance", rank: 4 },
};
export const PROTECTIONS = {
  hybrid: { word: "QKD + ML-KEM", shape: "target", tone: "ok", rank: 4 },
  qkd: { word: "QKD", shape: "disc", tone: "ok", rank: 3 },
  pqc: { word: "ML-KEM only", shape: "half", tone: "degraded", rank: 1 },
  none: { word: "no keys", shape: "cross", tone: "down", rank: 0 },
  unknown: { word: "not known yet", shape: "ring", tone: "stale", rank: 2 },
};
export const PAIR_STATES = {
  met: { word: "met", shape: "disc", tone: "ok", rank: 3 },
  "partly met": { word: "partly met", shape: "triangle", tone: "degraded", rank: 1 },
  unmet: { word: "unmet", shape: "cross", tone: "down", rank: 0 },
  ended: { word: "ended", shape: "ring", tone: "stale", rank: 2 },
};
export const PAIR_KINDS = { nl: "network layer", ck: "create and keep", md: "measure directly" };
export const SEVERITIES = {
  major: { word: "major", shape: "diamond", tone: "down" },
  minor: { word: "minor", shape: "triangle", tone: "degraded" },
  info: { word: "info", shape: "ring", tone: "stale" },
};
export const POLICIES = {
  applied: { word: "policy applied", shape: "disc", tone: "ok" },
  pending: { word: "policy on its way", shape: "ring", tone: "stale" },
  refused: { word: "policy refused", shape: "cross", tone: "down" },
  withheld: { word: "guard withholds rules", shape: "triangle", tone: "degraded" },
  unknown: { word: "policy not known", shape: "ring", tone: "stale" },
};

/** How a node stands: its agent, what that makes of its policy, and whether it is drained. */
export function agentBadge(node) {
  if (!node.connected) return { word: "agent away", shape: "cross", tone: "down" };
  if (node.policy === "refused" || node.policy === "withheld") return POLICIES[node.policy];
  if (node.maintenance) return { word: "maintenance", shape: "bars", tone: "maintenance" };
  return { word: "agent connected", shape: "disc", tone: "ok" };
}

const DIGITS = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function scaled(value, unit) {
  if (value == null) return "–";
  const steps = ["", "k", "M", "G", "T"];
  let step = 0;
  while (Math.abs(value) >= 999.5 && step < steps.length - 1) {
    value /= 1000;
    step += 1;
  }
  return `${DIGITS.format(value)}\u00a0${steps[step]}${unit}`;
}

export const number = (value) => (value == null ? "–" : DIGITS.format(value));
export const rate = (bps) => scaled(bps, "bit/s");
export const bits = (count) => scaled(count, "bit");
export const percent = (ratio) => (ratio == null ? "–" : `${DIGITS.format(ratio * 100)}\u00a0%`);
export const decibels = (db) => (db == null ? "–" : `${DIGITS.format(db)}\u00a0dB`);
export const pairRate = (hz) => (hz == null ? "–" : `${number(hz)}\u00a0pairs/s`);
export const fidelity = (value) => (value == null ? "–" : value.toFixed(3));
export const count = (number) => (number == null ? "–" : WHOLE.format(number));

export function seconds(value) {
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 120) return `${DIGITS.format(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  if (value < 172800) return `${Math.round(value / 3600)} h`;
  return `${Math.round(value / 86400)} days`;
}

/** A time of day here, from unix seconds. */
export function clock(time) {
  return new Date(time * 1000).toLocaleTimeString("en-GB");
}

export function plural(number, noun, many = `${noun}s`) {
  return `${count(number)} ${number === 1 ? noun : many}`;
}
