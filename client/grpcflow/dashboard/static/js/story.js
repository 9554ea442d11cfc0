// What is known of one node, beside its graph: why it is where it is, arguments, result, error, what happened to it.

import { h } from "./dom.js";
import { length, moment } from "./format.js";
import { button } from "./parts.js";
import { badge } from "./states.js";

/** The story; `may` says whether buttons are shown. */
export function story(told, may) {
  const { node, why, failure } = told;
  const started = node.started, settled = node.settled;
  const facts = [
    ["Queue", told.queue && `${told.queue}, priority ${told.priority}`],
    ["Worker", node.worker],
    ["Started", started && moment(started)],
    ["Took", started && settled && length(settled - started)],
    ["Retried", node.retries > 0 && `${node.retries} times`],
    ["Lost", node.losses > 0 && `${node.losses} times with its worker`],
    ["Replaced by", node.replaced_by && h("a", { href: `/graphs/${node.replaced_by}`, "data-go": true }, "the graph that runs in its place")],
    ["Failed because of", node.origin && h("button", { type: "button", class: "link", "data-do": "node", "data-id": node.origin }, node.origin)],
  ].filter(([, value]) => value);
  return [
    h("header", {}, h("h2", {}, told.task || "join"), badge(node.state), h("button", { type: "button", class: "small", "data-do": "shut", "aria-label": "Close" }, "×")),
    h("div", { class: "body" },
      h("p", { class: "mono dim" }, told.id),
      h("p", {}, why.sentence),
      h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      failure && [part("Error"), h("p", { class: "wrong" }, failure.message ? `${failure.type}: ${failure.message}` : failure.type), failure.traceback && block(failure.traceback, "trace")],
      told.result !== null && [part("Result"), block(told.result)],
      part("Arguments"),
      told.inputs.length > 0 && h("p", { class: "dim" }, "First the value of ", told.inputs.map((id) => [h("button", { type: "button", class: "link", "data-do": "node", "data-id": id }, id), " "])),
      told.arguments ? h("p", { class: "dim" }, told.arguments) : block(argumentsOf(told) || (told.inputs.length ? "nothing else" : "none")),
      told.log.length > 0 && [part("Log"), log(told.log)],
      told.events.length > 0 && [part("What happened"), h("ol", { class: "happened" }, told.events.map(happened))],
      h("div", { class: "acts" },
        told.python && button("copy", "Copy as Python", { code: told.python }),
        may && !settled && told.task && button("revoke", "Revoke", { id: told.id }, "danger"))),
  ];
}

function part(name) {
  return h("h3", {}, name);
}

function block(text, style = "") {
  return h("pre", { class: `mono ${style}`, tabindex: 0 }, text);
}

function argumentsOf({ args, kwargs }) {
  return [...args, ...Object.entries(kwargs).map(([name, value]) => `${name}=${value}`)].join("\n");
}

// The lines of all attempts; a rule stands between two of them.
function log(lines) {
  const shown = lines.map((line, place) => [
    place > 0 && line.attempt !== lines[place - 1].attempt && h("hr", {}),
    h("span", { class: "dim", title: line.logger || "printed" }, `${moment(line.time)} `),
    h("span", { class: `level ${line.level.toLowerCase()}` }, line.level), ` ${line.text}\n`,
  ]);
  return h("pre", { class: "mono log", tabindex: 0, "aria-label": "Log, the last lines" }, shown);
}

function happened(one) {
  const what = one.kind.replace("task-", "");
  return h("li", {}, h("span", { class: "number dim" }, moment(one.time)), ` ${what}`, one.worker && ` at ${one.worker}`, one.retries > 0 && `, retry ${one.retries}`, one.detail && h("span", { class: "dim" }, ` ${one.detail}`));
}
