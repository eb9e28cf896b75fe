// Views, the models to choose from, and what connects the rest.

import { showFacts, startAbout } from "./about.js";
import { ask, plainly } from "./api.js";
import { startAsk } from "./ask.js";
import { byId, count, el } from "./dom.js";
import { startFile } from "./file.js";
import { change, state } from "./state.js";
import { startThreshold } from "./threshold.js";

const VIEWS = ["ask", "file", "threshold", "about"];

let view = VIEWS[0];

/** Show the view that the address names; another place of the page, such as the skip link's, leaves it as it is. */
function showView(focus) {
  const wanted = location.hash.slice(1);
  if (focus && !VIEWS.includes(wanted)) return;
  if (VIEWS.includes(wanted)) view = wanted;
  for (const name of VIEWS) byId(name).hidden = name !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view === "about" && state.model !== null) refreshDrift();
  if (!focus) return;
  byId(`${view}-title`).focus({ preventScroll: true });
  scrollTo(0, 0);
}

async function useModel(model) {
  byId("problem").hidden = true;
  try {
    change({ model, about: await ask(`page/about?model=${encodeURIComponent(model.name)}`), flag: null });
  } catch (error) {
    return fail(error);
  }
  document.title = `${model.name} · Tailtune`;
  byId("model-name").textContent = model.name;
  byId("model-line").textContent = `Tells ${count(model.labels.length)} ${model.several ? "labels, any number per text" : "categories"}: ${named(model.labels)}`;
  tellDrift(model);
  byId("main").hidden = false;
}

/** As many names as fit into a line or two. */
function named(labels) {
  let shown = 1;
  while (shown < labels.length && labels.slice(0, shown + 1).join(", ").length < 90) shown += 1;
  return labels.slice(0, shown).join(", ") + (shown < labels.length ? ", …" : "");
}

/** Answers that were given since the page was loaded count too. */
async function refreshDrift() {
  const { model } = state;
  try {
    const { drift } = await ask(`v1/model?name=${encodeURIComponent(model.name)}`);
    if (state.model !== model) return;
    model.drift = drift;
    tellDrift(model);
    showFacts();
  } catch (error) {
    fail(error);
  }
}

/** A line for everybody where the texts are other than those of the training; the About view says the same always. */
function tellDrift({ drift }) {
  const moved = ["shifting", "drifted"].includes(drift?.reading);
  byId("drift").hidden = !moved;
  byId("drift").textContent = moved ? drift.said : "";
}

function fail(error) {
  byId("problem").hidden = false;
  byId("problem-words").textContent = plainly(error);
}

async function start() {
  addEventListener("hashchange", () => showView(true));
  byId("retry").addEventListener("click", load);
  for (const begin of [startAsk, startFile, startThreshold, startAbout]) begin();
  showView(false);
  await load();
}

async function load() {
  let models;
  try {
    models = await ask("v1/models");
  } catch (error) {
    return fail(error);
  }
  // By names of labels alone: a label may be called "constructor".
  for (const model of models) model.thresholds = Object.assign(Object.create(null), model.thresholds);
  const choice = byId("model");
  choice.replaceChildren(...models.map(({ name }) => el("option", { value: name }, name)));
  byId("model-choice").hidden = models.length < 2;
  choice.onchange = () => useModel(models.find(({ name }) => name === choice.value));
  await useModel(models[0]);
}

start();
