// The overview: how the cluster does in numbers and curves, over a range of time that one chooses.

import { get } from "./api.js";
import { Chart, join } from "./charts.js";
import { fill, h } from "./dom.js";
import { count, length, moment, rate } from "./format.js";
import { cell, figure, meter, stateBadge, table } from "./parts.js";

export const title = "Overview";
export const path = "/";
export const live = "overview";

const CHARTS = [
  ["throughput", "Throughput, tasks a second", ["finished", "failed", "submitted"], "rate", true, [1, 2, 3]],
  ["run", "Run time, from hand-out to end", ["p50", "p95", "p99"], "length"],
  ["wait", "Queue wait, from submission to hand-out", ["p50", "p95", "p99"], "length"],
  ["busy", "Tasks that run, and places for them", ["running", "places"], "count", true, [1, 3]],
  ["depth", "Calls that wait, by queue", [], "count"],
  ["age", "Age of the oldest call that waits, by queue", [], "length"],
];

export class Page {
  constructor(root, context) {
    this.context = context;
    this.range = context.remembered("range", "15m");
    this.whole = null;
    this.asking = false;
    fill(root,
      h("div", { class: "head" }, h("h1", {}, title), this.switch()),
      h("dl", { class: "figures", id: "figures" }),
      h("div", { class: "grid charts" },
        CHARTS.map(([key, name]) =>
          h("section", { class: "panel chart-panel" }, h("header", {}, h("h2", {}, name)),
            h("div", { class: "body" }, h("div", { class: "chart tall", id: `chart-${key}`, role: "img", "data-own": true }))))),
      h("div", { class: "grid", id: "lists" }));
    this.charts = Object.fromEntries(CHARTS.map(([key, , names, unit, fills, colours]) =>
      [key, new Chart(document.getElementById(`chart-${key}`), { names, unit, fills, colours })]));
    this.load();
  }

  query() {
    return { range: this.range };
  }

  switch() {
    return h("div", { class: "switch", role: "group", "aria-label": "Range of time" },
      Object.keys(this.context.me.ranges).map((name) =>
        h("button", { type: "button", "data-do": "range", "data-range": name, "aria-pressed": String(name === this.range) }, name)));
  }

  do(what, data) {
    if (what !== "range") return;
    this.range = data.range;
    this.context.remember("range", this.range);
    for (const one of document.querySelectorAll("[data-range]")) one.setAttribute("aria-pressed", String(one.dataset.range === this.range));
    this.whole = null;
    this.load();
    this.context.reopen();
  }

  async load() {
    if (this.asking) return;
    this.asking = true;
    const range = this.range;
    try {
      const whole = await get(`/api/history?range=${range}`);
      if (range === this.range) this.whole = whole;
      this.draw();
    } finally {
      this.asking = false;
      if (range !== this.range) this.load();
    }
  }

  draw() {
    const whole = this.whole;
    if (!whole || this.over) return;
    const column = (list, at) => list.map((one) => (one ? one[at] : null));
    this.charts.throughput.show(whole.times, [whole.finished, whole.failed, whole.submitted]);
    for (const key of ["run", "wait"]) this.charts[key].show(whole.times, [0, 1, 2].map((at) => column(whole[key], at)));
    this.charts.busy.show(whole.times, [column(whole.workers, 1), column(whole.workers, 2)]);
    const queues = Object.keys(whole.queues);
    this.charts.depth.show(whole.times, queues.map((name) => column(whole.queues[name], 0)), queues);
    this.charts.age.show(whole.times, queues.map((name) => column(whole.queues[name], 1)), queues);
  }

  update(data) {
    // What was read late, at the start or after a break, stands before the tail: then all is asked for again.
    const known = `${data.whole} ${!data.fault}`;
    if (this.known !== undefined && this.known !== known) this.load();
    this.known = known;
    if (this.whole && this.whole.step === data.tail.step) {
      if (join(this.whole, data.tail)) this.draw();
      else this.load();
    }
    const { summary, rates, latency } = data;
    const live = summary.workers.live ?? 0;
    const others = Object.entries(summary.workers).filter(([state]) => state !== "live").map(([state, many]) => `${many} ${state}`);
    const p = (list) => `p95 ${length(list[1])} · p99 ${length(list[2])}`;
    fill(document.getElementById("figures"),
      figure("Finished a second", rate(rates.finished), data.missed ? "at least" : ""),
      figure("Failed a second", rate(rates.failed), "", rates.failed > 0),
      figure("Run time, p50", length(latency.run[0]), p(latency.run)),
      figure("Queue wait, p50", length(latency.wait[0]), p(latency.wait)),
      figure("Waiting", count(summary.waiting), summary.scheduled ? `${count(summary.scheduled)} for their time` : ""),
      figure("Running", count(summary.running), `of ${count(summary.places)}`),
      figure("Workers", count(live), others.join(", "), others.length > 0),
      figure("Failed for good", `${count(summary.failures)}${summary.more_failures ? "+" : ""}`, "", summary.failures > 0));
    fill(document.getElementById("lists"), this.queues(data), this.workers(data), this.failures(data));
  }

  queues(data) {
    return h("section", { class: "panel", "data-key": "queues" },
      h("header", {}, h("h2", {}, "Queues"), h("a", { href: "/queues" }, "all")),
      data.queues.length
        ? table("Queues", [["Queue"], ["Waiting", "right"], ["Oldest", "right"], ["Out/s", "right"]],
            data.queues.map((line) => h("tr", { "data-key": line.queue },
              h("th", { scope: "row" }, line.queue, line.paused && [" ", h("span", { class: "badge warn" }, "paused")], line.why && h("span", { class: "why" }, line.why)),
              cell("Waiting", "right", count(line.waiting)),
              cell("Oldest", "right", line.waiting ? length(line.oldest) : "–"),
              cell("Out/s", "right", rate(line.ended)))))
        : h("p", { class: "none" }, "Nothing waits, and no worker serves a queue."),
      data.more_queues > 0 && h("p", { class: "more" }, `${count(data.more_queues)} more`));
  }

  workers(data) {
    return h("section", { class: "panel", "data-key": "workers" },
      h("header", {}, h("h2", {}, "Workers"), h("a", { href: "/workers" }, "all")),
      data.workers.length
        ? table("Workers", [["Worker"], ["State"], ["Running"], ["Load", "right"]],
            data.workers.map((line) => h("tr", { "data-key": line.name },
              h("th", { scope: "row" }, line.name), cell("State", "", stateBadge(line.state)),
              cell("Running", "", meter(line.running, line.concurrency, `${line.running} of ${line.concurrency}`), h("span", { class: "dim number" }, `${line.running} of ${line.concurrency}`)),
              cell("Load", "right", line.load.length ? line.load[0].toFixed(2) : "–"))))
        : h("p", { class: "none" }, "No worker is connected: start one with grpcflow-worker."),
      data.more_workers > 0 && h("p", { class: "more" }, `${count(data.more_workers)} more`));
  }

  failures(data) {
    return h("section", { class: "panel", "data-key": "failures" },
      h("header", {}, h("h2", {}, "Failed lately")),
      data.failures.length
        ? table("Calls that failed for good", [["Call"], ["When", "right"]],
            data.failures.map((line) => h("tr", { "data-key": line.id },
              h("th", { scope: "row" }, line.task, h("span", { class: "why is-bad" }, line.error)), cell("When", "right", moment(line.when, data.at)))))
        : h("p", { class: "none" }, "Nothing has failed for good."));
  }

  close() {
    this.over = true;
    for (const chart of Object.values(this.charts)) chart.destroy();
  }
}
