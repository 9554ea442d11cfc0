// Tasks that workers know, or that ran: where, with which options, and how they did since the dashboard looks.

import { fill, h } from "./dom.js";
import { count, length } from "./format.js";
import { cell, filterField, panel, table } from "./parts.js";
import { Polled } from "./polled.js";

export const title = "Tasks";
export const path = "/tasks";
export const live = "head";

export class Page extends Polled {
  constructor(root, context) {
    super(context, "tasks");
    this.text = "";
    fill(root, h("div", { class: "head" }, h("h1", {}, title), filterField("", "Filter tasks")), h("div", { id: "list", class: "stack" }, h("p", { class: "dim" }, "Looking…")));
  }

  filtered(text) {
    this.text = text.toLowerCase();
    if (this.data) this.show(this.data);
  }

  show(data) {
    this.data = data;
    const tasks = data.tasks.filter((one) => one.name.toLowerCase().includes(this.text));
    fill(document.getElementById("list"),
      data.silent.length > 0 && h("p", { class: "wrong" }, `Did not answer: ${data.silent.join(", ")}.`),
      panel(`${count(tasks.length)} tasks`,
        tasks.length
          ? table("Tasks", [["Task"], ["Known by"], ["Finished", "right"], ["Failed", "right"], ["Retried", "right"], ["p50", "right"], ["p95", "right"], ["p99", "right"]], tasks.map((one) => this.row(one)))
          : h("p", { class: "none" }, "No connected worker knows a task that fits."),
        h("p", { class: "more" }, "Ends and run times are those of the last hour that the coordinator kept when the dashboard began to look, and since.")));
  }

  row({ name, workers, options, lately, done }) {
    const run = lately?.run ?? [null, null, null];
    return h("tr", { "data-key": name },
      h("th", { scope: "row" }, h("a", { href: `/graphs?task=${encodeURIComponent(name)}`, "data-go": true }, name), options && h("small", { class: "why" }, options)),
      cell("Known by", "", workers.length ? workers.join(", ") : h("span", { class: "wrong" }, "no connected worker")),
      cell("Finished", "right", count(lately?.finished ?? 0), done > 0 && h("span", { class: "dim", title: "since its workers started" }, ` of ${count(done)}`)),
      cell("Failed", "right", h("span", { class: lately?.failed && "wrong" }, count(lately?.failed ?? 0))),
      cell("Retried", "right", count(lately?.retried ?? 0)),
      run.map((seconds, at) => cell(["p50", "p95", "p99"][at], "right", length(seconds))));
  }

  do() {}
}
