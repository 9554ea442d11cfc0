// News of a page, by Server-Sent Events. The browser comes back by itself; where the session is over it is led to the login.

import { get } from "./api.js";

export class Live {
  /** `show` gets what the page shows, `state` one of "live", "connecting". */
  constructor(show, state) {
    this.show = show;
    this.state = state;
    this.source = null;
    this.again = 0;
  }

  open(path) {
    this.close();
    this.path = path;
    const source = new EventSource(path);
    this.source = source;
    source.onopen = () => this.state("live");
    source.onmessage = (event) => {
      if (this.source === source) this.show(JSON.parse(event.data));
    };
    source.addEventListener("over", () => this.lost(source));
    source.onerror = () => this.lost(source);
  }

  lost(source) {
    if (this.source !== source) return;
    this.state("connecting");
    // An answer that is no stream ends the source for good: ask why, and come back.
    source.close();
    clearTimeout(this.again);
    this.again = setTimeout(async () => {
      if (this.source !== source) return;
      await get("/api/me").catch(() => null); // leads to the login where the session is over
      if (this.source === source) this.open(this.path);
    }, 1500);
  }

  close() {
    clearTimeout(this.again);
    this.source?.close();
    this.source = null;
  }
}
