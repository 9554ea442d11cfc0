// Graph ids and node ids: section 2 of PROTOCOL.md.

import { randomBytes } from "node:crypto";

let last = 0n;

/** Mints a graph id: the first 12 bytes of a UUID of version 7. Those of one process grow, also within a millisecond. */
export function mintGraphId(now = Date.now()) {
  // 48 bits of time and 12 that count; a counter that runs over borrows from the next millisecond.
  const fresh = (BigInt(now) << 12n) | BigInt(randomBytes(2).readUInt16BE() & 0x3ff);
  last = fresh > last ? fresh : last + 1n;
  const id = randomBytes(12);
  id.writeUIntBE(Number(last >> 12n), 0, 6);
  id.writeUInt16BE(0x7000 | Number(last & 0xfffn), 6);
  id[8] = 0x80 | (id[8] & 0x3f);
  return id;
}

/** Returns the 16 bytes of a node's id: the graph's, and its index. */
export function nodeId(graph, index) {
  const id = Buffer.alloc(16);
  graph.copy(id);
  id.writeUInt32BE(index, 12);
  return id;
}

/** Returns an id of 16 bytes as people see it. */
export function idText(node) {
  return node.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
