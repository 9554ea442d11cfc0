// Queues and their lanes: what waits, why it is held up; pause, resume, limit, purge.

import { get } from "./api.js";
import { ask, doAndSay } from "./ask.js";
import { fill, h } from "./dom.js";
import { Filtered } from "./filtered.js";
import { count, length, rate } from "./format.js";
import { button, cell, leftOut, panel, table } from "./parts.js";

export const title = "Queues";
export const path = "/queues";
export const live = "queues";

const FRESH = 5000;
const COLUMNS = [["Queue"], ["Waiting", "right"], ["Oldest", "right"], ["In/s", "right"], ["Out/s", "right"]];

export class Page extends Filtered {
  constructor(root, context) {
    super(root, context, title, "Filter queues, tasks and reasons");
    this.limits = {};
    this.loadLimits();
    this.timer = setInterval(() => { if (!document.hidden) this.loadLimits(); }, FRESH);
  }

  async loadLimits() {
    const { limits } = await get("/api/look/limits").catch(() => ({ limits: null })); // that all is not fresh is told by the bar
    if (!limits || this.over) return;
    this.limits = Object.fromEntries(limits.filter((one) => one.scope === "queue").map((one) => [one.name, one]));
    if (this.data) this.update(this.data);
  }

  update(data) {
    this.data = data;
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
    const limit = this.limits[line.queue]?.limit;
    return h("tr", { "data-key": line.queue },
      h("th", { scope: "row" }, line.queue, line.paused && [" ", h("span", { class: "badge warn" }, "paused")],
        limit && [" ", h("span", { class: "badge plain" }, limit)],
        line.task && h("span", { class: "dim" }, ` ${line.task}`), line.why && h("span", { class: "why" }, line.why)),
      cell("Waiting", "right", count(line.waiting)),
      cell("Oldest", "right", line.waiting ? length(line.oldest) : "–"),
      cell("In/s", "right", rate(line.submitted)),
      cell("Out/s", "right", rate(line.ended)),
      acts && h("td", { class: "right" }, h("div", { class: "acts" },
        line.paused ? button("resume", "Resume", { queue: line.queue }) : button("pause", "Pause", { queue: line.queue }),
        button("limit", "Limit", { queue: line.queue }), button("purge", "Purge", { queue: line.queue, waiting: line.waiting }, "danger"))));
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
    if (what === "limit") await this.limit(queue);
    if (what === "purge") {
      const text = `${count(Number(waiting))} calls stand in it now. They end as revoked, and what follows them fails; what runs goes on. This cannot be undone.`;
      const sure = await ask({ title: `Purge ${queue}?`, text, yes: "Purge", danger: true });
      if (sure !== null) await doAndSay("purge-queue", { queue });
    }
  }

  /** Ask for a limit on a queue: how many at once, or how often; "none" takes it away. */
  async limit(queue) {
    const { limit, is_set: isSet } = this.limits[queue] ?? {};
    const text = limit ? `Now: ${limit}${isSet ? "" : ", as its code says"}.` : "It has none now.";
    const typed = await ask({ title: `Limit ${queue} in the whole cluster`, text, yes: "Set", input: { label: "Such as 3 at once, 10/s, 100/m; or none", value: "3 at once" } });
    if (typed === null) return;
    const most = /^(\d+)( at once)?$/.exec(typed.trim());
    const given = { scope: "queue", name: queue };
    if (typed.trim() === "none") await doAndSay("clear-limit", given);
    else await doAndSay("set-limit", most ? { ...given, concurrency: Number(most[1]) } : { ...given, rate: typed.trim() });
    await this.loadLimits();
  }

  close() {
    this.over = true;
    clearInterval(this.timer);
  }
}
