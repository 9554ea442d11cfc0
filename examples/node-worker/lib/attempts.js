// The attempts that a worker holds: waiting, running, or ended with a report that is not acknowledged. Pure data: it
// neither sends nor runs anything.

import { nodeId } from "./ids.js";

export class Attempts {
  constructor() {
    this.held = new Map(); // by token, in the order in which they came
  }

  get size() {
    return this.held.size;
  }

  /** Takes the attempts of one AssignedRun and returns them; `templates` are those of its message. */
  take(run, templates) {
    return run.payloads.map((payload, offset) => {
      const node = nodeId(run.graph, run.first + offset);
      const token = String(BigInt(run.token) + BigInt(offset));
      const attempt = { token, node, run, payload, template: templates[run.template], state: "waiting", report: null, sent: 0 };
      this.held.set(token, attempt);
      return attempt;
    });
  }

  get(token) {
    return this.held.get(token);
  }

  /** Notes how an attempt ended. Of two ends the first counts; one that is no longer ours has none. */
  end(token, report) {
    const attempt = this.held.get(token);
    if (attempt && attempt.state !== "ended") {
      attempt.state = "ended";
      attempt.report = { ...report, token };
    }
  }

  forget(token) {
    this.held.delete(token);
  }

  in(state) {
    return Array.from(this.held.values()).filter((attempt) => attempt.state === state);
  }

  /** Returns the ended ones whose report is in no message of this stream yet. */
  unsent() {
    return this.in("ended").filter((attempt) => attempt.sent === 0);
  }

  /** Forgets those whose report was in a message up to this sequence number. */
  acknowledge(sequence) {
    for (const attempt of this.in("ended")) {
      if (attempt.sent > 0 && attempt.sent <= sequence) {
        this.held.delete(attempt.token);
      }
    }
  }

  /** The stream is gone: what it carried unacknowledged is to be sent again. */
  rewind() {
    for (const attempt of this.held.values()) {
      attempt.sent = 0;
    }
  }
}
