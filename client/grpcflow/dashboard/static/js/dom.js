// Makes elements, and brings what is on the page to what it should be with as little change as can be, so that focus,
// scrolling and what a screen reader reads stay where they are. Nothing here ever parses text as HTML.

const SVG = "http://www.w3.org/2000/svg";
const OF_SVG = new Set(["svg", "g", "rect", "path", "text", "line", "circle", "title", "tspan", "marker", "defs"]);

/** Return an element. `attributes` of null, undefined or false are left out; children may be lists. */
export function h(tag, attributes, ...children) {
  const made = OF_SVG.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...flat(children));
  return made;
}

function flat(children) {
  return children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false && one !== "");
}

/** Bring the children of an element to these. Those with `data-key` are told apart by it. */
export function fill(target, ...children) {
  const wanted = document.createDocumentFragment();
  wanted.append(...flat(children));
  morphChildren(target, wanted);
}

function keyOf(node) {
  return node.nodeType === 1 ? node.getAttribute("data-key") : null;
}

function isAlike(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}

function morphChildren(target, wanted) {
  const keyed = new Map();
  for (const child of target.childNodes) if (keyOf(child) !== null) keyed.set(keyOf(child), child);
  let here = target.firstChild;
  for (const want of [...wanted.childNodes]) {
    const key = keyOf(want);
    let match = key === null ? here : keyed.get(key) ?? null;
    if (key === null) while (match && keyOf(match) !== null) match = match.nextSibling;
    if (match && isAlike(match, want)) {
      if (match === here) here = here.nextSibling;
      else target.insertBefore(match, here);
      morph(match, want);
      keyed.delete(key);
    } else {
      target.insertBefore(want, here);
    }
  }
  while (here) {
    const next = here.nextSibling;
    here.remove();
    here = next;
  }
}

function morph(target, want) {
  if (target.nodeType !== 1) {
    if (target.nodeValue !== want.nodeValue) target.nodeValue = want.nodeValue;
    return;
  }
  if (target.hasAttribute("data-own")) return; // drawn by somebody else: a chart
  for (const { name } of [...target.attributes]) if (!want.hasAttribute(name)) target.removeAttribute(name);
  for (const { name, value } of want.attributes) {
    if (target.getAttribute(name) !== value) target.setAttribute(name, value);
  }
  morphChildren(target, want);
}
