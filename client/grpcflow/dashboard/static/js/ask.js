// Asks before something is done, does it, and says what came of it.

import { act } from "./api.js";
import { h } from "./dom.js";

const dialog = document.getElementById("dialog");
const toasts = document.getElementById("toasts");

/** Say something for some seconds. */
export function say(text, wrong = false) {
  const toast = h("p", { class: wrong ? "toast is-wrong" : "toast" }, text);
  toasts.append(toast);
  setTimeout(() => toast.remove(), wrong ? 12000 : 6000);
}

/** Have something done, and say what was done or why not. */
export async function doAndSay(name, given) {
  try {
    say((await act(name, given)).done);
    return true;
  } catch (error) {
    say(error.message, true);
    return false;
  }
}

/**
 * Ask, and return what was typed, "" where nothing is to be typed, or null where it is not wanted.
 * `input` is { label, value, type } or undefined.
 */
export function ask({ title, text, yes, danger = false, input }) {
  return new Promise((answered) => {
    const field = input && h("input", { id: "dialog-input", name: "value", type: input.type ?? "text", value: input.value, min: input.min, max: input.max, required: true });
    const back = h("button", { type: "button" }, "Back");
    back.addEventListener("click", () => dialog.close("no"));
    // Escape and "Back" are no; Enter is the one button that submits.
    dialog.replaceChildren(
      h("form", { method: "dialog" },
        h("h2", { id: "dialog-title" }, title),
        text && h("p", { class: "dim" }, text),
        input && [h("label", { for: "dialog-input" }, input.label), field],
        h("div", { class: "acts" },
          back,
          h("button", { type: "submit", value: "yes", class: danger ? "primary danger" : "primary" }, yes))),
    );
    dialog.returnValue = "no";
    dialog.onclose = () => {
      const typed = dialog.querySelector("#dialog-input")?.value ?? "";
      answered(dialog.returnValue === "yes" ? typed : null);
    };
    dialog.showModal();
    (field ?? (danger ? back : dialog.querySelector("button[value=yes]"))).focus();
  });
}
