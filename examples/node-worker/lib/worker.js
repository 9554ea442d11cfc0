// A worker's session: section 7 of PROTOCOL.md whole. It holds one stream, takes attempts from it, has the pool run them,
// and keeps each report until it is acknowledged. It never runs a task itself, so that nothing holds up its signs of life.

import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { Attempts } from "./attempts.js";
import { answer } from "./commands.js";
import { failureFor } from "./failures.js";
import { idText } from "./ids.js";
import { fetchInputs } from "./inputs.js";
import { REVISION, connect, pause, status } from "./protocol.js";
import { accepts } from "./values.js";

const BATCH_BYTES = 1024 * 1024;
const WELCOME_MS = 30_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 500;

/** Statuses after which a worker comes back would only hear the same again; section 9. */
const FATAL = new Set([
  status.INVALID_ARGUMENT,
  status.FAILED_PRECONDITION,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.UNIMPLEMENTED,
  status.ABORTED,
]);

export class Worker {
  /**
   * @param {object} options
   * @param {string[]} options.addresses HOST:PORT, tried in turn.
   * @param {string} options.name
   * @param {string[]} options.queues
   * @param {string[]} options.tasks registered names of what the pool can run.
   * @param {import("./pool.js").Pool} options.pool
   * @param {(line: string) => void} options.log
   */
  constructor({ addresses, name, queues, tasks, pool, log = () => {} }) {
    Object.assign(this, { addresses, name, queues, tasks, pool, log });
    this.session = randomBytes(16); // proves that a later stream is the same session; told to nobody else
    this.attempts = new Attempts();
    this.notes = []; // reports that end nothing
    this.replies = [];
    this.ended = 0;
    this.payloadLimit = Infinity;
    this.draining = false;
    this.call = null;
    this.welcome = null;
    pool.onEnded = (token, report) => this.end(token, report);
    pool.onProgress = (token, progressed) => this.note({ token, progressed });
    pool.onFree = () => this.startSome();
    pool.onBroken = (why) => this.giveUp(why);
  }

  /** Serves until it has drained (resolves with 0) or must not come back (resolves with 1). */
  async run() {
    let wait = FIRST_PAUSE_MS;
    for (let at = 0; ; at += 1) {
      const ended = await this.stream(this.addresses[at % this.addresses.length]);
      if (this.exitCode !== undefined) return this.exitCode;
      if (ended.code === status.OK && this.goodbyeSaid) return 0;
      if (FATAL.has(ended.code)) {
        this.log(`refused: ${ended.details}`);
        return 1;
      }
      this.log(`the stream ended (${status[ended.code]}: ${ended.details}); ${this.attempts.size} attempts are kept`);
      wait = ended.wasWelcome ? FIRST_PAUSE_MS : Math.min(wait * 2, LONGEST_PAUSE_MS);
      await pause(wait);
    }
  }

  /** Takes no new work, finishes what runs, hands the rest back, and ends the session. */
  drain() {
    if (this.draining) return;
    this.draining = true;
    this.log("draining");
    this.sayDrain = true;
    this.returnWaiting();
    this.flushSoon();
  }

  giveUp(why) {
    this.log(why);
    this.exitCode = 1;
    this.call?.cancel();
  }

  // ------------------------------------------------------------------------------------------------ one stream

  /** Holds one stream to its end and resolves with its status, and whether it got as far as the welcome. */
  stream(address) {
    const stub = connect("WorkerService", address);
    const call = stub.Work();
    Object.assign(this, { stub, call, welcome: null, sequence: 0, heardAt: Date.now(), saidAt: Date.now(), goodbyeSaid: false });
    this.attempts.rewind();
    const pulse = setInterval(() => this.pulse(), 500);
    return new Promise((resolve) => {
      call.on("data", (message) => this.hear(message));
      call.on("error", () => {}); // its status follows
      call.on("status", ({ code, details }) => {
        const wasWelcome = this.welcome !== null;
        clearInterval(pulse);
        this.call = this.welcome = null;
        stub.close();
        resolve({ code, details, wasWelcome });
      });
      this.say({ hello: this.hello() });
    });
  }

