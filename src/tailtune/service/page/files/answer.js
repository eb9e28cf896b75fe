// One answer: label, bars of probabilities, reasons, and on demand the words it hangs on.

import { ask, plainly } from "./api.js";
import { announce, byId, el, foreign, percent } from "./dom.js";
import { flagged, state } from "./state.js";
import { reasons } from "./why.js";

const FIRST = 5;
// Changes of probability from which a word is marked at all, and marked stronger.
const LEVELS = [0.005, 0.05, 0.2];

/** The card of one text with its answer. */
export function answerCard(text, result, model) {
  const quote = el("blockquote", { dir: "auto", class: "text" }, text || "(no text)");
  const card = el("article", { class: "card answer", "data-sure": result.abstained === true ? "no" : null },
    quote,
    head(result, model),
    why(result, model),
    bars(result, model),
  );
  if (text.trim()) card.append(words(card, quote, text, model));
  card.refresh = () => recolour(card, result);
  card.refresh();
  return card;
}

/** A text that has no answer. */
export const failedCard = (text, error) => el("article", { class: "card answer" },
  el("blockquote", { dir: "auto", class: "text" }, text), el("p", { class: "problem" }, plainly(error)));

function head(result, model) {
  const flag = el("span", { class: "flag", hidden: true });
  if (model.several) {
    const given = result.labels.length
      ? result.labels.map((label) => foreign(label, { class: "chip" }))
      : [el("span", { class: "chip none" }, "no label")];
    return el("p", { class: "verdict" }, ...given, flag);
  }
  const levels = result.levels.length > 1 ? el("p", { class: "levels" }, "By level: ", ...path(result.levels)) : null;
  const said = el("p", { class: "verdict" },
    foreign(result.label, { class: "label" }),
    el("span", { class: "confidence" }, `${percent(result.confidence)} confident`),
    result.abstained ? el("span", { class: "chip unsure" }, "not sure enough") : null,
    flag);
  return levels ? el("div", {}, said, levels) : said;
}

function path(levels) {
  return levels.flatMap((level, at) => [
    at ? " › " : "", foreign(level.label), el("span", { class: "soft" }, ` ${percent(level.confidence)}`),
  ]);
}

function why(result, model) {
  const found = reasons(result, model);
  if (!found.length) return null;
  return el("ul", { class: "why" }, ...found.map(({ tone, text }) => el("li", { class: tone }, text)));
}

/** Bars, the likeliest first: five of them, the rest on demand. */
function bars(result, model) {
  const ordered = Object.entries(result.probabilities).sort((first, second) => second[1] - first[1]);
  const given = new Set(model.several ? result.labels : [result.label]);
  const list = el("ol", { class: "bars", "aria-label": "Probabilities" });
  const show = (entries) => list.append(...entries.map(([label, share]) => bar(label, share, given.has(label), model)));
  show(ordered.slice(0, FIRST));
  if (ordered.length <= FIRST) return list;
  const more = el("button", { type: "button", class: "quiet", onclick: () => {
    show(ordered.slice(FIRST));
    list.children[FIRST].tabIndex = -1;
    list.children[FIRST].focus();
    more.remove();
  } }, `Show all ${ordered.length}`);
  return el("div", {}, list, more);
}

function bar(label, share, given, model) {
  const fill = el("span", { class: "fill" });
  fill.style.inlineSize = `${100 * share}%`;
  const track = el("span", { class: "track", "aria-hidden": "true" }, fill);
  const threshold = model.thresholds[label];
  if (threshold <= 1) {
    const tick = el("span", { class: "tick" });
    tick.style.insetInlineStart = `${100 * threshold}%`;
    track.append(tick);
  }
  const needs = threshold <= 1 ? `, given from ${percent(threshold)}` : "";
  return el("li", { class: given ? "given" : null },
    el("span", { class: "name" }, foreign(label), given ? el("span", { class: "sign" }, " ✓", el("span", { class: "spoken" }, " (given)")) : null,
      threshold > 1 ? el("small", {}, " never given") : null),
    track,
    el("span", { class: "number" }, percent(share), needs ? el("span", { class: "spoken" }, needs) : null));
}

