// Draws a folded graph: boxes for calls, diamonds for what collects a group, dashed lines to errbacks. Places come from the server.

import { h } from "./dom.js";
import { STATES, look, words } from "./states.js";

/** The drawing; `chosen` is the first node of the box that is looked at. */
export function drawing({ width, height, left, top, boxes, lines, left_out: leftOut }, chosen) {
  return h("div", { class: "scroll" },
    h("svg", { class: "graph", width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `${boxes.length} boxes` },
      h("defs", {}, ["arrow", "arrow-error"].map((id) =>
        h("marker", { id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, h("path", { d: "M0 0.8 L7.4 4 L0 7.2 Z" })))),
      h("g", { transform: `translate(${left} ${top})` },
        lines.map((line) => h("path", { class: line.is_error ? "line is-error" : "line", d: line.path, "marker-end": line.is_error ? "url(#arrow-error)" : "url(#arrow)" })),
        boxes.map((box) => (box.join ? diamond(box, chosen) : rectangle(box, chosen))))),
    leftOut > 0 && h("p", { class: "more" }, `${leftOut.toLocaleString("en")} more nodes are not drawn; the timeline has them.`));
}

function pressable(box, chosen, ...children) {
  const text = `${box.title}, ${box.count > 1 ? `${box.count} calls: ${words(box.counts)}` : box.state}${box.error ? `, ${box.error}` : ""}`;
  const style = `box is-${look(box.state)}${box.first === chosen ? " is-chosen" : ""}${box.end ? " is-end" : ""}`;
  return h("g", { class: style, "data-key": box.first, tabindex: 0, role: "button", "aria-pressed": String(box.first === chosen), "aria-label": text, "data-do": "box", "data-first": box.first },
    h("title", {}, text), children);
}

function diamond(box, chosen) {
  const { x, y, width, height } = box;
  const d = `M${x} ${y + height / 2} L${x + width / 2} ${y} L${x + width} ${y + height / 2} L${x + width / 2} ${y + height} Z`;
  return pressable(box, chosen, h("path", { class: "card", d }));
}

function rectangle(box, chosen) {
  const { x, y, width, height } = box;
  let at = y + 19;
  const parts = [];
  if (box.count > 1) for (const step of [6, 3]) parts.push(h("rect", { class: "card behind", x: x + step, y: y - step, width, height, rx: 6 }));
  parts.push(h("rect", { class: "card", x, y, width, height, rx: 6 }));
  parts.push(h("rect", { class: "stripe", x, y: y + 5, width: 5, height: height - 10, rx: 2 }));
  parts.push(h("text", { class: "title", x: x + 14, y: at }, box.short));
  if (box.count > 1) {
    parts.push(counts(box.counts, x + 14, at + 8, width - 28));
    at += 16;
  }
  parts.push(h("text", { class: "small", x: x + 14, y: at + 16 }, box.small));
  if (box.error) parts.push(h("text", { class: "small is-wrong", x: x + 14, y: at + 32 }, box.error));
  return pressable(box, chosen, ...parts);
}

function counts(found, x, y, width) {
  const whole = Object.values(found).reduce((sum, one) => sum + one, 0) || 1;
  const seen = STATES.filter((state) => found[state]);
  const parts = seen.map((state) => Math.max(3, (found[state] / whole) * width));
  const scale = width / parts.reduce((sum, one) => sum + one, 0);
  let from = x;
  return seen.map((state, at) => {
    const part = h("rect", { class: `bar-${state}`, x: from.toFixed(1), y, width: (parts[at] * scale).toFixed(1), height: 7 });
    from += parts[at] * scale;
    return part;
  });
}
