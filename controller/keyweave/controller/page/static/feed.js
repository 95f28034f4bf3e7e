// Server-sent events from the controller, taken up again where they broke off.

const BEATS_PER_CHECK_MS = 5000;
// The controller is heard every five seconds at the latest.
const SILENCE_MS = 16000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;
// A page that nobody looks at lets go of its connection: browsers allow six to one site.
const HIDDEN_MS = 60000;

export class Feed {
  constructor(onMessage, onState) {
    this.onMessage = onMessage;
    this.onState = onState;
    this.source = null;
    this.last = "";
    this.pause = FIRST_PAUSE_MS;
    this.retry = 0;
    this.hidden = 0;
    document.addEventListener("visibilitychange", () => this.visibility());
    setInterval(() => this.check(), BEATS_PER_CHECK_MS);
  }

  open() {
    this.shut();
    this.heard = Date.now();
    this.source = new EventSource(`feed?since=${encodeURIComponent(this.last)}`);
    for (const kind of ["snapshot", "delta"]) {
      this.source.addEventListener(kind, (event) => this.hear(event, kind));
    }
    this.source.addEventListener("beat", () => this.live());
    this.source.onerror = () => this.again();
  }

  hear(event, kind) {
    this.last = event.lastEventId;
    this.live();
    this.onMessage(kind, JSON.parse(event.data));
  }

  live() {
    this.heard = Date.now();
    this.pause = FIRST_PAUSE_MS;
    this.onState("live");
  }

  /** Our own pace: a browser gives up for good after an answer such as 503. */
  again() {
    this.shut();
    this.onState("away");
    this.retry = setTimeout(() => this.open(), this.pause * (0.5 + Math.random()));
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
  }

  check() {
    if (this.source && Date.now() - this.heard > SILENCE_MS) this.again();
  }

  visibility() {
    clearTimeout(this.hidden);
    if (document.hidden) {
      this.hidden = setTimeout(() => {
        this.shut();
        this.onState("paused");
      }, HIDDEN_MS);
    } else if (!this.source) {
      this.open();
    }
  }

  shut() {
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }
}
