// Threads that run attempts. One can be ended from outside, whatever it does, and another one takes its place.
// It knows attempts by their tokens and nothing of the coordinator.

import { Worker as Thread } from "node:worker_threads";
import { failureFor } from "./failures.js";

export class Pool {
  /**
   * @param {string} module what the threads import; it exports `tasks`, functions by registered name.
   * @param {number} size how many run at once.
   */
  constructor(module, size) {
    this.module = module;
    this.size = size;
    this.idle = [];
    this.busy = new Map(); // token -> { thread, report, timers }
    this.closed = false;
    /** Told how an attempt ended: (token, report without token). */
    this.onEnded = () => {};
    /** Told of progress: (token, progressed). */
    this.onProgress = () => {};
    /** Told that a place is free. */
    this.onFree = () => {};
    /** Told that threads cannot start: there is no sense in going on. */
    this.onBroken = () => {};
    this.ready = new WeakSet();
    for (let count = 0; count < size; count += 1) {
      this.hire();
    }
  }

  get free() {
    return this.idle.length;
  }

  /** Runs an attempt in a thread that is idle. Limits are in milliseconds, 0 for none. */
  run(token, call, { limit = 0, softLimit = 0 } = {}) {
    const thread = this.idle.pop();
    const timers = [];
    this.busy.set(token, { thread, timers });
    if (limit) {
      const over = failureFor("TIME_LIMIT", "TimeLimitExceeded", `TimeLimitExceeded(${limit / 1000})`);
      timers.push(setTimeout(() => this.end(token, { failure: over }), limit));
    }
    if (softLimit) {
      timers.push(setTimeout(() => thread.postMessage({ soft: true }), softLimit));
    }
    thread.postMessage({ call });
  }

  /** Ends an attempt together with its thread and tells of it as this report; null: tells nobody. */
  end(token, report) {
    const running = this.busy.get(token);
    if (running) {
      this.leave(token);
      running.thread.terminate();
      if (report) {
        this.onEnded(token, report);
      }
    }
  }

  close() {
    this.closed = true;
    for (const thread of [...this.idle, ...Array.from(this.busy.values(), (running) => running.thread)]) {
      thread.terminate();
    }
  }

  hire() {
    const thread = new Thread(new URL("./thread.js", import.meta.url), { workerData: { module: this.module } });
    thread.on("message", (message) => this.heard(thread, message));
    thread.on("error", (error) => console.error(`a thread failed: ${error.stack ?? error}`));
    thread.on("exit", (code) => this.gone(thread, code));
  }

  heard(thread, message) {
    const token = this.tokenOf(thread);
    this.ready.add(thread);
    if (message.progress) {
      if (token !== undefined) this.onProgress(token, message.progress);
      return;
    }
    if (message.ended && token === undefined) {
      return; // it was ended meanwhile, and the thread is on its way out
    }
    this.idle.push(thread);
    if (message.ended) {
      this.leave(token);
      this.onEnded(token, message.ended);
    }
    this.onFree();
  }

  gone(thread, code) {
    const token = this.tokenOf(thread);
    this.idle = this.idle.filter((other) => other !== thread);
    if (token !== undefined) {
      this.leave(token);
      this.onEnded(token, { lost: { message: `its thread ended with code ${code}` } });
    }
    if (this.closed) {
      return;
    }
    if (this.ready.has(thread)) {
      this.hire();
    } else {
      this.onBroken(`a thread ended with code ${code} before it could take a task; can ${this.module} be imported?`);
    }
  }

  leave(token) {
    this.busy.get(token).timers.forEach(clearTimeout);
    this.busy.delete(token);
  }

  tokenOf(thread) {
    for (const [token, running] of this.busy) {
      if (running.thread === thread) return token;
    }
    return undefined;
  }
}
