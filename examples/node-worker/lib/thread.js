// One thread that runs tasks, one at a time. It imports the module of tasks, decodes a call, makes it and encodes what
// came of it: whatever a task does with the processor, the thread that speaks with the coordinator goes on.

import { parentPort, workerData } from "node:worker_threads";
import { thrown } from "./failures.js";
import { decode, encode } from "./values.js";

const { tasks } = await import(workerData.module);
let soft = new AbortController();

parentPort.on("message", async (message) => {
  if (message.soft) {
    soft.abort(new Error("the soft time limit is over"));
    return;
  }
  soft = new AbortController();
  parentPort.postMessage({ ended: await outcome(message.call) });
});
parentPort.postMessage({ ready: true });

async function outcome(call) {
  try {
    return { value: { data: encode(await made(call)) } };
  } catch (error) {
    return thrown(error);
  }
}

async function made(call) {
  const [args, kwargs] = decode(call.payload, call.contentType);
  for (const input of call.inputs) {
    args.unshift(given(input)); // the last one ends up first
  }
  const headers = call.headers.length ? decode(call.headers, call.headersContentType) : {};
  const run = tasks[call.task];
  const one = (some) => run({ args: some, kwargs, id: call.id, retries: call.retries, signal: soft.signal, progress });
  if (headers.via !== "map" && headers.via !== "starmap") {
    return one(args);
  }
  const values = [];
  for (const item of args[0]) {
    values.push(await one(headers.via === "map" ? [item] : item));
  }
  return values;
}

function given(input) {
  if (input.list) {
    return input.list.values.map(given);
  }
  if (input.failed) {
    return { id: input.failed.id, failure: input.failed.failure };
  }
  return decode(input.data, input.content_type);
}

function progress(state, meta) {
  parentPort.postMessage({ progress: { state, meta: { data: encode(meta) } } });
}
