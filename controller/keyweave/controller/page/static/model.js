// The network as the page knows it: one snapshot, then changes. Keeps a short past of the figures that are drawn as curves.

const EVENTS_KEPT = 200;
// One point every two seconds: ten minutes.
const POINTS_KEPT = 300;
const BREAKS = new Set(["down", "suspect"]);
const QUANTUM = new Set(["hybrid", "qkd", "unknown"]);
/** Where things of each kind are, here and in what the controller sends. */
export const PLACES = { stream: "streams", link: "links", node: "nodes", "pair-stream": "pair_streams", "pair-link": "pair_links" };
const NAMES = Object.values(PLACES);
// Of what figures a past is kept, by kind.
const KEPT = {
  link: (figures) => ({ qber: figures.qber_ratio, skr: figures.skr_bps }),
  "pair-link": (figures) => ({ rate: figures.pair_rate_hz, fidelity: figures.fidelity }),
  "pair-stream": (figures) => ({ rate: figures.delivered_rate_hz, fidelity: figures.fidelity }),
};

export class Model extends EventTarget {
  constructor() {
    super();
    this.clear();
    this.pasts = new Map();
  }

  clear() {
    this.status = {};
    this.pictures = {};
    for (const name of NAMES) this[name] = new Map();
    this.events = [];
    // Of the controller's clock over ours, in seconds.
    this.skew = 0;
  }

  /** The controller's time now, unix seconds. */
  now() {
    return Date.now() / 1000 + this.skew;
  }

  take(kind, message) {
    const first = kind === "snapshot";
    const fresh = first ? [] : message.events ?? [];
    if (first) {
      this.clear();
      for (const name of NAMES) this[name] = new Map(sorted(message[name]));
    } else {
      for (const name of NAMES) this.change(name, message);
    }
    this.skew = message.time - Date.now() / 1000;
    this.status = message.status ?? this.status;
    this.pictures = message.pictures ?? this.pictures;
    this.events = [...this.events, ...(message.events ?? [])].slice(-EVENTS_KEPT);
    for (const kind of Object.keys(KEPT)) {
      const name = PLACES[kind];
      if (first || message.figures?.[name] || message[name]) this.remember(kind, message.time);
    }
    this.dispatchEvent(new CustomEvent("change", { detail: { first, fresh, message } }));
  }

  change(name, message) {
    const things = this[name];
    let resort = false;
    for (const [key, value] of Object.entries(message[name] ?? {})) {
      if (value === null) things.delete(key);
      else {
        resort ||= !things.has(key);
        things.set(key, value);
      }
    }
    for (const [key, figures] of Object.entries(message.figures?.[name] ?? {})) {
      if (things.has(key)) things.set(key, { ...things.get(key), figures });
    }
    if (resort) this[name] = new Map(sorted(Object.fromEntries(things)));
  }

  remember(kind, time) {
    const before = this.pasts.get(kind) ?? new Map();
    const kept = new Map();
    for (const [name, thing] of this[PLACES[kind]]) {
      const points = before.get(name) ?? [];
      points.push({ time, ...KEPT[kind](thing.figures) });
      if (points.length > POINTS_KEPT) points.shift();
      kept.set(name, points);
    }
    this.pasts.set(kind, kept);
  }

  /** The last minutes of a thing's figures. */
  past(kind, name) {
    return this.pasts.get(kind)?.get(name) ?? [];
  }

  thing(kind, name) {
    return this[PLACES[kind]]?.get(name);
  }

  /** Whether there is anything of entangled pairs to show. */
  get hasPairs() {
    return this.pair_links.size + this.pair_streams.size > 0;
  }

  /** Streams that a link carries now, and those that would go over it. */
  streamsOver(link) {
    return this.streamsWhere((path) => path.links.includes(link));
  }

  /** Streams whose keys a node relays, and so sees. */
  streamsThrough(node) {
    return this.streamsWhere((path) => path.nodes.slice(1, -1).includes(node));
  }

  streamsWhere(test) {
    const found = { now: [], backup: [] };
    for (const stream of this.streams.values()) {
      if (this.way(stream).paths.some(test)) found.now.push(stream.name);
      else if (stream.path_sets.some((group) => group.paths.some(test))) found.backup.push(stream.name);
    }
    return found;
  }

  /**
   * How a stream's keys come: over the paths that its ends report, or, where they report none of the plan that is
   * whole (an end whose buffer is full makes no keys and so has not moved yet), over those that come next.
   */
  way(stream) {
    const groups = stream.path_sets.filter((group) => group.paths.every((path) => !this.broken(path)));
    const reported = groups.flatMap((group) => group.paths).filter((path) => path.in_use);
    if (reported.length) return { paths: reported, word: "in use now" };
    if (!groups.length || !QUANTUM.has(stream.protection)) return { paths: [], word: "" };
    const rank = Math.min(...groups.map((group) => group.rank));
    return { paths: groups.filter((group) => group.rank === rank).flatMap((group) => group.paths), word: "next keys come this way" };
  }

  /** Whether agents would not send a key over it. */
  broken(path) {
    return path.links.some((name) => {
      const link = this.links.get(name);
      return !link || link.disabled || BREAKS.has(link.condition);
    });
  }
}

function sorted(things) {
  return Object.entries(things).sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
}
