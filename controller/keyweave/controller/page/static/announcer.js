// Reads what matters to those who listen: major and minor events, politely, and never faster than one can hear.

import { say } from "./elements.js";

const PAUSE_MS = 4000;

export class Announcer {
  constructor(region) {
    this.region = region;
    this.waiting = [];
    this.timer = 0;
  }

  tell(events) {
    this.waiting.push(...events.filter((event) => event.severity !== "info"));
    if (this.waiting.length && !this.timer) this.speak();
  }

  speak() {
    const major = this.waiting.filter((event) => event.severity === "major");
    const first = major[0] ?? this.waiting[0];
    const more = this.waiting.length - 1;
    this.waiting = [];
    say(this.region, `${first.severity}: ${first.message}${more ? `, and ${more} more` : ""}`);
    this.timer = setTimeout(() => {
      this.timer = 0;
      if (this.waiting.length) this.speak();
    }, PAUSE_MS);
  }
}
