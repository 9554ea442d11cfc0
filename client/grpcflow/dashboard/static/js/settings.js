// What is set for the whole cluster, limits and retention; and who we are here.

import { ask, doAndSay } from "./ask.js";
import { fill, h } from "./dom.js";
import { count, length } from "./format.js";
import { button, cell, panel, table } from "./parts.js";
import { Polled } from "./polled.js";

export const title = "Settings";
export const path = "/settings";
export const live = "head";

const KEPT = [["results", "Results"], ["failures", "Failures"], ["arguments", "Arguments"]];

export class Page extends Polled {
  constructor(root, context) {
    super(context, "settings");
    fill(root, h("div", { class: "head" }, h("h1", {}, title)), h("div", { id: "list", class: "stack" }, h("p", { class: "dim" }, "Looking…")));
  }

  show({ limits, retention }) {
    const acts = this.context.may("control");
    const keeps = this.context.may("admin");
    const kinds = [["Of"], ["Results"], ["Failures"], ["Arguments"]];
    const { me } = this.context;
    const facts = [["Coordinator", me.coordinator], ["Logged in", { token: "with a token", proxy: `by a proxy, as ${me.name}`, open: "without a login" }[me.kind]], ["May", me.may.join(", ")], ["Version", me.version]];
    const columns = [["Limit on"], ["Limit"], ["Running", "right"], ["Held back", "right"], ["Next start", "right"], ["From"]];
    fill(document.getElementById("list"),
      panel("Limits",
        limits.length
          ? table("Limits", acts ? [...columns, ["", "right"]] : columns, limits.map((one) =>
              h("tr", { "data-key": `${one.scope} ${one.name}` },
                h("th", { scope: "row" }, h("span", { class: "dim" }, `${one.scope} `), one.name), cell("Limit", "", one.limit), cell("Running", "right", count(one.running)),
                cell("Held back", "right", one.waiting ? `${count(one.waiting)} ${one.waiting === 1 ? "line" : "lines"}` : "–"), cell("Next start", "right", one.next_in ? `in ${length(one.next_in)}` : "now"), cell("From", "", one.is_set ? "set" : "code"),
                acts && h("td", { class: "right" }, h("div", { class: "acts" }, one.scope !== "key" && button("rate", "Rate", one), one.scope !== "key" && button("most", "At once", one), one.is_set && button("clear", "Clear", one))))))
          : h("p", { class: "none" }, "No limit is set, and none stands in the code."),
        acts && h("p", { class: "more" }, button("new", "Limit a queue or a task"))),
      panel("What is kept of what ended",
        retention.length
          ? table("Retention", keeps ? [...kinds, ["", "right"]] : kinds, retention.map((one) => this.kept(one, keeps)))
          : h("p", { class: "none" }, "Everything is kept as the coordinator's options say."),
        keeps && h("p", { class: "more" }, button("keep-new", "Say what is kept of a queue or a task"))),
      panel("Here", h("div", { class: "body" }, h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
        h("p", { class: "dim" }, h("a", { href: "/static/LICENSES" }, "Licences of what others wrote")))));
  }

  kept(one, keeps) {
    const { scope, name } = one;
    return h("tr", { "data-key": `${scope} ${name}` },
      h("th", { scope: "row" }, h("span", { class: "dim" }, `${scope} `), name),
      KEPT.map(([what, label]) => cell(label, "", one[what])),
      keeps && h("td", { class: "right" }, h("div", { class: "acts" },
        KEPT.map(([kind, label]) => button("keep", label, { scope, name, kind })), button("keep-clear", "Clear", { scope, name }))));
  }

  /** Ask for a queue or a task, and go on with it. */
  async named(title, next) {
    const typed = await ask({ title, yes: "Next", input: { label: "queue NAME, or task NAME", value: "queue " } });
    const match = /^(queue|task)\s+(\S.*)$/.exec(typed ?? "");
    if (match) await this.do(next, { scope: match[1], name: match[2], kind: "results" });
  }

  async do(what, { scope, name, kind }) {
    if (what === "new") return this.named("Limit what?", "most");
    if (what === "keep-new") return this.named("What is kept of what?", "keep");
    if (what === "keep") {
      const text = kind === "arguments" ? "Without its arguments a call can neither be shown nor run again." : "It holds for graphs that end from now on, and counts from their end.";
      const kept = await ask({ title: `${name}: how long, or how many ${kind}?`, text, yes: "Set", input: { label: "Such as 2h, 30d, newest 1000, or 30d, newest 1000", value: "30d" } });
      if (kept !== null) await doAndSay("set-retention", { scope, name, what: kind, kept });
    }
    if (what === "keep-clear") await doAndSay("clear-retention", { scope, name });
    if (what === "rate") {
      const rate = await ask({ title: `How often may ${name} start?`, yes: "Set", input: { label: "Such as 10/s, 100/m, 3/h; 0: any number", value: "10/s" } });
      if (rate !== null) await doAndSay("set-limit", { scope, name, rate });
    }
    if (what === "most") {
      const most = await ask({ title: `How many of ${name} may run at once?`, yes: "Set", input: { label: "In the whole cluster", type: "number", value: 1, min: 1, max: 1000000 } });
      if (most !== null) await doAndSay("set-limit", { scope, name, concurrency: Number(most) });
    }
    if (what === "clear") await doAndSay("clear-limit", { scope, name });
    this.load();
  }
}
