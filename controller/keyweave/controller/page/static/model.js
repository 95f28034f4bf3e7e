// The network as the page knows it: one snapshot, then changes. Keeps a short past of each link's figures.

const EVENTS_KEPT = 200;
// One point every two seconds: ten minutes.
const POINTS_KEPT = 300;
const BREAKS = new Set(["down", "suspect"]);
const QUANTUM = new Set(["hybrid", "qkd", "unknown"]);

export class Model extends EventTarget {
  constructor() {
    super();
    this.clear();
    this.past = new Map();
  }

  clear() {
    this.status = {};
    this.pictures = {};
    this.nodes = new Map();
    this.links = new Map();
    this.streams = new Map();
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
      for (const name of ["nodes", "links", "streams"]) this[name] = new Map(sorted(message[name]));
    } else {
      for (const name of ["nodes", "links", "streams"]) this.change(name, message);
    }
    this.skew = message.time - Date.now() / 1000;
    this.status = message.status ?? this.status;
    this.pictures = message.pictures ?? this.pictures;
    this.events = [...this.events, ...(message.events ?? [])].slice(-EVENTS_KEPT);
    if (first || message.figures?.links || message.links) this.remember(message.time);
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

  remember(time) {
    for (const [name, link] of this.links) {
      const points = this.past.get(name) ?? [];
      points.push({ time, qber: link.figures.qber_ratio, skr: link.figures.skr_bps });
      if (points.length > POINTS_KEPT) points.shift();
      this.past.set(name, points);
    }
    for (const name of this.past.keys()) if (!this.links.has(name)) this.past.delete(name);
  }

  thing(kind, name) {
    return { stream: this.streams, link: this.links, node: this.nodes }[kind]?.get(name);
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
