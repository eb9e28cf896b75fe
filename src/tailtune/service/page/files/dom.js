// Elements and numbers. Whatever came from a user or a classifier gets here as text and stays text.

const SVG = "http://www.w3.org/2000/svg";

/** An element: properties that begin with "on" listen, the others are attributes; children are nodes or texts. */
export function el(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** The same for a drawing. */
export function svg(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

function filled(made, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** A text of a user: it may run from right to left, and must not turn what stands beside it. */
export const foreign = (text, properties = {}) => el("bdi", properties, text);

/** Said to those who do not see the page; the same words twice are said twice. */
export function announce(words) {
  const place = byId("said");
  place.textContent = "";
  requestAnimationFrame(() => { place.textContent = words; });
}

const NARROW = "\u202f";

/** A share as people read it: "97.3 %", and never 100 % of what is not certain. */
export function percent(share, digits = 1) {
  if (share === null || share === undefined || Number.isNaN(share)) return "–";
  const shown = (100 * share).toFixed(digits);
  if (share < 1 && Number(shown) === 100) return digits < 2 ? percent(share, digits + 1) : `>${NARROW}99.99${NARROW}%`;
  if (share > 0 && Number(shown) === 0) return digits < 2 ? percent(share, digits + 1) : `<${NARROW}0.01${NARROW}%`;
  return `${shown}${NARROW}%`;
}

/** Two shares with as many digits as it takes to tell them apart. */
export function apart(first, second) {
  for (let digits = 1; digits < 6; digits += 1) {
    const shown = [first, second].map((share) => (100 * share).toFixed(digits));
    if (shown[0] !== shown[1]) return shown.map((each) => `${each}${NARROW}%`);
  }
  return [percent(first), percent(second)];
}

export const count = (number) => Math.round(number).toLocaleString("en-GB");

/** "1 text", "2 texts". */
export const some = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** Seconds as people say them. */
export function duration(seconds) {
  if (seconds < 1) return "less than a second";
  if (seconds < 90) return some(Math.round(seconds), "second");
  return seconds < 5400 ? some(Math.round(seconds / 60), "minute") : `${(seconds / 3600).toFixed(1)} hours`;
}

/** 95 % interval of a share (Wilson 1927). */
export function interval(part, whole) {
  if (!whole) return [0, 1];
  const z = 1.959964, share = part / whole, spread = z * z / whole;
  const middle = (share + spread / 2) / (1 + spread);
  const half = z / (1 + spread) * Math.sqrt(share * (1 - share) / whole + spread / (4 * whole));
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}