  hello() {
    return {
      revision: REVISION,
      name: this.name,
      session: this.session,
      queues: this.queues,
      tasks: this.tasks,
      capacity: this.pool.size * 2,
      held: Array.from(this.attempts.held.values(), ({ node, token }) => ({ node, token })),
      draining: this.draining,
      version: `node ${process.versions.node}`,
      host: hostname(),
      process_id: process.pid,
      concurrency: this.pool.size,
      executor: "worker_threads",
    };
  }

  /** Sends one message that the coordinator acknowledges; returns its number. */
  say(message) {
    this.sequence += 1;
    this.call.write({ ...message, sequence: this.sequence });
    this.saidAt = Date.now();
    return this.sequence;
  }

  /** Several times within a heartbeat: says that we live, and looks whether the coordinator does. */
  pulse() {
    const now = Date.now();
    if (now - this.heardAt > (this.welcome?.silence_ms ?? WELCOME_MS)) {
      this.log("nothing heard from the coordinator");
      this.call.cancel();
    } else if (this.welcome && now - this.saidAt >= this.welcome.heartbeat_ms / 2) {
      this.live();
    }
  }

  live() {
    this.call.write({ sequence: 0 }); // it reports nothing, so nobody need acknowledge it
    this.saidAt = Date.now();
  }

  // ------------------------------------------------------------------------------------------------ what comes

  hear(message) {
    this.heardAt = Date.now();
    if (message.welcome) {
      this.enter(message.welcome);
    }
    this.attempts.acknowledge(Number(message.acknowledged));
    message.superseded.forEach((token) => this.drop(token));
    message.runs.forEach((run) => this.take(run, message.templates));
    message.stops.forEach((stop) => this.stop(stop));
    for (const command of message.commands) {
      this.replies.push(answer(this, command));
    }
    if (isEmpty(message) && Date.now() - this.saidAt >= this.welcome.heartbeat_ms / 2) {
      this.live();
    }
    this.startSome();
    this.flushSoon();
  }

  enter(welcome) {
    this.welcome = welcome;
    this.payloadLimit = Number(welcome.payload_limit); // also of what ends while no stream is there
    welcome.superseded.forEach((token) => this.drop(token));
    this.log(`serves ${this.queues.join(", ")} as ${this.name}${welcome.resumed ? ", as before" : ""}`);
  }

  take(run, templates) {
    for (const attempt of this.attempts.take(run, templates)) {
      const refusal = this.refusal(attempt);
      if (refusal) {
        this.end(attempt.token, { failure: refusal });
      } else if (this.draining) {
        this.end(attempt.token, { returned: {} });
      } else if (run.inputs_apart) {
        this.fetch(attempt);
      }
    }
  }

  /** Returns why an attempt cannot run here, as a Failure; null where it can. */
  refusal({ template, run }) {
    if (!this.tasks.includes(template.task)) {
      return failureFor("UNREGISTERED", "NotRegistered", `${this.name} has no task ${template.task}`);
    }
    const types = [run.content_type || template.content_type, template.headers_content_type];
    types.push(...run.inputs.flatMap(contentTypes));
    const foreign = types.find((type) => !accepts(type));
    return foreign === undefined ? null : failureFor("", "ContentDisallowed", `${this.name} reads JSON, and not ${foreign}`);
  }

  /** Asks for inputs that came apart, again where the connection fails, until it has them or the attempt is gone. */
  async fetch(attempt) {
    attempt.state = "fetching";
    while (this.attempts.get(attempt.token) === attempt && attempt.state === "fetching") {
      try {
        attempt.inputs = await fetchInputs(this.stub, this.session, attempt.token);
        if (attempt.state === "fetching") attempt.state = "waiting";
      } catch (error) {
        if (error.code === status.FAILED_PRECONDITION) {
          this.attempts.forget(attempt.token);
        } else {
          this.log(`the inputs of ${idText(attempt.node)} did not come: ${error.message}`);
          await pause(LONGEST_PAUSE_MS);
        }
      }
    }
    this.startSome();
  }

