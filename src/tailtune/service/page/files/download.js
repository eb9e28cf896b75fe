// The rows of a file with what was predicted for each, as CSV or JSON lines.

import { line } from "./csv.js";
import { byId } from "./dom.js";
import { byLabel } from "./rows.js";

// Rows that are written before the page gets a turn.
const AT_ONCE = 2000;

export async function downloadCsv(job, { guard, shares }) {
  const added = addedNames(job, shares), parts = ["\ufeff", line([...job.names, ...added], guard)];
  await eachPiece(job, (at) => {
    // What was added is ours, but for the label, which came from the training data.
    parts.push(line([...job.rows[at], ...addedCells(job, at, shares)], guard));
  });
  save(parts, "text/csv;charset=utf-8", named(job, "csv"));
}

export async function downloadJsonLines(job, { shares }) {
  const { model } = job, parts = [], names = unique(job.names, ["prediction"]);
  await eachPiece(job, (at) => {
    const row = job.results[at], original = Object.fromEntries(job.names.map((name, place) => [name, job.rows[at][place]]));
    const prediction = row && {
      ...(model.several ? { labels: row.given } : { label: row.label }),
      confidence: row.confidence,
      ...(model.promise ? { abstained: row.abstained } : {}),
      ...(row.outOfScope === null ? {} : { out_of_scope: row.outOfScope }),
      truncated: row.truncated,
      ...(shares ? { probabilities: byLabel(row, model) } : {}),
    };
    parts.push(`${JSON.stringify({ ...original, [names[0]]: prediction ?? null })}\n`);
  });
  save(parts, "application/x-ndjson", named(job, "jsonl"));
}

function addedNames({ model, names }, shares) {
  return unique(names, [
    "predicted",
    "confidence",
    ...(model.promise ? ["abstained"] : []),
    ...(shares ? model.labels.map((label) => `probability ${label}`) : []),
  ]);
}

function addedCells({ model, results }, at, shares) {
  const row = results[at];
  if (!row) return new Array(2 + (model.promise ? 1 : 0) + (shares ? model.labels.length : 0)).fill("");
  return [
    row.given.join("; "),
    String(row.confidence),
    ...(model.promise ? [String(row.abstained)] : []),
    ...(shares ? Array.from(row.shares, String) : []),
  ];
}

/** Names that the file does not have yet. */
function unique(taken, wanted) {
  return wanted.map((name) => {
    let free = name;
    for (let number = 2; taken.includes(free); number += 1) free = `${name} ${number}`;
    return free;
  });
}

async function eachPiece(job, write) {
  for (let at = 0; at < job.rows.length; at += 1) {
    write(at);
    if (at % AT_ONCE === AT_ONCE - 1) await new Promise((resolve) => { setTimeout(resolve); });
  }
}

const named = (job, ending) => `${job.file.name.replace(/\.[^.]*$/, "")}-classified.${ending}`;

function save(parts, type, name) {
  const link = byId("download-link");
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob(parts, { type }));
  link.download = name;
  link.click();
}
