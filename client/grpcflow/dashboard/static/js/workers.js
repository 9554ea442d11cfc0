// Workers: what they run, load, memory, queues; grow, shrink, add or cancel a queue, drain.

import { ask, doAndSay } from "./ask.js";
import { fill, h } from "./dom.js";
import { Filtered } from "./filtered.js";
import { bytes, count, length } from "./format.js";
import { button, cell, leftOut, meter, panel, stateBadge, table } from "./parts.js";

export const title = "Workers";
export const path = "/workers";
export const live = "workers";

const COLUMNS = [["Worker"], ["State"], ["Running"], ["Held", "right"], ["Done", "right"], ["Memory", "right"], ["Load", "right"], ["Up", "right"], ["Queues"]];

export class Page extends Filtered {
  constructor(root, context) {
    super(root, context, title, "Filter workers and running tasks");
  }

  update(data) {
    const acts = this.context.may("control");
    const { lines } = data.workers;
    const { running } = data;
    fill(document.getElementById("list"),
      panel(`${count(lines.length + data.workers.left_out)} workers, ${count(data.summary.running)} of ${count(data.summary.places)} places busy`,
        lines.length
          ? table("Workers", acts ? [...COLUMNS, ["", "right"]] : COLUMNS, lines.map((line) => this.worker(line, acts)))
          : h("p", { class: "none" }, this.filter ? "No worker fits the filter." : "No worker is connected: start one with grpcflow-worker."),
        leftOut(data.workers, "workers")),
      panel("Running now",
        running.lines.length
          ? table("Tasks that run", [["Call"], ["Worker"], ["Queue"], ["For", "right"]], running.lines.map((line) =>
              h("tr", { "data-key": line.id },
                h("th", { scope: "row", class: "mono" }, line.call),
                cell("Worker", "", line.worker), cell("Queue", "", line.queue), cell("For", "right", length(line.seconds)))))
          : h("p", { class: "none" }, "Nothing runs."),
        leftOut(running, "running tasks")));
  }

  worker(line, acts) {
    const where = [line.executor, line.host, line.process_id && `process ${line.process_id}`, line.version, ...line.labels].filter(Boolean).join(" · ");
    return h("tr", { "data-key": line.name },
      h("th", { scope: "row" }, line.name, h("br"), h("small", { class: "dim" }, where)),
      cell("State", "", stateBadge(line.state)),
      cell("Running", "", h("div", {}, meter(line.running, line.concurrency, `${line.running} of ${line.concurrency}`), h("span", { class: "dim number" }, `${line.running} of ${line.concurrency}`))),
      cell("Held", "right", count(line.held)),
      cell("Done", "right", count(line.processed)),
      cell("Memory", "right", bytes(line.memory)),
      cell("Load", "right", line.load.length ? line.load.map((one) => one.toFixed(1)).join(" ") : "–"),
      cell("Up", "right", length(line.uptime)),
      cell("Queues", "", h("div", { class: "chips" },
        line.queues.map((queue) => h("span", { class: acts ? "chip" : "chip still", "data-key": queue }, queue,
          acts && h("button", { type: "button", "data-do": "cancel", "data-worker": line.name, "data-queue": queue, "aria-label": `Stop serving ${queue}`, title: `Stop serving ${queue}` }, "×"))),
        acts && button("add", "+ queue", { worker: line.name }, "small"))),
      acts && h("td", { class: "right" }, h("div", { class: "acts" },
        button("grow", "Grow", { worker: line.name }), button("shrink", "Shrink", { worker: line.name }), button("drain", "Drain", { worker: line.name }, "danger"))));
  }

  async do(what, { worker, queue }) {
    if (what === "grow" || what === "shrink") {
      const more = what === "grow" ? "more" : "fewer";
      const n = await ask({ title: `${worker}: run how many ${more} at once?`, yes: what === "grow" ? "Grow" : "Shrink", input: { label: `How many ${more}`, type: "number", value: 1, min: 1, max: 1000 } });
      if (n !== null) await doAndSay(`${what}-worker`, { worker, n: Number(n) });
    }
    if (what === "add") {
      const name = await ask({ title: `${worker}: serve one more queue`, yes: "Add", input: { label: "Name of the queue", value: "" } });
      if (name !== null) await doAndSay("add-queue", { worker, queue: name });
    }
    if (what === "cancel") {
      const sure = await ask({ title: `${worker}: stop serving ${queue}?`, text: "What it has taken from it, it still runs.", yes: "Stop serving", danger: true });
      if (sure !== null) await doAndSay("cancel-queue", { worker, queue });
    }
    if (what === "drain") {
      const sure = await ask({ title: `Drain ${worker}?`, text: "It finishes what it runs, gives back what it has not begun, and ends. What started it decides whether another one comes.", yes: "Drain", danger: true });
      if (sure !== null) await doAndSay("drain-worker", { worker });
    }
  }
}
