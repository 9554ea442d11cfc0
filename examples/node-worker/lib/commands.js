// Answers to control commands: section 8 of PROTOCOL.md. `ping` is the one that a worker must know.

import { idText } from "./ids.js";

const known = {
  ping: () => ({ ok: "pong" }),
  registered: (worker) => worker.tasks,
  active: (worker) => worker.attempts.in("running").map(shown),
  reserved: (worker) => worker.attempts.in("waiting").map(shown),
  active_queues: (worker) => worker.queues.map((name) => ({ name })),
  stats: (worker) => ({ pid: process.pid, pool: { "max-concurrency": worker.pool.size }, total: worker.ended }),
  shutdown: (worker) => {
    worker.drain();
    return { ok: "shutting down" };
  },
};

/** Returns the ControlReply to a ControlCommand; whatever goes wrong is in the reply. */
export function answer(worker, { id, command }) {
  if (!Object.hasOwn(known, command)) {
    return { id, error: `this worker has no command '${command}'; it has: ${Object.keys(known).sort().join(", ")}` };
  }
  return { id, reply: Buffer.from(JSON.stringify(known[command](worker))) };
}

function shown({ node, run, template }) {
  return { id: run.id || idText(node), name: template.task, retries: run.retries };
}
