// The waterfall of a graph: each node a line with how long it waited and how long it ran, a page at a time.

import { h } from "./dom.js";
import { length } from "./format.js";
import { look } from "./states.js";

const WIDTH = 1000;

/** The waterfall of a page of nodes; `offered` says whether there are pages before and behind. */
export function waterfall({ rows, created, at, next, nodes }, first) {
  if (!rows.length) return h("p", { class: "none" }, "It has no nodes here.");
  const begin = first ? Math.min(...rows.map((row) => row.queued ?? row.started ?? at)) : created;
  const end = Math.max(...rows.map((row) => row.settled ?? (row.started ? at : begin)), begin + 0.001);
  const x = (moment) => ((moment - begin) / (end - begin)) * WIDTH;
  return h("div", { class: "waterfall" },
    h("p", { class: "more" }, `${rows[0].index + 1} to ${rows.at(-1).index + 1} of ${nodes.toLocaleString("en")}, over ${length(end - begin)}. `,
      h("span", { class: "key key-wait" }, "waited in the queue"), " ", h("span", { class: "key key-run" }, "ran"), " ",
      first > 0 && h("button", { type: "button", class: "small", "data-do": "page", "data-first": 0 }, "First"), " ",
      next > 0 && h("button", { type: "button", class: "small", "data-do": "page", "data-first": next }, "Next")),
    h("table", { class: "falls" },
      h("caption", { class: "unseen" }, "When each node waited and ran"),
      h("colgroup", {}, ["name", "told", "fall"].map((one) => h("col", { class: `of-${one}` }))),
      h("tbody", {}, rows.map((row) => line(row, x, at)))));
}

function line(row, x, at) {
  const ran = row.started ? (row.settled ?? at) - row.started : null;
  const waited = row.queued !== null && row.started ? row.started - row.queued : row.queued !== null && !row.settled ? at - row.queued : null;
  const told = [waited !== null && `waited ${length(waited)}`, ran !== null && `ran ${length(ran)}`].filter(Boolean).join(", ");
  const wide = (from, to) => Math.max(2, x(to) - x(from)).toFixed(1);
  return h("tr", { "data-key": row.index },
    h("th", { scope: "row" }, h("button", { type: "button", class: "link", "data-do": "node", "data-id": row.id, title: row.id }, `${row.index} ${row.task || "join"}`)),
    h("td", { class: "right dim" }, told || row.state.toLowerCase()),
    h("td", { class: "fall" },
      h("svg", { viewBox: `0 0 ${WIDTH} 12`, preserveAspectRatio: "none", role: "img", "aria-label": `${row.state}, ${told}` },
        waited !== null && h("rect", { class: "wait", x: x(row.queued).toFixed(1), width: wide(row.queued, row.started ?? at), y: 3, height: 6 }),
        row.started && h("rect", { class: `bar-${look(row.state)}`, x: x(row.started).toFixed(1), width: wide(row.started, row.settled ?? at), y: 1, height: 10 }))));
}
