// The rows of a file with their answers: a page at a time, so that ten thousand are no more work than fifty.

import { byId, count, el, foreign, interval, percent, some } from "./dom.js";
import { isWrong, judged, labelCounts, selected } from "./rows.js";
import { onChange, state } from "./state.js";

const PAGE = 50;
const WIDEST_MATRIX = 10, MOST_PAIRS = 15;
let job = null, page = 0;

export function startTable() {
  for (const id of ["rows-label", "rows-only", "rows-order"]) {
    byId(id).addEventListener("change", () => { page = 0; draw(); });
  }
  byId("rows-previous").addEventListener("click", () => turn(-1));
  byId("rows-next").addEventListener("click", () => turn(1));
  onChange((what) => what === "flag" && job !== null && refresh());
}

/** Show a job, or nothing for null. */
export function showTable(shown) {
  job = shown;
  page = 0;
  byId("results").hidden = job === null;
  if (job !== null) refresh();
}

function refresh() {
  const counts = labelCounts(job.results);
  options("rows-label", [["", "all categories"], ...[...counts].map(([label, rows]) => [label, `${label} (${count(rows)})`])]);
  const failed = job.results.filter((row) => !row).length;
  options("rows-only", [
    ["", "all rows"],
    job.model.promise && ["unsure", "not sure enough"],
    job.labelAt >= 0 && ["wrong", "other than its label"],
    state.flag && ["flagged", `flagged as ${state.flag.label}`],
    failed && ["failed", "without an answer"],
  ].filter(Boolean));
  byId("results-summary").replaceChildren(...summary(counts, failed));
  byId("results-judged").replaceChildren(...accuracy());
  draw();
}

function options(id, entries) {
  const choice = byId(id), before = choice.value;
  choice.replaceChildren(...entries.map(([value, words]) => el("option", { value }, words)));
  choice.value = entries.some(([value]) => value === before) ? before : "";
}

function summary(counts, failed) {
  const answered = job.results.length - failed, unsure = job.results.filter((row) => row?.abstained).length;
  const marked = state.flag === null ? null : job.results.filter((row) => row && isFlagged(row)).length;
  const most = [...counts].slice(0, 8).flatMap(([label, rows], at) => [at ? " · " : "", foreign(label), ` ${count(rows)}`]);
  return [
    el("p", { class: "said even" }, `${some(answered, "row")} answered: `, ...most, counts.size > 8 ? " · …" : ""),
    unsure ? el("p", { class: "note" }, `${some(unsure, "row")} not sure enough (${percent(unsure / answered)}).`) : "",
    marked === null ? "" : el("p", { class: "note" }, `${some(marked, "row")} flagged as “${state.flag.label}” at ${percent(state.flag.value)} or more.`),
    failed ? el("p", { class: "note" }, `${some(failed, "row")} without an answer${job.blank ? `, ${count(job.blank)} of them without a text` : ""}.`) : "",
  ];
}

/** Of ten thousand rows this is asked at every step of the slider. */
const isFlagged = (row) => state.flag !== null && row.shares[job.model.labels.indexOf(state.flag.label)] >= state.flag.value;

function accuracy() {
  const found = judged(job);
  if (found === null) return [];
  const [low, high] = interval(found.right, found.rows);
  const line = el("p", { id: "accuracy" }, el("b", {}, `${percent(found.right / found.rows)} right`),
    ` (95 % interval ${percent(low)} to ${percent(high)}): ${count(found.right)} of ${some(found.rows, "row")} with a label in “`,
    foreign(job.names[job.labelAt]), "”.");
  const labels = job.model.labels.filter((label) => found.cells.some(([truth, given]) => truth === label || given === label));
  return [line, el("details", {}, el("summary", {}, "Which categories are confused"),
    labels.length <= WIDEST_MATRIX ? matrix(found.cells, labels) : pairs(found.cells))];
}

