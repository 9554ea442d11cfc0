// States of tasks and graphs: what they are called, and bars of how many stand where.

import { h } from "./dom.js";
import { count } from "./format.js";

/** In the order of bars and legends. What a task calls its own state looks as if it ran. */
export const STATES = ["SUCCESS", "FAILURE", "REVOKED", "REJECTED", "IGNORED", "RUNNING", "RETRY", "WAITING"];

const LIKE = { STARTED: "RUNNING", RECEIVED: "RUNNING", PENDING: "WAITING" };

/** The state whose colours a state has. */
export function look(state) {
  const found = LIKE[state] ?? state;
  return STATES.includes(found) ? found : "RUNNING";
}

export function badge(state) {
  return h("span", { class: `state is-${look(state)}` }, state);
}

/** A bar of how many stand in each state, `counts` by state. */
export function bar(counts, style = "tally") {
  const whole = Object.values(counts).reduce((sum, one) => sum + one, 0) || 1;
  let x = 0;
  const parts = STATES.filter((state) => counts[state]).map((state) => {
    // What is a single one among thousands is still to be seen.
    const width = Math.max(0.8, (counts[state] / whole) * 100);
    const part = h("rect", { class: `bar-${state}`, x: x.toFixed(2), width: width.toFixed(2), height: 8 });
    x += width;
    return part;
  });
  return h("svg", { class: style, viewBox: `0 0 ${Math.max(100, x).toFixed(2)} 8`, preserveAspectRatio: "none", role: "img", "aria-label": words(counts) }, parts);
}

/** 998 succeeded, 2 failed. */
export function words(counts) {
  return STATES.filter((state) => counts[state]).map((state) => `${count(counts[state])} ${state.toLowerCase()}`).join(", ") || "nothing";
}