  /** Nobody waits for this attempt any more: stops it and reports nothing. */
  drop(token) {
    this.attempts.forget(token);
    this.pool.end(token, null);
  }

  stop({ token, terminate, superseded }) {
    const attempt = this.attempts.get(token);
    if (!attempt || attempt.state === "ended") return;
    if (superseded) {
      this.drop(token);
    } else if (attempt.state !== "running") {
      this.end(token, { revoked: {} });
    } else if (terminate) {
      this.pool.end(token, { revoked: {} });
    }
  }

  // ------------------------------------------------------------------------------------------------ what runs

  startSome() {
    for (const attempt of this.attempts.in("waiting").slice(0, this.pool.free)) {
      this.start(attempt);
    }
  }

  start(attempt) {
    const { run, template, token, payload } = attempt;
    attempt.state = "running";
    if (template.track_started) {
      this.note({ token, started: {} });
    }
    const call = {
      task: template.task,
      id: run.id || idText(attempt.node),
      retries: run.retries,
      payload,
      contentType: run.content_type || template.content_type,
      inputs: attempt.inputs ?? run.inputs,
      headers: template.headers,
      headersContentType: template.headers_content_type,
    };
    const limits = { limit: milliseconds(template.time_limit), softLimit: milliseconds(template.soft_time_limit) };
    this.pool.run(token, call, limits);
  }

  /** Notes the end of an attempt, which is told until it is acknowledged. */
  end(token, report) {
    this.ended += 1;
    const size = sizeOf(report);
    const limit = this.payloadLimit;
    const tooLarge = failureFor("TOO_LARGE", "TooLarge", `what the task gave has ${size} bytes, more than ${limit}`);
    this.attempts.end(token, size > limit ? { failure: tooLarge } : report);
    this.flushSoon();
  }

  note(report) {
    this.notes.push(report);
    this.flushSoon();
  }

  returnWaiting() {
    for (const attempt of [...this.attempts.in("waiting"), ...this.attempts.in("fetching")]) {
      this.end(attempt.token, { returned: {} });
    }
  }

  // ------------------------------------------------------------------------------------------------ what goes

  /** Sends what there is to say, once for all that happens in one turn of the event loop. */
  flushSoon() {
    this.flushing ??= setImmediate(() => {
      this.flushing = undefined;
      if (this.welcome && !this.goodbyeSaid) this.flush();
    });
  }

  flush() {
    this.flushLoose();
    const unsent = this.attempts.unsent();
    while (unsent.length) {
      const batch = [];
      for (let size = 0; unsent.length && (size === 0 || size + sizeOf(unsent[0].report) < BATCH_BYTES); ) {
        size += sizeOf(unsent[0].report) + 16;
        batch.push(unsent.shift());
      }
      const sequence = this.say({ reports: batch.map((attempt) => attempt.report) });
      batch.forEach((attempt) => (attempt.sent = sequence));
    }
    if (this.draining && !this.sayDrain && this.attempts.size === 0) {
      this.goodbyeSaid = true;
      this.say({ goodbye: true });
    }
  }

  /** Marks and answers, which are told once: a progress must go before the end of its attempt. */
  flushLoose() {
    if (this.notes.length || this.replies.length || this.sayDrain) {
      this.say({ reports: this.notes.splice(0), replies: this.replies.splice(0), drain: Boolean(this.sayDrain) });
      this.sayDrain = false;
    }
  }
}

function contentTypes(input) {
  return input.list ? input.list.values.flatMap(contentTypes) : [input.content_type];
}

function isEmpty({ welcome, templates, runs, acknowledged, superseded, stops, commands }) {
  const lists = [templates, runs, superseded, stops, commands];
  return !welcome && acknowledged === "0" && lists.every((list) => list.length === 0);
}

function milliseconds(duration) {
  return duration ? Number(duration.seconds) * 1000 + duration.nanos / 1e6 : 0;
}

function sizeOf({ value, failure, retry }) {
  const failed = failure ?? retry?.failure;
  return (value?.data.length ?? 0) + (failed ? Buffer.byteLength(JSON.stringify([failed.message, failed.traceback])) + (failed.args?.length ?? 0) : 0);
}