function matrix(cells, labels) {
  const at = new Map(cells.map(([truth, given, rows]) => [JSON.stringify([truth, given]), rows]));
  return scrolling("Confusion", el("table", { class: "matrix" },
    el("caption", {}, "Rows: label in the file. Columns: predicted."),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "label"), ...labels.map((each) => el("th", { scope: "col" }, foreign(each))))),
    el("tbody", {}, ...labels.map((truth) => el("tr", {}, el("th", { scope: "row" }, foreign(truth)),
      ...labels.map((given) => {
        const rows = at.get(JSON.stringify([truth, given])) ?? 0;
        return el("td", { class: truth === given ? "right" : rows ? "wrong" : null }, count(rows));
      }))))));
}

function pairs(cells) {
  const wrong = cells.filter(([truth, given]) => truth !== given).sort((first, second) => second[2] - first[2]).slice(0, MOST_PAIRS);
  return scrolling("Most frequent confusions", el("table", {},
    el("caption", {}, "Most frequent confusions"),
    el("thead", {}, el("tr", {}, ...["label", "predicted", "rows"].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...wrong.map(([truth, given, rows]) => el("tr", {}, el("th", { scope: "row" }, foreign(truth)), el("td", { class: "words" }, foreign(given)), el("td", {}, count(rows)))))));
}

const scrolling = (name, content) => el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name }, content);

function turn(by) {
  page += by;
  draw();
  byId("rows").scrollIntoView({ block: "nearest" });
}

function draw() {
  const places = selected(job, {
    label: byId("rows-label").value,
    only: byId("rows-only").value,
    order: byId("rows-order").value,
    flagged: isFlagged,
  });
  const pages = Math.max(1, Math.ceil(places.length / PAGE));
  page = Math.min(Math.max(page, 0), pages - 1);
  const shown = places.slice(page * PAGE, (page + 1) * PAGE);
  byId("rows-head").replaceChildren(...head());
  byId("rows-cells").replaceChildren(...shown.map(row));
  byId("rows-count").textContent = `${some(places.length, "row")}, page ${page + 1} of ${pages}`;
  byId("rows-previous").disabled = page === 0;
  byId("rows-next").disabled = page === pages - 1;
}

function head() {
  const names = ["row", "text", "predicted", "confidence", job.labelAt >= 0 ? job.names[job.labelAt] : null, state.flag ? "flagged" : null];
  return names.filter((name) => name !== null).map((name) => el("th", { scope: "col" }, name));
}

function row(at) {
  const found = job.results[at], text = job.rows[at][job.textAt], wrong = isWrong(job, at);
  const label = job.labelAt >= 0 ? el("td", { class: wrong ? "words wrong" : "words" }, foreign(job.rows[at][job.labelAt]), wrong ? el("span", { class: "sign" }, "\u00a0≠") : null) : null;
  const long = Array.from(text.slice(0, 400));
  const cells = [
    el("th", { scope: "row" }, String(at + 1)),
    el("td", { class: "text words", dir: "auto" }, long.length > 180 ? `${long.slice(0, 180).join("")}…` : text),
    ...(found ? answered(found) : [el("td", { class: "words problem" }, job.failed.get(at) ?? (text.trim() ? "not read yet" : "no text")), el("td")]),
    label,
    state.flag ? el("td", {}, found && isFlagged(found) ? "⚑ yes" : "–") : null,
  ];
  return el("tr", { "data-flagged": found && state.flag && isFlagged(found) ? "yes" : null }, ...cells);
}

function answered(found) {
  const given = found.given.length ? found.given.flatMap((label, at) => [at ? ", " : "", foreign(label)]) : [el("span", { class: "soft" }, "no label")];
  return [
    el("td", { class: "words" }, ...given, found.abstained ? el("span", { class: "chip unsure" }, "not sure enough") : null),
    el("td", {}, percent(found.confidence)),
  ];
}
