// A client as a command: node client.js FILE LOCALE submits a chain of three calls, prints its value, and ends.
//
// The first and the last call run in Python, the one between them in Node. Which worker takes what is said by the queues.

import { readFileSync } from "node:fs";
import { Client } from "./lib/client.js";

const [file, locale] = process.argv.slice(2);
const client = new Client(process.env.GRPCFLOW_COORDINATOR ?? "127.0.0.1:50551");
const node = await client.submit([
  { task: "node_chain.tasks.count_words", args: [readFileSync(file, "utf8")] },
  { task: "intl.arrange", queue: "node", kwargs: { locale } },
  { task: "node_chain.tasks.lay_out" },
]);
console.log(await client.result(node));
client.close();
