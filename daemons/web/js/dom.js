// Small builders for HTML and SVG elements: h("p", {class: "soft"}, "text", child). Text is never parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

const present = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...present(children));
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// Put new children into the element with this id only when what they show has changed, so that focus and scroll stay.
const shown = new Map();
export function put(id, value, build) {
  const text = JSON.stringify(value);
  if (shown.get(id) === text) return;
  shown.set(id, text);
  document.getElementById(id).replaceChildren(...present([build(value)]));
}

export function table(head, rows) {
  return h("div", {class: "scroll", tabindex: "0"}, h("table", {},
    h("thead", {}, h("tr", {}, head.map((name) => h("th", {scope: "col"}, name)))),
    h("tbody", {}, rows.map((row) => h("tr", row.attributes ?? {}, row.cells.map((cell) => h("td", {}, cell)))))));
}
