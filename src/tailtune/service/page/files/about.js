// The fourth view: what was measured, the report of the run, the model card, limits and versions.

import { byId, count, el, foreign, percent } from "./dom.js";
import { onChange, state } from "./state.js";

export function startAbout() {
  byId("report").addEventListener("toggle", loadReport);
  onChange((what) => what === "model" && show());
}

function show() {
  const { about, model } = state;
  const verdict = byId("about-verdict");
  verdict.hidden = !about.verdict;
  verdict.className = `said ${about.tone}`;
  verdict.textContent = about.verdict;
  byId("about-made").textContent = about.made;
  byId("about-read").textContent = about.figures.length ? `${about.read} Ranges are 95 % intervals.`.trim() : "This bundle holds no measurements.";
  byId("about-figures").replaceChildren(...about.figures.map(({ name, value, note }) => el("div", {},
    el("dt", {}, name), el("dd", {}, el("b", {}, value), note ? el("span", {}, note) : null))));
  byId("about-tables").replaceChildren(...about.tables.map((table, at) => details(table.title, at === 0 && table.rows.length < 12, tableOf(table))));
  byId("report").hidden = !about.report;
  byId("report").open = false;
  byId("report-frame").replaceChildren();
  byId("report-link").href = `report?model=${encodeURIComponent(model.name)}`;
  byId("card").hidden = !about.card.length;
  byId("card-content").replaceChildren(...about.card.map(block));
  showFacts();
}

/** Limits, versions and what is known of drift. */
export function showFacts() {
  byId("about-facts").replaceChildren(...facts(state.model, state.about));
}

function loadReport() {
  const { open } = byId("report");
  if (!open || byId("report-frame").childElementCount) return;
  byId("report-frame").append(el("iframe", { src: byId("report-link").href, sandbox: true, title: "Report of the run" }));
}

const details = (title, open, ...content) => el("details", { open }, el("summary", {}, el("h3", {}, title)), ...content);

function tableOf({ title, lead, header, rows, words }) {
  const cell = (text, at) => (at ? el("td", { class: words.includes(at) ? "words" : null }, foreign(text)) : el("th", { scope: "row" }, foreign(text)));
  return el("div", {}, el("p", { class: "note" }, lead), el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title },
    el("table", {},
      el("thead", {}, el("tr", {}, ...header.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map(cell)))))));
}

/** A block of the card; see the server's card module. Headings go below those of the page. */
function block(each) {
  if (each.kind === "heading") return el(`h${Math.min(each.level + 2, 6)}`, {}, ...spans(each.spans));
  if (each.kind === "code") return el("pre", { tabindex: 0 }, el("code", {}, each.text));
  if (each.kind === "items") return el("ul", {}, ...each.items.map((item) => el("li", {}, ...spans(item))));
  if (each.kind === "table") {
    return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of the model card" }, el("table", {},
      el("thead", {}, el("tr", {}, ...each.header.map((cell) => el("th", { scope: "col" }, ...spans(cell))))),
      el("tbody", {}, ...each.rows.map((row) => el("tr", {}, ...row.map((cell, at) => el(at ? "td" : "th", at ? {} : { scope: "row" }, ...spans(cell))))))));
  }
  return el("p", {}, ...spans(each.spans));
}

const spans = (found) => found.map(({ kind, text }) => (kind ? el(kind, {}, text) : text));

function facts(model, about) {
  const { limits, promise } = model;
  const rows = [
    ["Model", model.name],
    ["Version (SHA-256 of its manifest)", model.digest],
    ["Categories", `${count(model.labels.length)}: ${model.labels.slice(0, 12).join(", ")}${model.labels.length > 12 ? ", …" : ""}`],
    ["Kind", model.several ? "any number of labels per text" : "one label per text"],
    promise && ["Promise", `at most ${percent(promise.error, 0)} of texts answered wrongly, where it does not abstain`],
    ["Language model", model.base_model],
    ["Method", model.method],
    model.drift?.said && ["Drift", model.drift.said],
    ["Reads", `at most ${count(model.max_tokens)} tokens at once`],
    ["One request", `${count(limits.texts)} texts, ${count(limits.characters)} characters each, ${count(limits.tokens)} tokens and ${count(limits.body_bytes)} bytes in all`],
    ["Served by", `Tailtune ${model.tailtune}`],
    Object.keys(about.versions).length && ["Made with", Object.entries(about.versions).map((each) => each.join(" ")).join(", ")],
  ];
  return rows.filter((row) => row && row[1]).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, foreign(value))));
}
