// Ids, and what a chain is as a graph.

import assert from "node:assert/strict";
import { test } from "node:test";
import { chainOf } from "../lib/client.js";
import { idText, mintGraphId, nodeId } from "../lib/ids.js";

test("a graph id is of a UUID of version 7, new each time, and grows with time", () => {
  const ids = Array.from({ length: 20_000 }, () => mintGraphId());
  for (const id of ids) {
    assert.equal(id.length, 12);
    assert.equal(id[6] >> 4, 7);
    assert.equal(id[8] >> 6, 2);
  }
  const sorted = [...ids].sort(Buffer.compare);
  assert.deepEqual(sorted, ids);
  assert.equal(new Set(ids.map((id) => id.toString("hex"))).size, ids.length);
  assert.equal(mintGraphId(Date.UTC(2040, 0, 1)).readUIntBE(0, 6), Date.UTC(2040, 0, 1));
});

test("a node id is the graph's and an index, and reads as a UUID", () => {
  const graph = Buffer.from("0199a1b2c3d47e5f8a9b0c1d", "hex");
  assert.equal(idText(nodeId(graph, 258)), "0199a1b2-c3d4-7e5f-8a9b-0c1d00000102");
});

test("a chain mirrors its edges", () => {
  const chunk = chainOf([{ task: "a", args: [1] }, { task: "b", queue: "q", kwargs: { x: 2 } }], mintGraphId());
  assert.deepEqual(chunk.templates, [{ task: "a", queue: "" }, { task: "b", queue: "q" }]);
  assert.deepEqual(chunk.runs.map((run) => [run.inputs.map((edge) => edge.parent), run.children]), [[[], [1]], [[0], []]]);
  assert.deepEqual(chunk.runs.map((run) => run.payloads[0].toString()), ["[[1],{}]", '[[],{"x":2}]']);
});
