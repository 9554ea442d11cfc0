// What is set for the whole cluster, limits and retention; and who we are here.

import { ask, doAndSay } from "./ask.js";
import { fill, h } from "./dom.js";
import { count, length } from "./format.js";
import { button, cell, panel, table } from "./parts.js";
import { Polled } from "./polled.js";

export const title = "Settings";
export const path = "/settings";
export const live = "head";

export class Page extends Polled {
  constructor(root, context) {
    super(context, "settings");
    fill(root, h("div", { class: "head" }, h("h1", {}, title)), h("div", { id: "list", class: "stack" }, h("p", { class: "dim" }, "Looking…")));
  }

  show({ limits, retention }) {
    const acts = this.context.may("control");
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
          ? table("Retention", [["Of"], ["Results"], ["Failures"], ["Arguments"]], retention.map((one) => h("tr", { "data-key": `${one.scope} ${one.name}` }, h("th", { scope: "row" }, h("span", { class: "dim" }, `${one.scope} `), one.name), ["results", "failures", "arguments"].map((what) => cell(what, "", one[what])))))
          : h("p", { class: "none" }, "Everything is kept as the coordinator's options say.")),
      panel("Here", h("div", { class: "body" }, h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
        h("p", { class: "dim" }, h("a", { href: "/static/LICENSES" }, "Licences of what others wrote")))));
  }

  async do(what, { scope, name }) {
    if (what === "new") {
      const typed = await ask({ title: "Limit what?", yes: "Next", input: { label: "queue NAME, or task NAME", value: "queue " } });
      const match = /^(queue|task)\s+(\S.*)$/.exec(typed ?? "");
      if (match) return this.do("most", { scope: match[1], name: match[2] });
    }
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
