// Begins: who we are, which page is shown, its news, and what is clicked. Pages know nothing of each other.

import { me as askWho, post, toLogin } from "./api.js";
import { fill, h } from "./dom.js";
import { Live } from "./live.js";
import * as events from "./events.js";
import * as failed from "./failed.js";
import * as graph from "./graph.js";
import * as graphs from "./graphs.js";
import * as overview from "./overview.js";
import * as queues from "./queues.js";
import * as schedules from "./schedules.js";
import * as settings from "./settings.js";
import * as tasks from "./tasks.js";
import * as workers from "./workers.js";

// In the order of the bar; what has a pattern stands below another one.
const PAGES = [overview, graphs, graph, failed, queues, workers, schedules, tasks, events, settings];
const main = document.getElementById("main");
const shown = { page: null, module: null };
const live = new Live(take, tellLive);
let me = null;
let waiting = 0;

const context = {
  get me() { return me; },
  may: (what) => me.may.includes(what),
  reopen,
  go,
  remember: (name, value) => localStorage.setItem(`grpcflow.${name}`, value),
  remembered: (name, otherwise) => localStorage.getItem(`grpcflow.${name}`) ?? otherwise,
};

function tellLive(state) {
  const sign = document.getElementById("live");
  sign.className = `live is-${state}`;
  sign.textContent = state === "live" ? "live" : "reconnecting";
}

function take(data) {
  const fault = document.getElementById("fault");
  fault.hidden = !data.fault;
  if (fault.textContent !== data.fault) fault.textContent = data.fault;
  const sign = document.getElementById("live");
  sign.className = data.fault ? "live is-away" : "live is-live";
  sign.textContent = data.fault ? "not fresh" : "live";
  main.setAttribute("aria-busy", String(!data.asked));
  if (data.asked) shown.page?.update(data);
}

function reopen() {
  const query = new URLSearchParams(shown.page.query?.() ?? {});
  live.open(shown.page.live?.() ?? `/api/live/${shown.module.live}?${query}`);
}

/** Find the page of an address, and what its pattern found there. */
function pageOf(path) {
  for (const module of PAGES) {
    const match = module.pattern?.exec(path);
    if (match) return [module, match.slice(1).map(decodeURIComponent)];
    if (module.path === path) return [module, []];
  }
  return null;
}

function go(address, { push = true, focus = true } = {}) {
  const [module, found] = pageOf(new URL(address, location.origin).pathname) ?? [PAGES[0], []];
  if (push) history.pushState(null, "", address);
  shown.page?.close();
  main.replaceChildren();
  shown.module = module;
  shown.page = new module.Page(main, context, found);
  document.title = `${module.title} · grpcflow`;
  drawNav();
  if (focus) main.focus();
  reopen();
}

function drawNav() {
  fill(document.getElementById("nav"), PAGES.filter((one) => one.path).map((one) =>
    h("a", { href: one.path, "aria-current": [shown.module.path, shown.module.under].includes(one.path) && "page" }, one.title)));
  // On a phone the bar is longer than the screen.
  document.querySelector("#nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
}

function drawWho() {
  const looks = !me.may.includes("control");
  fill(document.getElementById("who"),
    h("span", { title: `coordinator ${me.coordinator}` }, me.kind === "proxy" ? me.name : "", looks && h("span", { class: "badge plain" }, "read-only")),
    me.kind === "token" && h("button", { type: "button", class: "small", "data-out": true }, "Log out"));
}

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[href^='/']");
  const plain = !event.defaultPrevented && event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
  if (me && link && plain && pageOf(new URL(link.href).pathname)) {
    event.preventDefault();
    go(link.getAttribute("href"));
    return;
  }
  const pressed = event.target.closest("[data-do]");
  if (pressed) await shown.page?.do?.(pressed.dataset.do, { ...pressed.dataset });
  if (event.target.closest("[data-out]")) {
    live.close();
    await post("/logout");
    toLogin();
  }
});

// What is drawn and can be pressed is pressed by the keyboard, too.
document.addEventListener("keydown", (event) => {
  if (!["Enter", " "].includes(event.key) || event.target.localName !== "g") return;
  event.preventDefault();
  shown.page?.do?.(event.target.dataset.do, { ...event.target.dataset });
});

document.addEventListener("input", (event) => {
  if (event.target.name !== "filter") return;
  clearTimeout(waiting);
  waiting = setTimeout(() => shown.page?.filtered?.(event.target.value), 200);
});

me = await askWho();
// Not before: a page needs to know who we are, and the way past the bar can be taken at once.
addEventListener("popstate", () => go(location.pathname, { push: false }));
drawWho();
go(location.pathname, { push: false, focus: false });
