// What the coordinator calls by the clock: next times, what became of the last ones; run now, pause.

import { ask, doAndSay } from "./ask.js";
import { fill, h } from "./dom.js";
import { count, moment } from "./format.js";
import { button, cell, filterField, panel, table } from "./parts.js";
import { Polled } from "./polled.js";

export const title = "Schedules";
export const path = "/schedules";
export const live = "head";

const OUTCOMES = { fired: "good", missed: "bad", skipped: "warn", queued: "warn" };

export class Page extends Polled {
  constructor(root, context) {
    super(context, "schedules");
    fill(root, h("div", { class: "head" }, h("h1", {}, title), filterField("", "Filter schedules by name")), h("div", { id: "list", class: "stack" }, h("p", { class: "dim" }, "Looking…")));
  }

  filtered(text) {
    this.asked = text ? { name: text } : {};
    this.load();
  }

  show({ schedules, at }) {
    const runs = this.context.may("submit");
    const pauses = this.context.may("control");
    const columns = [["Schedule"], ["When"], ["Next"], ["Last"], ["Fired", "right"]];
    fill(document.getElementById("list"), panel(`${count(schedules.length)} schedules`,
      schedules.length
        ? table("Schedules", runs || pauses ? [...columns, ["", "right"]] : columns, schedules.map((one) =>
            h("tr", { "data-key": one.name },
              h("th", { scope: "row" }, one.name, one.paused && [" ", h("span", { class: "badge warn" }, "paused")], h("br"), h("small", { class: "dim mono" }, one.calls)),
              cell("When", "", one.when, one.time_zone !== "UTC" && h("span", { class: "dim" }, ` ${one.time_zone}`)),
              cell("Next", "number", one.paused ? "–" : one.next.length ? h("span", { title: one.next.map((time) => moment(time, at)).join("\n") }, moment(one.next[0], at)) : "never"),
              cell("Last", "", h("div", { class: "chips" }, one.history.slice(0, 6).map((tick) => this.tick(tick, at)))),
              cell("Fired", "right", count(one.fired), one.passed > 0 && h("span", { class: "dim" }, `, ${count(one.passed)} passed`)),
              (runs || pauses) && h("td", { class: "right" }, h("div", { class: "acts" },
                runs && button("run", "Run now", { name: one.name }),
                pauses && button("pause", one.paused ? "Resume" : "Pause", { name: one.name, paused: String(!one.paused) }))))))
        : h("p", { class: "none" }, "There are no schedules.")));
  }

  tick(tick, at) {
    const badge = h("span", { class: `badge ${OUTCOMES[tick.outcome] ?? "plain"}` }, moment(tick.time, at));
    const told = `${tick.outcome} at ${moment(tick.time, at)}`;
    return tick.id ? h("a", { href: `/graphs/${tick.id}`, "data-go": true, title: told, "aria-label": told }, badge) : h("span", { title: told }, badge);
  }

  async do(what, { name, paused }) {
    if (what === "run") {
      const sure = await ask({ title: `Run ${name} now?`, text: "Beside its own times, whatever still runs of it.", yes: "Run now" });
      if (sure === null || !(await doAndSay("run-schedule", { name }))) return;
    }
    if (what === "pause") await doAndSay("pause-schedule", { name, paused: paused === "true" });
    this.load();
  }
}