function recolour(card, result) {
  const verdict = flagged(result.probabilities), place = card.querySelector(".flag");
  if (verdict === null) {
    delete card.dataset.flagged;
    place.hidden = true;
    return;
  }
  card.dataset.flagged = verdict ? "yes" : "no";
  place.hidden = false;
  place.textContent = verdict ? `⚑ would be flagged as “${state.flag.label}”` : "would pass";
}

/** The button that asks which words the answer hangs on, and what it brings. */
function words(card, quote, text, model) {
  const place = el("div", { class: "words" });
  const button = el("button", { type: "button", class: "quiet", onclick: async () => {
    button.disabled = true;
    button.textContent = "Reading the text without each word…";
    try {
      const { results: [result] } = await ask("v1/classify", { body: { texts: [text], model: model.name, highlights: true } });
      quote.replaceChildren(...marked(text, result.highlights));
      quote.classList.add("marked");
      button.replaceWith(legend(result.highlights, result.label));
      announce(spokenSummary(result.highlights, result.label));
    } catch (error) {
      button.disabled = false;
      button.textContent = "Which words matter?";
      place.append(el("p", { class: "problem", role: "alert" }, plainly(error)));
    }
  } }, "Which words matter?");
  place.append(button);
  return place;
}

/** The text with marks around what changes the answer. Offsets count characters, not the units of JavaScript. */
function marked(text, highlights) {
  const signs = Array.from(text), pieces = [];
  let at = 0;
  for (const { start, end, change } of highlights) {
    pieces.push(signs.slice(at, start).join(""));
    const part = signs.slice(start, end).join("");
    pieces.push(Math.abs(change) < LEVELS[0] ? part : mark(part, change));
    at = end;
  }
  pieces.push(signs.slice(at).join(""));
  return pieces.filter(Boolean);
}

function mark(part, change) {
  const level = LEVELS.filter((least) => Math.abs(change) >= least).length;
  const said = points(change);
  const made = el("mark", { class: `${change > 0 ? "for" : "against"}${level}`, tabindex: 0, "data-said": said },
    // The word joiner keeps the sign with its word.
    el("span", { class: "sign", "aria-hidden": "true" }, `${change > 0 ? "+" : "−"}\u2060`),
    part,
    el("span", { class: "spoken" }, ` (${said})`));
  const side = () => { made.dataset.side = made.getBoundingClientRect().left > innerWidth / 2 ? "end" : "start"; };
  made.addEventListener("pointerenter", side);
  made.addEventListener("focus", side);
  return made;
}

const points = (change) => `${change > 0 ? "+" : "−"}${Math.abs(100 * change).toFixed(1)} points`;

function legend(highlights, label) {
  if (!highlights.some(({ change }) => Math.abs(change) >= LEVELS[0])) {
    return el("p", { class: "note" }, highlights.length
      ? "No single word changes the answer by half a point: it hangs on several together."
      : "There is no word to leave out.");
  }
  return el("p", { class: "note legend" },
    el("mark", { class: "for2" }, el("span", { class: "sign", "aria-hidden": "true" }, "+"), "speaks for"), " and ",
    el("mark", { class: "against2" }, el("span", { class: "sign", "aria-hidden": "true" }, "−"), "speaks against"),
    " “", foreign(label), "”: what leaving out the word changes, each alone. Point at a word, or tab to it, for its number.");
}

function spokenSummary(highlights, label) {
  const strongest = [...highlights].sort((a, b) => Math.abs(b.change) - Math.abs(a.change)).slice(0, 3)
    .filter(({ change }) => Math.abs(change) >= LEVELS[0]).map(({ text, change }) => `${text} ${points(change)}`);
  return strongest.length ? `Most of ${label} hangs on: ${strongest.join(", ")}.` : "No single word changes the answer.";
}

/** Colour all answers anew, after the threshold was moved. */
export function refreshAnswers() {
  for (const card of byId("answers").children) card.refresh?.();
}
