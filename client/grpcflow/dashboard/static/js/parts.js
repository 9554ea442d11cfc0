// Pieces that several pages are made of. What is data of the cluster goes in as text, and as nothing else.

import { h } from "./dom.js";
import { count } from "./format.js";

const STATES = { live: "good", broken: "bad", "no reply": "bad", draining: "warn", unknown: "plain" };

/** The state of a worker. */
export function stateBadge(state) {
  return h("span", { class: `badge ${STATES[state] ?? "plain"}` }, state);
}

/** A bar that is as full as a part is of the whole, with words for who does not see it. */
export function meter(part, whole, words) {
  const full = whole > 0 ? Math.min(100, (part / whole) * 100) : 0;
  return h("svg", { class: "meter", viewBox: "0 0 100 8", preserveAspectRatio: "none", role: "img", "aria-label": words },
    h("rect", { class: "rest", width: 100, height: 8, rx: 2 }),
    h("rect", { class: "full", width: full.toFixed(1), height: 8, rx: 2 }));
}

/** A panel with a heading. `body` are its children. */
export function panel(title, ...body) {
  return h("section", { class: "panel", "data-key": `panel ${title}` }, h("header", {}, h("h2", {}, title)), ...body);
}

/** A number with its name. */
export function figure(name, value, more, bad = false) {
  return h("div", { class: bad ? "panel figure is-bad" : "panel figure", "data-key": name },
    h("dt", {}, name), h("dd", {}, value), more && h("dd", { class: "beside" }, more));
}

/** A table that is cards on a phone. `columns` are [title, class]; `rows` are made with `row`. */
export function table(caption, columns, rows) {
  return h("table", { class: "cards" },
    h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, columns.map(([title, style]) => h("th", { scope: "col", class: style }, title)))),
    h("tbody", {}, rows));
}

/** A cell with the name of its column, which a phone shows beside it. */
export function cell(label, style, ...children) {
  const found = children.flat().filter((one) => one !== null && one !== undefined && one !== false && one !== "");
  // Beside the name of the column there is room for one thing.
  return h("td", { "data-label": label, class: style }, found.length > 1 ? h("div", {}, found) : found);
}

/** A button that pages hear of by its `data-do`. */
export function button(does, label, data = {}, style = "") {
  const about = Object.fromEntries(Object.entries(data).map(([name, value]) => [`data-${name}`, value]));
  return h("button", { type: "button", "data-do": does, class: style, ...about }, label);
}

/** What is left out of a list. */
export function leftOut(listing, what) {
  if (!listing.left_out && !listing.at_least) return null;
  const many = listing.left_out ? `${count(listing.left_out)} more` : "more";
  return h("p", { class: "more" }, `${many} ${what}; the filter finds them.`);
}

/** A field that filters a page. */
export function filterField(value, label) {
  return h("input", { type: "search", name: "filter", value, placeholder: "Filter", "aria-label": label, "data-own": true, autocomplete: "off" });
}
