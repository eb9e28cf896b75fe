// The first view: a text or many, and their answers.

import { answerCard, failedCard, refreshAnswers } from "./answer.js";
import { classifyAll, plainly } from "./api.js";
import { announce, byId, el, percent, some } from "./dom.js";
import { onChange, state } from "./state.js";

// Cards that are shown at once; a page of a thousand would be slow to lay out.
const SHOWN = 20;
let running = null;

export function startAsk() {
  const form = byId("ask-form"), input = byId("ask-text");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    classify();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      classify();
    }
  });
  input.addEventListener("input", tellCount);
  for (const choice of form.elements.each) choice.addEventListener("change", tellCount);
  byId("ask-clear").addEventListener("click", () => {
    input.value = "";
    clear();
    input.focus();
  });
  byId("ask-stop").addEventListener("click", () => running?.abort());
  onChange((what) => (what === "model" ? clear() : refreshAnswers()));
  tellCount();
}

function texts() {
  const whole = byId("ask-text").value;
  if (byId("ask-form").elements.each.value === "one") return whole.trim() ? [whole] : [];
  return whole.split("\n").map((line) => line.replace(/\r$/, "")).filter((line) => line.trim());
}

function tellCount() {
  const found = texts();
  byId("ask-count").textContent = found.length > 1 ? some(found.length, "text") : "";
}

function clear() {
  running?.abort();
  byId("answers").replaceChildren();
  byId("ask-summary").replaceChildren();
  byId("ask-problem").textContent = "";
  tellCount();
}

async function classify() {
  const found = texts(), { model } = state;
  clear();
  if (!found.length) {
    byId("ask-problem").textContent = "Write or paste a text first.";
    byId("ask-text").focus();
    return;
  }
  const stop = running = new AbortController();
  const answers = new Array(found.length).fill(null);
  const busy = (words) => {
    if (running === stop) byId("ask-busy").textContent = words;
  };
  setRunning(true);
  busy(found.length > 1 ? `Reading ${some(found.length, "text")}…` : "Reading…");
  let done = 0;
  const take = (place, result, error) => {
    answers[place] = { text: found[place], result, error };
    done += 1;
    if (found.length > 64) busy(`${done} of ${found.length} read…`);
  };
  try {
    await classifyAll(found, {
      model,
      signal: stop.signal,
      answered: (place, result) => take(place, result, null),
      refused: (place, error) => take(place, null, error),
      waiting: (seconds) => busy(seconds ? `The service is busy; asking again in ${Math.ceil(seconds)} s…` : "Reading…"),
    });
  } catch (error) {
    if (running === stop && error.name !== "AbortError") byId("ask-problem").textContent = plainly(error);
  }
  if (running !== stop) return;
  setRunning(false);
  busy("");
  if (!stop.signal.aborted || done) show(answers.filter(Boolean), model);
}

function setRunning(on) {
  byId("ask-go").disabled = on;
  byId("ask-stop").hidden = !on;
  byId("answers").setAttribute("aria-busy", String(on));
}

function show(answers, model) {
  if (!answers.length) return;
  const place = byId("answers");
  const add = (from) => place.append(...answers.slice(from, from + SHOWN).map(({ text, result, error }) => (
    result ? answerCard(text, result, model) : failedCard(text, error))));
  add(0);
  if (answers.length > SHOWN) {
    const more = el("button", { type: "button", class: "quiet", onclick: () => {
      const from = place.querySelectorAll(".answer").length;
      more.remove();
      add(from);
      place.children[from].tabIndex = -1;
      place.children[from].focus();
      if (from + SHOWN < answers.length) place.append(more);
    } }, `Show ${SHOWN} more of ${answers.length}`);
    place.append(more);
  }
  const told = summary(answers, model);
  if (answers.length > 1) byId("ask-summary").replaceChildren(told);
  announce(answers.length === 1 && answers[0].result ? spoken(answers[0].result, model) : `${some(answers.length, "answer")}. ${told.textContent}`);
}

function spoken(result, model) {
  if (model.several) return `Labels: ${result.labels.join(", ") || "none"}.`;
  return `${result.label}, ${percent(result.confidence)} confident${result.abstained ? ", not sure enough" : ""}.`;
}

/** How many texts got which label. */
function summary(answers, model) {
  const counts = new Map();
  for (const { result } of answers) {
    const given = result === null ? ["no answer"] : model.several ? result.labels : [result.label];
    for (const label of given.length ? given : ["no label"]) counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  const unsure = answers.filter(({ result }) => result?.abstained).length;
  const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 8).map(([label, number]) => `${label} ${number}`).join(" · ");
  return el("p", { class: "note" }, `${some(answers.length, "text")}: ${most}${unsure ? ` · ${unsure} not sure enough` : ""}`);
}
