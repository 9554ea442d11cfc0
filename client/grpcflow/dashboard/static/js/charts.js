// Curves over time, drawn by uPlot: colours of the page, values where the pointer is, and words for who does not see them.

import { length, rate, count } from "./format.js";

const uPlot = window.uPlot;
const dark = matchMedia("(prefers-color-scheme: dark)");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Write times as people do who read logs: 24 hours, and the day where it begins. */
function clock(_plot, ticks) {
  let day = new Date().toDateString();
  return ticks.map((tick) => {
    const when = new Date(tick * 1000);
    const time = when.toLocaleTimeString([], { hour12: false, hour: "2-digit", minute: "2-digit", ...(ticks[1] - ticks[0] < 60 && { second: "2-digit" }) });
    const other = when.toDateString() !== day;
    day = when.toDateString();
    return other ? `${when.toLocaleDateString([], { month: "short", day: "numeric" })} ${time}` : time;
  });
}

/** Say which points have none beside them: no line leads to those, so they are drawn as dots. */
function alone(plot, series) {
  const values = plot.data[series];
  const there = (at) => values[at] !== null && values[at] !== undefined;
  return values.flatMap((_value, at) => (there(at) && !there(at - 1) && !there(at + 1) ? [at] : []));
}

const UNITS = { rate, length, count };

export class Chart {
  /** `names` of the curves, in order; `unit` is "rate", "length" or "count"; `colours` are numbers of the style's. */
  constructor(target, { names, unit, fills = false, colours = [1, 4, 5, 6, 7, 8, 2, 3] }) {
    this.target = target;
    this.names = names;
    this.unit = UNITS[unit];
    this.fills = fills;
    this.colours = colours;
    this.data = null;
    this.plot = null;
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(target);
    this.redraw = () => { if (this.data) this.draw(); };
    dark.addEventListener("change", this.redraw);
  }

  /** Show these times (Unix) and values, a list for each curve. */
  show(times, values, names = this.names) {
    const renamed = names.join("\n") !== this.names.join("\n");
    this.names = names;
    this.data = [times, ...values];
    if (this.plot && !renamed) this.plot.setData(this.data);
    else this.draw();
    this.describe();
  }

  describe() {
    const last = this.data.slice(1).map((values, at) => {
      const known = values.findLast((one) => one !== null && one !== undefined);
      return `${this.names[at]} ${this.unit(known)}`;
    });
    this.target.setAttribute("aria-label", last.join(", ") || "nothing yet");
  }

  draw() {
    this.plot?.destroy();
    const text = colour("--dim");
    const axis = { stroke: text, grid: { stroke: colour("--edge"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const told = (_plot, value) => (value === null ? "–" : this.unit(value));
    const options = {
      width: Math.max(200, this.target.clientWidth),
      height: 180,
      cursor: { sync: { key: "overview" }, points: { size: 6 } },
      legend: { live: true },
      scales: { x: { time: true }, y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [{ ...axis, size: 28, values: clock }, { ...axis, size: 58, values: (_plot, ticks) => ticks.map((one) => this.unit(one)) }],
      series: [
        { label: "at", value: (_plot, at) => (at === null ? "–" : new Date(at * 1000).toLocaleTimeString([], { hour12: false })) },
        ...this.names.map((label, at) => {
          const stroke = colour(`--curve-${this.colours[at % this.colours.length]}`);
          return { label, stroke, width: 1.6, value: told, fill: this.fills && at === 0 ? `${stroke}22` : undefined, points: { show: true, size: 4, filter: alone }, spanGaps: false };
        }),
      ],
    };
    this.plot = new uPlot(options, this.data, this.target);
  }

  resize() {
    const width = this.target.clientWidth;
    if (this.plot && width > 0 && Math.abs(width - this.plot.width) > 1) this.plot.setSize({ width, height: 180 });
  }

  destroy() {
    this.watcher.disconnect();
    dark.removeEventListener("change", this.redraw);
    this.plot?.destroy();
  }
}

/** Put the last points of curves behind those that are there; returns false where they do not fit together. */
export function join(whole, tail) {
  if (!whole || whole.step !== tail.step || !tail.times.length) return false;
  if (Object.keys(tail.queues).some((name) => !(name in whole.queues))) return false;
  const lists = [["times"], ["submitted"], ["finished"], ["failed"], ["wait"], ["run"], ["workers"]];
  const room = whole.times.length;
  const last = whole.times[room - 1];
  if (tail.times[0] > last + whole.step) return false; // some are missing in between
  tail.times.forEach((time, at) => {
    const place = time <= last ? room - 1 - Math.round((last - time) / whole.step) : -1;
    const put = (list, value) => (place >= 0 ? (list[place] = value) : list.push(value));
    for (const [name] of lists) put(whole[name], tail[name][at]);
    for (const [name, list] of Object.entries(whole.queues)) put(list, tail.queues[name]?.[at] ?? (tail.workers[at] ? [0, 0] : null));
  });
  const extra = whole.times.length - room;
  for (const [name] of lists) whole[name].splice(0, extra);
  for (const list of Object.values(whole.queues)) list.splice(0, extra);
  return true;
}
