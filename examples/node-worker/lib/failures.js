// What a task may throw, and what becomes of it on the wire: `Failure` and the reports beside it.

import { encode } from "./values.js";

const MESSAGE = 4096;
const TRACEBACK = 65536;
const CAUSES = 8;

/** Thrown by a task: run me again, not before so many seconds. */
export class Retry extends Error {
  constructor(message = "", { countdown = 0 } = {}) {
    super(message);
    this.name = "Retry";
    this.countdown = countdown;
  }
}

/** Thrown by a task: it ends without a value. */
export class Ignore extends Error {}

/** Thrown by a task: its call is not for it; with `requeue` somebody else may try. */
export class Reject extends Error {
  constructor(message = "", { requeue = false } = {}) {
    super(message);
    this.name = "Reject";
    this.requeue = requeue;
  }
}

/** Returns the report of what a task threw, without its token. */
export function thrown(error) {
  if (error instanceof Retry) {
    return { retry: { countdown_ms: Math.round(error.countdown * 1000), failure: failureOf(error) } };
  }
  if (error instanceof Ignore) {
    return { ignored: {} };
  }
  if (error instanceof Reject) {
    return { rejected: { requeue: error.requeue, failure: failureOf(error) } };
  }
  return { failure: failureOf(error) };
}

/** Returns anything thrown as a Failure, with what caused it. */
export function failureOf(error, depth = CAUSES) {
  if (!(error instanceof Error)) {
    return { type_name: "Error", module: "node", args: encode([String(error)]), message: String(error).slice(0, MESSAGE) };
  }
  return {
    type_name: error.name,
    module: "node",
    args: encode([error.message]),
    message: error.message.slice(0, MESSAGE),
    traceback: shortened(error.stack ?? ""),
    cause: error.cause !== undefined && depth > 0 ? failureOf(error.cause, depth - 1) : null,
    exceptions: (error.errors ?? []).map((member) => failureOf(member, 0)),
  };
}

/** Returns a Failure that the worker makes itself, with one of the reasons of section 10. */
export function failureFor(reason, typeName, message) {
  return { type_name: typeName, module: "grpcflow.errors", args: encode([message]), message, reason };
}

function shortened(trace) {
  const half = TRACEBACK / 2 - 10;
  return trace.length <= TRACEBACK ? trace : `${trace.slice(0, half)}\n...\n${trace.slice(-half)}`;
}
