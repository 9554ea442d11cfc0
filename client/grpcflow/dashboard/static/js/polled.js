// A page that asks for what it shows: at first, when something is searched or done, and again every few seconds.

import { get } from "./api.js";
import { say } from "./ask.js";

const FRESH = 5000;

export class Polled {
  /** `look` is the name of what is asked for. */
  constructor(context, look) {
    this.context = context;
    this.look = look;
    this.asked = {};
    queueMicrotask(() => this.load());
    this.timer = setInterval(() => { if (!document.hidden) this.load(true); }, FRESH);
  }

  async load(quiet = false) {
    const asked = this.asked;
    try {
      const data = await get(`/api/look/${this.look}?${new URLSearchParams(asked)}`);
      if (!this.over && asked === this.asked) this.show(data);
    } catch (error) {
      if (!this.over && !quiet) say(error.message, true); // later ones are told by the bar
    }
  }

  update() {}

  close() {
    this.over = true;
    clearInterval(this.timer);
  }
}
