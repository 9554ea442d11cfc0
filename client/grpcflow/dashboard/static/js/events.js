// What happens, as it happens: the newest first, with a filter; standing still when asked.

import { fill, h } from "./dom.js";
import { count, length, moment } from "./format.js";
import { cell, filterField, table } from "./parts.js";

export const title = "Events";
export const path = "/events";

const MOST = 300;
const KINDS = ["task-sent", "task-received", "task-started", "task-succeeded", "task-failed", "task-rejected", "task-revoked", "task-retried", "task-ignored", "task-progress", "worker-online", "worker-broken", "worker-back", "worker-offline", "custom"];
const BAD = { "task-failed": "bad", "task-rejected": "bad", "task-revoked": "warn", "task-retried": "warn", "worker-broken": "bad", "worker-offline": "warn", "task-succeeded": "good", "worker-online": "good", "worker-back": "good" };

export class Page {
  constructor(root, context) {
    this.context = context;
    this.asked = {};
    this.clear();
    fill(root,
      h("div", { class: "head" }, h("h1", {}, title),
        h("form", { class: "search" },
          filterField("", "Filter by the name of a task"),
          h("label", {}, h("span", { class: "unseen" }, "Kind"), h("select", { name: "kind" }, h("option", { value: "" }, "all kinds"), KINDS.map((one) => h("option", { value: one }, one)))),
          h("button", { type: "button", "data-do": "hold", "aria-pressed": "false" }, "Stand still"))),
      h("div", { id: "list", class: "stack" }, h("p", { class: "dim" }, "Looking…")));
    const form = root.querySelector("form");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", (event) => { if (event.target.name === "kind") this.choose({ kind: event.target.value }); });
  }

  clear() {
    this.events = [];
    this.skipped = 0;
    this.next = 0;
  }

  live() {
    return `/api/events?${new URLSearchParams(this.asked)}`;
  }

  choose(more) {
    this.asked = { ...this.asked, ...more };
    this.clear();
    this.context.reopen();
  }

  filtered(text) {
    this.choose({ task: text });
  }

  update(data) {
    // A stream that was lost begins again with the last minute.
    const fresh = data.events.filter((one) => one.offset > this.next);
    if (fresh.length) this.next = fresh.at(-1).offset;
    this.skipped += data.skipped;
    this.events = [...fresh.reverse(), ...this.events].slice(0, MOST);
    if (!this.held) this.draw();
  }

  draw() {
    if (!this.events.length) return fill(document.getElementById("list"), h("p", { class: "dim" }, "Nothing that fits has happened in the last minute."));
    fill(document.getElementById("list"), h("section", { class: "panel" },
      table("Events, the newest first", [["Event"], ["Task"], ["Queue"], ["Worker"], ["At", "right"]], this.events.map((one) =>
        h("tr", { "data-key": one.offset },
          h("th", { scope: "row" }, h("span", { class: `badge ${BAD[one.kind] ?? "plain"}` }, one.type)),
          cell("Task", "", one.graph ? h("a", { href: `/graphs/${one.graph}`, "data-go": true }, one.task || "join") : "", one.count > 1 && ` × ${count(one.count)}`, one.runtime && h("span", { class: "dim" }, ` ${length(one.runtime)}`), one.detail && one.kind !== "task-started" && h("span", { class: "why" }, one.detail)),
          cell("Queue", "", one.queue), cell("Worker", "", one.worker), cell("At", "right", moment(one.time))))),
      h("p", { class: "more" }, this.skipped ? `${count(this.skipped)} more came too fast to be shown. ` : "", `The last ${MOST} are shown.`)));
  }

  do(what) {
    if (what !== "hold") return;
    this.held = !this.held;
    const held = document.querySelector("[data-do=hold]");
    held.setAttribute("aria-pressed", String(this.held));
    held.textContent = this.held ? "Go on" : "Stand still";
    if (!this.held) this.draw();
  }

  close() {}
}
