// One graph: drawn as it runs, or as a timeline; a node's story beside it; cancel, retry, revoke.

import { get } from "./api.js";
import { ask, doAndSay, say } from "./ask.js";
import { fill, h } from "./dom.js";
import { drawing } from "./drawing.js";
import { count, length, moment } from "./format.js";
import { button } from "./parts.js";
import { bar, badge, words } from "./states.js";
import { story } from "./story.js";
import { waterfall } from "./timeline.js";

export const title = "Graph";
export const under = "/graphs";
export const pattern = /^\/graphs\/(.+)$/;

export class Page {
  constructor(root, context, [id]) {
    this.context = context;
    this.id = id;
    this.shown = "drawing";
    this.first = 0;
    this.box = null;
    this.node = null;
    fill(root, h("div", { class: "head", id: "graph-head" }, h("h1", {}, "Graph")),
      h("div", { class: "beside" }, h("section", { class: "panel", id: "graph-main" }, h("p", { class: "none" }, "Looking…")), h("aside", { class: "panel", id: "story", hidden: true, "aria-label": "The chosen node" })));
  }

  live() {
    return `/api/graphs/${encodeURIComponent(this.id)}/live`;
  }

  update(data) {
    if (data.gone) return fill(document.getElementById("graph-main"), h("p", { class: "none" }, data.gone));
    const ended = this.data?.graph.ended;
    this.data = data;
    this.head(data);
    if (this.shown === "drawing") this.draw();
    else if (!ended || !data.graph.ended) this.load();
    if (this.node) this.tell(this.node, true);
  }

  head({ graph }) {
    const acts = this.context.may("control");
    const took = graph.settled ? graph.settled - graph.created : null;
    const facts = [`${count(graph.tally.nodes)} nodes: ${words(graph.counts)}`, `submitted ${moment(graph.created)}`, took !== null && `took ${length(took)}`, graph.cancelled && "cancelled"].filter(Boolean);
    const failed = graph.tally.failed + graph.tally.revoked + graph.tally.rejected;
    document.title = `${graph.task || "join"} · grpcflow`;
    fill(document.getElementById("graph-head"),
      h("div", { class: "title" }, h("h1", {}, graph.task || "join", " ", badge(graph.state)), h("p", { class: "mono dim" }, graph.id), bar(graph.counts, "tally wide"), h("p", { class: "dim" }, facts.join(" · "),
        graph.attached_to && [" · in place of ", h("a", { href: `/graphs/${encodeURIComponent(graph.attached_to)}`, "data-go": true }, graph.attached_to)])),
      h("div", { class: "acts" },
        h("div", { class: "switch", role: "group", "aria-label": "View" }, [["drawing", "Drawing"], ["timeline", "Timeline"]].map(([name, label]) =>
          h("button", { type: "button", "data-do": "view", "data-view": name, "aria-pressed": String(name === this.shown) }, label))),
        button("canvas", "Copy as Python"),
        acts && !graph.ended && button("cancel", "Cancel", {}, "danger"),
        acts && graph.ended && failed > 0 && button("retry", "Retry failed")));
  }

  draw() {
    fill(document.getElementById("graph-main"), drawing(this.data.drawing, this.box));
  }

  async load() {
    try {
      const page = await get(`/api/graphs/${encodeURIComponent(this.id)}/timeline?first=${this.first}`);
      if (!this.over && this.shown === "timeline") fill(document.getElementById("graph-main"), waterfall(page, this.first));
    } catch (error) {
      say(error.message, true);
    }
  }

  async tell(id, again = false) {
    const panel = document.getElementById("story");
    this.node = id;
    if (!again) {
      panel.hidden = false;
      fill(panel, h("p", { class: "none" }, "Looking…"));
    }
    try {
      const told = await get(`/api/task?id=${encodeURIComponent(id)}`);
      if (this.over || this.node !== id) return;
      fill(panel, story(told, this.context.may("control")));
      panel.querySelector("pre.log")?.scrollTo(0, Number.MAX_SAFE_INTEGER); // the newest lines are the last
      if (!again && matchMedia("(max-width: 1000px)").matches) panel.scrollIntoView({ block: "nearest" });
    } catch (error) {
      if (!again) say(error.message, true);
    }
  }

  /** Show what a folded box holds: those that did not succeed, and a way to all of them. */
  many(box) {
    const panel = document.getElementById("story");
    this.node = null;
    panel.hidden = false;
    fill(panel,
      h("header", {}, h("h2", {}, `${box.title} × ${count(box.count)}`), h("button", { type: "button", class: "small", "data-do": "shut", "aria-label": "Close" }, "×")),
      h("div", { class: "body" }, h("p", {}, words(box.counts)), h("p", { class: "dim" }, `Queue ${box.queue}`),
        box.nodes.length > 0 && h("ul", { class: "plain" }, box.nodes.map((one) => h("li", {}, h("button", { type: "button", class: "link", "data-do": "node", "data-id": one.id }, one.id), h("span", { class: "why is-bad" }, one.error || one.state)))),
        h("div", { class: "acts" }, button("page", "Each of them, in the timeline", { first: box.first }))));
  }

  async do(what, data) {
    const { id } = this;
    if (what === "view") this.view(data.view, 0);
    if (what === "page") this.view("timeline", Number(data.first));
    if (what === "node") await this.tell(data.id);
    if (what === "box") {
      const box = this.data.drawing.boxes.find((one) => one.first === Number(data.first));
      this.box = box.first;
      this.draw();
      if (box.id) await this.tell(box.id);
      else this.many(box);
    }
    if (what === "shut") {
      this.node = this.box = null;
      document.getElementById("story").hidden = true;
      if (this.shown === "drawing") this.draw();
    }
    if (what === "cancel") {
      const sure = await ask({ title: "Cancel this graph?", text: "What has not begun ends as revoked; what runs is stopped.", yes: "Cancel it", danger: true });
      if (sure !== null) await doAndSay("cancel-graph", { id, terminate: true });
    }
    if (what === "retry") await doAndSay("retry-graph", { id });
    if (what === "revoke") {
      const sure = await ask({ title: "Revoke this task?", text: "It ends as revoked, and what follows it fails; if it runs, it is stopped.", yes: "Revoke", danger: true });
      if (sure !== null) await doAndSay("revoke", { id: data.id, terminate: true });
    }
    if (what === "copy") await this.copy(data.code);
    if (what === "canvas") await this.canvas();
    if (["cancel", "retry", "revoke"].includes(what)) this.context.reopen();
  }

  /** Copy the whole canvas, and say what is not in it. */
  async canvas() {
    try {
      const { python, lacks } = await get(`/api/graphs/${encodeURIComponent(this.id)}/python`);
      await this.copy(python);
      for (const sentence of lacks) say(sentence);
    } catch (error) {
      say(error.message, true);
    }
  }

  async copy(code) {
    await navigator.clipboard.writeText(code).then(() => say("Copied."), () => say(code));
  }

  view(name, first) {
    this.shown = name;
    this.first = first;
    if (this.data) this.head(this.data);
    if (name === "drawing") this.draw();
    else this.load();
  }

  close() {
    this.over = true;
  }
}
