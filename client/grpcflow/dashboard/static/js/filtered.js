// A page of lists that is told of news, and shows what fits the field at its top.

import { fill, h } from "./dom.js";
import { filterField } from "./parts.js";

export class Filtered {
  /** `label` says what the field filters. Lists go into the element `list`. */
  constructor(root, context, title, label) {
    this.context = context;
    this.filter = "";
    fill(root, h("div", { class: "head" }, h("h1", {}, title), filterField("", label)), h("div", { id: "list", class: "stack" }));
  }

  query() {
    return { filter: this.filter };
  }

  filtered(text) {
    this.filter = text;
    this.context.reopen();
  }

  close() {}
}
