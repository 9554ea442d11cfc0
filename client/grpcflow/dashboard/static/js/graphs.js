// Submitted graphs, the newest first, a page at a time: by task, state, arguments, stamp and time; an id leads to its graph.

import { get } from "./api.js";
import { say } from "./ask.js";
import { fill, h } from "./dom.js";
import { count, length, moment } from "./format.js";
import { cell, table } from "./parts.js";
import { badge, bar } from "./states.js";

export const title = "Graphs";
export const path = "/graphs";
export const live = "head";

const KINDS = [["", "all states"], ["SUCCESS", "succeeded"], ["FAILURE", "failed"], ["STARTED", "running"], ["PENDING", "waiting"], ["REVOKED", "revoked"], ["REJECTED", "rejected"], ["IGNORED", "ignored"]];
const TIMES = [["", "any time"], ["900", "last 15 minutes"], ["3600", "last hour"], ["21600", "last 6 hours"], ["86400", "last day"], ["604800", "last week"]];
const FRESH = 5000;

export class Page {
  constructor(root, context) {
    this.context = context;
    this.graphs = [];
    this.next = "";
    this.pages = 1;
    const asked = new URLSearchParams(location.search);
    this.asked = { task: asked.get("task") ?? "", states: asked.get("states") ?? "", back: asked.get("back") ?? "", argument: asked.get("argument") ?? "", stamp: asked.get("stamp") ?? "" };
    const field = (name, placeholder, label) => h("input", { type: "search", name, value: this.asked[name], placeholder, "aria-label": label, autocomplete: "off" });
    const choice = (name, label, options) =>
      h("label", { class: "field" }, h("span", { class: "unseen" }, label),
        h("select", { name }, options.map(([value, text]) => h("option", { value, selected: value === this.asked[name] }, text))));
    fill(root,
      h("div", { class: "head" }, h("h1", {}, title),
        h("form", { class: "search", role: "search" },
          field("task", "Task name, or an id", "Name of a task or a part of it, a pattern, or an id"),
          field("argument", "In arguments", "Text that stands in the encoded arguments of a call"),
          field("stamp", "Stamp user=17", "Stamp of a call, NAME=VALUE"),
          choice("states", "State", KINDS), choice("back", "Submitted", TIMES), h("button", { type: "submit" }, "Search"))),
      h("div", { id: "list", class: "stack" }));
    const form = root.querySelector("form");
    form.addEventListener("submit", (event) => { event.preventDefault(); this.search(form, true); });
    form.addEventListener("change", (event) => { if (event.target.localName === "select") this.search(form, false); });
    this.load();
    this.timer = setInterval(() => { if (this.pages === 1 && !document.hidden) this.load(); }, FRESH);
  }

  async search(form, byId) {
    this.asked = Object.fromEntries(new FormData(form));
    const text = this.asked.task.trim();
    if (byId && text && !/[*?]/.test(text)) {
      const { graph } = await get(`/api/find?id=${encodeURIComponent(text)}`).catch(() => ({}));
      if (graph) return this.context.go(`/graphs/${graph}`);
    }
    const kept = new URLSearchParams(Object.entries(this.asked).filter(([, value]) => value));
    history.replaceState(null, "", kept.size ? `/graphs?${kept}` : "/graphs");
    this.pages = 1;
    await this.load();
  }

  async load(after = "") {
    const { task, states, back, argument, stamp } = this.asked;
    const query = new URLSearchParams({ task, states, argument, stamp, after });
    if (back) query.set("since", String(Math.floor(Date.now() / 1000) - Number(back)));
    const asked = this.asked;
    try {
      const page = await get(`/api/graphs?${query}`);
      if (this.over || asked !== this.asked) return;
      this.graphs = after ? [...this.graphs, ...page.graphs] : page.graphs;
      this.page = page;
      this.draw();
    } catch (error) {
      if (!this.over) say(error.message, true);
    }
  }

  draw() {
    const { next, until, at } = this.page;
    fill(document.getElementById("list"),
      h("section", { class: "panel" },
        this.graphs.length
          ? table("Graphs", [["Task"], ["State"], ["Nodes", "right"], ["How they stand"], ["Submitted", "right"], ["Took", "right"]], this.graphs.map((one) => this.row(one, at)))
          : h("p", { class: "none" }, next ? `Nothing fits since ${moment(until, at)}.` : "No graph fits."),
        next && h("p", { class: "more" }, h("button", { type: "button", "data-do": "more" }, "Further back"), ` looked back to ${moment(until, at)}`)));
  }

  row(one, at) {
    const took = (one.settled ?? (one.ended ? one.created : at)) - one.created;
    return h("tr", { "data-key": one.graph },
      h("th", { scope: "row" }, h("a", { href: `/graphs/${one.graph}`, "data-go": true }, one.task || "join"),
        one.templates > 1 && h("span", { class: "dim" }, ` and ${one.templates - 1} more`), h("br"), h("small", { class: "dim mono" }, one.id)),
      cell("State", "", badge(one.state), one.cancelled && h("span", { class: "why" }, "cancelled")),
      cell("Nodes", "right", count(one.tally.nodes)),
      cell("How they stand", "", bar(countsOf(one.tally))),
      cell("Submitted", "right", moment(one.created, at)),
      cell("Took", "right", length(took), !one.ended && h("span", { class: "dim" }, " so far")));
  }

  do(what) {
    if (what !== "more") return;
    this.pages += 1;
    this.load(this.page.next);
  }

  update() {}

  close() {
    this.over = true;
    clearInterval(this.timer);
  }
}

/** How many stand in each state, of a tally as the coordinator tells it. */
function countsOf(tally) {
  return { SUCCESS: tally.succeeded, FAILURE: tally.failed, REVOKED: tally.revoked, REJECTED: tally.rejected, IGNORED: tally.ignored, RUNNING: tally.running, WAITING: tally.unsettled - tally.running };
}
