// The worker as a command: node worker.js [--name N] [--queues A,B] [--concurrency N] [--tasks FILE]
//
// GRPCFLOW_COORDINATOR says where the coordinator is, HOST:PORT[,...]. SIGTERM or Ctrl-C finishes what runs and hands the
// rest back; a second one stops at once.

import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { Pool } from "./lib/pool.js";
import { Worker } from "./lib/worker.js";

const { values: options } = parseArgs({
  options: {
    name: { type: "string", default: `node@${process.pid}` },
    queues: { type: "string", default: "node" },
    concurrency: { type: "string", default: "2" },
    tasks: { type: "string" },
  },
});
const module = options.tasks ? pathToFileURL(options.tasks) : new URL("./tasks.js", import.meta.url);
const { tasks } = await import(module);
const pool = new Pool(module.href, Number(options.concurrency));
const worker = new Worker({
  addresses: (process.env.GRPCFLOW_COORDINATOR ?? "127.0.0.1:50551").split(","),
  name: options.name,
  queues: options.queues.split(","),
  tasks: Object.keys(tasks),
  pool,
  log: (line) => console.error(`${new Date().toISOString()} ${line}`),
});
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => (worker.draining ? process.exit(1) : worker.drain()));
}
const code = await worker.run();
pool.close();
process.exit(code);
