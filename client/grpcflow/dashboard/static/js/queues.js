// Queues and their lanes: what waits, why it is held up; pause, resume, purge.

import { ask, doAndSay } from "./ask.js";
import { fill, h } from "./dom.js";
import { Filtered } from "./filtered.js";
import { count, length, rate } from "./format.js";
import { button, cell, leftOut, panel, table } from "./parts.js";

export const title = "Queues";
export const path = "/queues";
export const live = "queues";

const COLUMNS = [["Queue"], ["Waiting", "right"], ["Oldest", "right"], ["In/s", "right"], ["Out/s", "right"]];

export class Page extends Filtered {
  constructor(root, context) {
    super(root, context, title, "Filter queues, tasks and reasons");
  }

  update(data) {
    const acts = this.context.may("control");
    const { lines } = data.queues;
    fill(document.getElementById("list"),
      panel(`${count(data.summary.waiting)} waiting, ${count(data.scheduled)} for their time`,
        lines.length
          ? table("Queues and their lanes", acts ? [...COLUMNS, ["", "right"]] : COLUMNS, lines.map((line) => (line.is_lane ? this.lane(line, acts) : this.queue(line, acts))))
          : h("p", { class: "none" }, this.filter ? "No queue fits the filter." : "Nothing waits, and no worker serves a queue."),
        leftOut(data.queues, "queues and lanes")));
  }

  queue(line, acts) {
    return h("tr", { "data-key": line.queue },
      h("th", { scope: "row" }, line.queue, line.paused && [" ", h("span", { class: "badge warn" }, "paused")],
        line.task && h("span", { class: "dim" }, ` ${line.task}`), line.why && h("span", { class: "why" }, line.why)),
      cell("Waiting", "right", count(line.waiting)),
      cell("Oldest", "right", line.waiting ? length(line.oldest) : "–"),
      cell("In/s", "right", rate(line.submitted)),
      cell("Out/s", "right", rate(line.ended)),
      acts && h("td", { class: "right" }, h("div", { class: "acts" },
        line.paused ? button("resume", "Resume", { queue: line.queue }) : button("pause", "Pause", { queue: line.queue }),
        button("purge", "Purge", { queue: line.queue, waiting: line.waiting }, "danger"))));
  }

  lane(line, acts) {
    return h("tr", { class: "sub", "data-key": `${line.queue}\n${line.task}\n${line.priority}` },
      h("th", { scope: "row" }, line.task, line.priority > 0 && ` priority ${line.priority}`, line.why && h("span", { class: "why" }, line.why)),
      cell("Waiting", "right", count(line.waiting)),
      cell("Oldest", "right", length(line.oldest)),
      h("td"), h("td"), acts && h("td"));
  }

  async do(what, { queue, waiting }) {
    if (what === "pause") await doAndSay("pause-queue", { queue });
    if (what === "resume") await doAndSay("resume-queue", { queue });
    if (what === "purge") {
      const text = `${count(Number(waiting))} calls stand in it now. They end as revoked, and what follows them fails; what runs goes on. This cannot be undone.`;
      const sure = await ask({ title: `Purge ${queue}?`, text, yes: "Purge", danger: true });
      if (sure !== null) await doAndSay("purge-queue", { queue });
    }
  }
}
