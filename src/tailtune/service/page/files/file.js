// The second view: a file of texts, read here, answered in pieces, to be looked at and downloaded.

import { classifyAll, plainly } from "./api.js";
import { announce, byId, count, duration, el, foreign, some } from "./dom.js";
import { downloadCsv, downloadJsonLines } from "./download.js";
import { kept } from "./rows.js";
import { labelColumn, looksNamed, read, textColumn } from "./source.js";
import { onChange, state } from "./state.js";
import { showTable, startTable } from "./table.js";

// More categories than this would make a file of more columns than people want.
const MOST_SHARES = 20;
// Milliseconds between two drawings of the progress.
const BEAT = 200;
let source = null, job = null, running = null;

export function startFile() {
  const input = byId("file-input"), drop = byId("drop");
  input.addEventListener("change", () => input.files[0] && open(input.files[0]));
  for (const [name, over] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", over);
    });
  }
  drop.addEventListener("drop", (event) => event.dataTransfer.files[0] && open(event.dataTransfer.files[0]));
  byId("file-named").addEventListener("change", () => choose(byId("file-named").checked));
  for (const id of ["file-text", "file-label"]) byId(id).addEventListener("change", changed);
  byId("file-form").addEventListener("submit", (event) => {
    event.preventDefault();
    classify();
  });
  byId("file-cancel").addEventListener("click", () => running?.abort());
  byId("save-csv").addEventListener("click", () => downloadCsv(job, { guard: byId("save-guard").checked, shares: byId("save-shares").checked }));
  byId("save-jsonl").addEventListener("click", () => downloadJsonLines(job, { shares: byId("save-shares").checked }));
  startTable();
  onChange((what) => what === "model" && reset());
}

function reset() {
  running?.abort();
  running = job = null;
  end();
  showTable(null);
  byId("save-shares").checked = state.model.labels.length <= MOST_SHARES;
  if (source !== null) choose(byId("file-named").checked);
}

const problem = (words) => { byId("file-problem").textContent = words; };

async function open(file) {
  running?.abort();
  const stop = running = new AbortController();
  problem("");
  byId("file-form").hidden = true;
  showTable(null);
  source = job = null;
  begin(`Reading ${file.name}…`);
  try {
    source = { file, ...await read(file, { signal: stop.signal, progress: (share) => { byId("file-bar").value = share; } }) };
  } catch (error) {
    if (running === stop && error.name !== "AbortError") problem(`${file.name}: ${error.message}.`);
  }
  if (running !== stop) return;
  end();
  byId("file-input").value = "";
  if (source === null) return;
  if (!source.records.length) {
    source = null;
    return problem(`${file.name}: holds no row.`);
  }
  choose(source.columns !== null || looksNamed(source.records, state.model.labels));
  byId("file-form").hidden = false;
  announce(`${file.name}: ${some(job.rows.length, "row")}.`);
  byId("file-go").focus();
}

/** Settle names and columns, by whether the first record has the names. */
function choose(named) {
  const { records, columns, kind, file } = source, width = records[0].length, { model } = state;
  const first = columns ?? (named ? records[0] : []);
  const names = Array.from({ length: width }, (_, at) => first[at]?.trim() || `column ${at + 1}`);
  const rows = columns === null && named ? records.slice(1) : records;
  const textAt = textColumn(names, rows), labelAt = model.several ? -1 : labelColumn(names, rows, model.labels, textAt);
  byId("file-named").checked = named;
  byId("file-named-choice").hidden = columns !== null;
  options("file-text", names.map((name, at) => [at, name]), textAt);
  options("file-label", [[-1, "none"], ...names.map((name, at) => [at, name])], labelAt);
  byId("file-label-choice").hidden = model.several || width < 2;
  byId("file-text-choice").hidden = width < 2;
  const what = kind === "delimited" ? `columns by ${{ ",": "comma", ";": "semicolon", "\t": "tab", "|": "bar" }[source.delimiter]}` : kind === "jsonl" ? "JSON lines" : "one text per line";
  byId("file-told").replaceChildren(foreign(file.name), `: ${some(rows.length, "row")}, ${some(width, "column")}, ${what}`);
  job = { file, names, rows, textAt, labelAt, model, results: new Array(rows.length).fill(null), failed: new Map(), blank: 0 };
  changed();
}

