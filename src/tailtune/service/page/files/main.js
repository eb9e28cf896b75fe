// Views, the models to choose from, and what connects the rest.

import { startAbout } from "./about.js";
import { ask, plainly } from "./api.js";
import { startAsk } from "./ask.js";
import { byId, count, el } from "./dom.js";
import { startFile } from "./file.js";
import { change } from "./state.js";
import { startThreshold } from "./threshold.js";

const VIEWS = ["ask", "file", "threshold", "about"];

function showView(focus) {
  const wanted = location.hash.slice(1), view = VIEWS.includes(wanted) ? wanted : VIEWS[0];
  for (const name of VIEWS) byId(name).hidden = name !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
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
  const labels = model.labels.slice(0, 6).join(", ");
  byId("model-line").textContent = `Tells ${count(model.labels.length)} ${model.several ? "labels, any number per text" : "categories"}: ` +
    `${labels}${model.labels.length > 6 ? ", …" : ""}`;
  const drift = model.drift?.said;
  byId("drift").hidden = !drift;
  byId("drift").textContent = drift ?? "";
  byId("main").hidden = false;
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
  const choice = byId("model");
  choice.replaceChildren(...models.map(({ name }) => el("option", { value: name }, name)));
  byId("model-choice").hidden = models.length < 2;
  choice.onchange = () => useModel(models.find(({ name }) => name === choice.value));
  await useModel(models[0]);
}

start();
