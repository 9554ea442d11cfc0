// The tasks that the tests of the worker in Node call. One that matters leaves a note for each of its runs, as those in
// Python do: a file in the folder NOTES.

import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Ignore, Reject, Retry } from "../../../examples/node-worker/lib/failures.js";

function note(text) {
  writeFileSync(join(process.env.NOTES, `${text}.${randomUUID().slice(0, 8)}`), "");
}

async function nap({ args: [milliseconds, text] }) {
  note(`start-${text}`);
  await pause(milliseconds);
  note(`end-${text}`);
  return text;
}

function spin({ args: [milliseconds, text = "spin"] }) {
  note(`start-${text}`);
  for (const end = Date.now() + milliseconds; Date.now() < end; );
  return text;
}

function fail({ args: [message] }) {
  throw new RangeError(message, { cause: new Error("the reason") });
}

function again({ retries }) {
  if (retries < 2) throw new Retry("not yet", { countdown: 0 });
  return retries;
}

function sum({ args: [numbers] }) {
  return numbers.reduce((one, other) => one + other, 0);
}

function steps({ args: [count], progress }) {
  for (let step = 1; step <= count; step += 1) progress("PROGRESS", { step });
  return count;
}

async function patient({ signal }) {
  note("start-patient");
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
  return signal.reason.message;
}

export const tasks = {
  "n.add": ({ args: [x, y] }) => x + y,
  "n.again": again,
  "n.die": () => process.exit(3),
  "n.echo": ({ args: [value] }) => value,
  "n.fail": fail,
  "n.ignore": () => {
    throw new Ignore();
  },
  "n.large": ({ args: [length] }) => "x".repeat(length),
  "n.nap": nap,
  "n.patient": patient,
  "n.reject": () => {
    throw new Reject("not mine");
  },
  "n.spin": spin,
  "n.steps": steps,
  "n.sum": sum,
  "n.told": ({ args: [failed] }) => {
    note("told");
    return failed;
  },
};
