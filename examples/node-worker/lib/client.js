// A client: submits a chain of calls as one graph and waits for its value. Sections 3, 4 and 9 of PROTOCOL.md.

import { idText, mintGraphId, nodeId } from "./ids.js";
import { tree } from "./inputs.js";
import { connect, pause, status } from "./protocol.js";
import { decode, encode } from "./values.js";

const CALL_MS = 10_000;
const PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 2_000;

/** Statuses after which nobody knows whether it was done: do the same again. */
const UNSURE = new Set([status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED]);

/** What `result` throws where the chain did not succeed. */
export class TaskFailed extends Error {
  constructor(result) {
    const failure = result.failure ?? { type_name: "", message: "" };
    super(`${result.state.replace("STATE_", "")}: ${failure.type_name}: ${failure.message}`);
    this.name = "TaskFailed";
    this.failure = failure;
  }
}

export class Client {
  constructor(address) {
    this.stub = connect("ClientService", address);
  }

  close() {
    this.stub.close();
  }

  /**
   * Submits calls of which each takes the value of the one before in front of its arguments.
   * @param {{task: string, queue?: string, args?: unknown[], kwargs?: object}[]} calls
   * @returns {Promise<Buffer>} the id of the node whose value is that of the chain.
   */
  async submit(calls, graph = mintGraphId()) {
    const chunk = chainOf(calls, graph);
    // Whatever became of a request without an answer, the same one again is the same submission.
    await this.retried(() => this.unary("Submit", { chunks: [chunk] }));
    return nodeId(graph, calls.length - 1);
  }

  /** Waits for a node and resolves with its value; throws TaskFailed where it has none. */
  async result(node) {
    const graph = node.subarray(0, 12);
    const nodes = { graph, ranges: [{ first: node.readUInt32BE(12), count: 1 }] };
    const result = await this.retried(() => this.watch(nodes));
    if (result.state !== "STATE_SUCCESS") {
      throw new TaskFailed(result);
    }
    return read(result.value_apart ? await this.fetch(node) : result.value);
  }

  /** Reads a value that no message holds. */
  async fetch(node) {
    const [value] = await this.retried(() => tree(this.stub.FetchValue({ id: idText(node) })));
    return value;
  }

  unary(name, request) {
    return new Promise((resolve, reject) => {
      const deadline = Date.now() + CALL_MS;
      this.stub[name](request, { deadline }, (error, response) => (error ? reject(error) : resolve(response)));
    });
  }

  watch(nodes) {
    return new Promise((resolve, reject) => {
      const call = this.stub.Watch({ nodes });
      let result;
      call.on("data", ({ results }) => (result ??= results[0]));
      call.on("error", reject);
      call.on("end", () => result && resolve(result));
    });
  }

  /** Does something until it has an answer, with pauses that grow. */
  async retried(act) {
    for (let wait = PAUSE_MS; ; wait = Math.min(wait * 2, LONGEST_PAUSE_MS)) {
      try {
        return await act();
      } catch (error) {
        if (!UNSURE.has(error.code)) throw error;
      }
      await pause(wait);
    }
  }
}

/** Returns a chain as the one chunk of a graph. */
export function chainOf(calls, graph) {
  const last = calls.length - 1;
  return {
    graph,
    last: true,
    node_count: calls.length,
    templates: calls.map(({ task, queue = "" }) => ({ task, queue })),
    runs: calls.map(({ args = [], kwargs = {} }, index) => ({
      first: index,
      count: 1,
      template: index,
      payloads: [encode([args, kwargs])],
      inputs: index ? [{ parent: index - 1, mode: "EDGE_MODE_VALUE", on_failure: "FAILURE_MODE_PASS" }] : [],
      children: index < last ? [index + 1] : [], // mirrors the edges
    })),
  };
}

function read(value) {
  return value.list ? value.list.values.map(read) : decode(value.data, value.content_type);
}