function options(id, entries, chosen) {
  byId(id).replaceChildren(...entries.map(([value, name]) => el("option", { value }, name)));
  byId(id).value = String(chosen);
}

/** Columns were chosen: what was answered for another one is gone. */
function changed() {
  const textAt = Number(byId("file-text").value), labelAt = Number(byId("file-label").value);
  if (textAt !== job.textAt) Object.assign(job, { results: job.results.fill(null), failed: new Map() });
  Object.assign(job, { textAt, labelAt });
  const answered = job.results.some(Boolean);
  showTable(answered ? job : null);
  byId("file-preview").replaceChildren(...job.rows.slice(0, 3).map((row) => el("li", { dir: "auto" }, row[textAt].slice(0, 300) || "(no text)")));
  tellStart();
}

function tellStart() {
  const left = waiting().length, all = left === job.rows.length - job.blank;
  byId("file-go").disabled = left === 0;
  byId("file-go").textContent = all ? `Classify ${some(left, "row")}` : left ? `Go on with ${some(left, "row")}` : "All rows are answered";
}

/** The places of rows that have a text and no answer; counts those without a text. */
function waiting() {
  const places = [];
  job.blank = 0;
  job.rows.forEach((row, at) => {
    if (!row[job.textAt].trim()) job.blank += 1;
    else if (!job.results[at] && !job.failed.has(at)) places.push(at);
  });
  return places;
}

async function classify() {
  const stop = running = new AbortController(), own = job, places = waiting();
  let done = 0, busy = 0, drawn = 0, told = 0;
  const started = performance.now();
  problem("");
  showTable(null);
  begin(`Reading ${some(places.length, "row")}…`);
  byId("file-cancel").focus();
  const beat = () => {
    const now = performance.now();
    if (running !== stop || now - drawn < BEAT) return;
    drawn = now;
    const share = done / places.length, rate = done / (now - started) * 1000;
    byId("file-bar").value = share;
    const left = rate ? `${count(rate)} a second, ${duration((places.length - done) / rate)} left` : "";
    byId("file-rate").textContent = `${count(done)} of ${count(places.length)} · ${busy ? `the service is busy; asking again in ${Math.ceil(busy)} s` : left}`;
    if (Math.floor(4 * share) > told) announce(`${25 * (told = Math.floor(4 * share))} percent`);
  };
  try {
    await classifyAll(places.map((at) => own.rows[at][own.textAt]), {
      model: own.model,
      signal: stop.signal,
      answered: (place, result) => { own.results[places[place]] = kept(result, own.model); done += 1; beat(); },
      refused: (place, error) => { own.failed.set(places[place], plainly(error)); done += 1; beat(); },
      waiting: (seconds) => { busy = seconds; drawn = 0; beat(); },
    });
  } catch (error) {
    if (running === stop && error.name !== "AbortError") problem(`${plainly(error)} ${count(done)} rows are answered; you can go on from there.`);
  }
  if (running !== stop || job !== own) return;
  const seconds = (performance.now() - started) / 1000;
  end();
  tellStart();
  if (done) showTable(own);
  const words = `${some(done, "row")} in ${duration(seconds)}${stop.signal.aborted ? ", then stopped" : ""}.`;
  byId("file-done").textContent = words;
  announce(words);
  if (done) byId("results-title").focus();
}

/** Something runs: what it works on cannot be changed meanwhile. */
function begin(words) {
  byId("file-form").inert = true;
  byId("file-progress").hidden = false;
  byId("file-go").disabled = true;
  byId("file-bar").value = 0;
  byId("file-rate").textContent = words;
  byId("file-done").textContent = "";
}

function end() {
  byId("file-form").inert = false;
  byId("file-progress").hidden = true;
}
