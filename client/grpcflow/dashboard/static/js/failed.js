// What failed for good, grouped by task and error: look at it, run it again, take it off the list.

import { ask, doAndSay } from "./ask.js";
import { fill, h } from "./dom.js";
import { count, moment } from "./format.js";
import { button, filterField } from "./parts.js";
import { Polled } from "./polled.js";

export const title = "Failed";
export const path = "/failed";
export const live = "head";

export class Page extends Polled {
  constructor(root, context) {
    super(context, "failed");
    this.open = new Set();
    fill(root, h("div", { class: "head" }, h("h1", {}, title), filterField("", "Filter by the name of a task")), h("div", { id: "list", class: "stack" }, h("p", { class: "dim" }, "Looking…")));
  }

  filtered(text) {
    this.asked = text ? { task: /[*?]/.test(text) ? text : `*${text}*` } : {};
    this.load();
  }

  show(data) {
    this.data = data;
    const acts = this.context.may("control");
    fill(document.getElementById("list"),
      h("p", { class: "dim" }, data.count ? `${count(data.count)}${data.more ? " newest" : ""} calls that failed by themselves; what failed because of them is not listed.` : "Nothing has failed for good."),
      data.groups.map((group) => this.group(group, data.at, acts)));
  }

  group(group, at, acts) {
    const key = `${group.task}\n${group.type}`;
    const open = this.open.has(key);
    const about = { task: group.task, type: group.type };
    return h("section", { class: "panel", "data-key": key },
      h("header", {},
        h("h2", {}, group.task, " ", h("span", { class: "badge bad" }, group.type), h("span", { class: "dim" }, ` ${count(group.count)}`)),
        h("div", { class: "acts" }, button("open", open ? "Hide" : "Show", about), acts && button("retry", "Retry all", about), acts && button("purge", "Purge", { ...about, count: group.count }, "danger"))),
      h("p", { class: "more" }, group.calls[0].message, " ", h("span", { class: "dim" }, `last ${moment(group.last, at)}, first ${moment(group.first, at)}`)),
      open && h("table", { class: "cards" }, h("caption", { class: "unseen" }, `Calls of ${group.task}`),
        h("tbody", {}, group.calls.map((call) => h("tr", { "data-key": call.id },
          h("th", { scope: "row" }, h("a", { class: "mono", href: `/graphs/${call.graph}`, "data-go": true }, call.id), h("span", { class: "why is-bad" }, call.message || call.reason)),
          h("td", { "data-label": "Queue" }, call.queue), h("td", { "data-label": "Worker" }, call.worker), h("td", { class: "right", "data-label": "When" }, moment(call.failed_at, at)),
          acts && h("td", { class: "right" }, h("div", { class: "acts" }, button("again", "Retry", { id: call.id })))))),
        group.count > group.calls.length && h("caption", { class: "below" }, `and ${count(group.count - group.calls.length)} more`)));
  }

  async do(what, { task, type, id, count: many }) {
    if (what === "open") {
      const key = `${task}\n${type}`;
      if (!this.open.delete(key)) this.open.add(key);
      return this.show(this.data);
    }
    if (what === "retry") {
      const sure = await ask({ title: `Run ${task} again?`, text: `What did not succeed of the graphs of its calls that failed with ${type} runs again, a thousand calls at once; what succeeded keeps its value.`, yes: "Retry all" });
      if (sure === null || !(await doAndSay("retry-failed", { task, type }))) return;
    }
    if (what === "purge") {
      const sure = await ask({ title: `Take ${many} calls of ${task} off the list?`, text: "Their results stay as long as they would have. This cannot be undone.", yes: "Purge", danger: true });
      if (sure === null || !(await doAndSay("purge-failed", { task, type }))) return;
    }
    if (what === "again") await doAndSay("retry-graph", { id });
    this.load();
  }
}
