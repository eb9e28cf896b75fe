// A file of texts: CSV, TSV, JSON lines or plain lines, read in pieces so that the page stays alive.

import { Delimited, delimiterOf } from "./csv.js";

const SAMPLE = 64 * 1024;
const TEXT_NAMES = /^(text|texts|message|messages|body|content|comment|sentence|utterance|tweet|review|question|v2)$/i;
const LABEL_NAMES = /^(label|labels|category|class|target|intent|tag|true|truth|gold|v1)$/i;

/**
 * Read a file.
 *
 * progress: called with the share that is read
 * signal:   stops it
 * Returns { kind, delimiter, columns, header, records }; records are lists of texts, one per column. `columns` are the
 * names where the file has them (header is true then), else null.
 */
export async function read(file, { progress = () => {}, signal } = {}) {
  requireText(new Uint8Array(await file.slice(0, 4096).arrayBuffer()));
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const head = new TextDecoder("utf-8").decode(await file.slice(0, SAMPLE).arrayBuffer());
  const kind = kindOf(file.name, head), reader = readerOf(kind), records = [];
  const stream = file.stream().getReader();
  let bytes = 0;
  for (;;) {
    signal?.throwIfAborted();
    const { done, value } = await stream.read();
    if (done) break;
    for (const record of reader.push(decoded(decoder, value, bytes))) records.push(record);
    bytes += value.length;
    progress(bytes / file.size);
  }
  const rest = decoded(decoder, undefined, bytes);
  for (const record of [...reader.push(rest), ...reader.end()]) records.push(record);
  return { ...kind, columns: reader.columns?.() ?? null, records: widened(records, reader) };
}

function decoded(decoder, bytes, before) {
  try {
    return bytes === undefined ? decoder.decode() : decoder.decode(bytes, { stream: true });
  } catch {
    throw new Error(
      `the file is not UTF-8 (near byte ${before.toLocaleString("en-GB")}). Save it again as “CSV UTF-8”: other ` +
      "encodings, such as Latin-1 or Windows-1252, would turn letters into others without a word",
    );
  }
}

function requireText(start) {
  const begins = (...bytes) => bytes.every((byte, at) => start[at] === byte);
  if (!start.length) throw new Error("the file is empty");
  if (begins(0xff, 0xfe) || begins(0xfe, 0xff)) throw new Error("the file is UTF-16. Save it again as “CSV UTF-8”");
  if (begins(0x50, 0x4b)) throw new Error("the file is a workbook or an archive. Save the sheet as “CSV UTF-8” first");
  if (start.includes(0)) throw new Error("the file holds no text: it has NUL bytes");
}

/** What kind of file it is: by its name, and where that says nothing by how it begins. */
export function kindOf(name, head) {
  const ending = /\.([^.]+)$/.exec(name.toLowerCase())?.[1] ?? "";
  const sample = head.replace(/^\ufeff/, "");
  if (["jsonl", "ndjson"].includes(ending) || (ending !== "csv" && startsWithObject(sample))) return { kind: "jsonl" };
  if (["tsv", "tab"].includes(ending)) return { kind: "delimited", delimiter: "\t" };
  const { delimiter, columns, score } = delimiterOf(sample);
  if (ending === "csv") return { kind: "delimited", delimiter };
  return columns > 1 && delimiter === "\t" && score > 0.95 ? { kind: "delimited", delimiter } : { kind: "lines" };
}

function startsWithObject(sample) {
  const first = sample.trimStart().split("\n", 1)[0];
  try { return first.startsWith("{") && typeof JSON.parse(first) === "object"; } catch { return false; }
}

function readerOf({ kind, delimiter }) {
  if (kind === "delimited") return new Delimited(delimiter);
  return kind === "jsonl" ? new JsonLines() : new Lines();
}

/** Plain lines: each is a text. */
class Lines {
  rest = "";

  push(text) {
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop();
    return lines.filter((each) => each.trim()).map((each) => [each]);
  }

  end() {
    return this.rest.trim() ? [[this.rest.replace(/\r$/, "")]] : [];
  }

  columns() {
    return ["text"];
  }
}

/** JSON lines: an object each; its keys are the columns, in the order they are met. */
class JsonLines {
  rest = "";
  keys = new Map();
  line = 0;

  push(text) {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop();
    return lines.flatMap((each) => this.record(each));
  }

  end() {
    return this.record(this.rest);
  }

  record(text) {
    this.line += 1;
    if (!text.trim()) return [];
    let value;
    try { value = JSON.parse(text); } catch { throw new Error(`line ${this.line}: is no JSON`); }
    if (typeof value === "string") value = { text: value };
    if (value === null || typeof value !== "object" || Array.isArray(value)) {
      throw new Error(`line ${this.line}: expected an object such as {"text": "…"}`);
    }
    const cells = [];
    for (const [key, each] of Object.entries(value)) {
      if (!this.keys.has(key)) this.keys.set(key, this.keys.size);
      cells[this.keys.get(key)] = typeof each === "string" ? each : JSON.stringify(each);
    }
    return [cells];
  }

  columns() {
    return [...this.keys.keys()];
  }
}

/** All records with as many cells as the widest; blank lines of a delimited file are left out. */
function widened(records, reader) {
  const kept = records.filter((each) => each.length !== 1 || each[0] !== "" );
  const width = kept.reduce((most, each) => Math.max(most, each.length), reader.columns?.().length ?? 0);
  for (const record of kept) for (let at = 0; at < width; at += 1) record[at] ??= "";
  return kept;
}

/**
 * Whether the first record of a delimited file names the columns: no label, no number and no long text among them. Some
 * may have no name, such as the row numbers that a data frame writes.
 */
export function looksNamed(records, labels) {
  const first = records[0] ?? [], known = new Set(labels);
  return first.some((cell) => cell.trim()) &&
    first.every((cell) => cell.length < 40 && !known.has(cell) && !/^[\d.,+-]+$/.test(cell));
}

/** The place of the column that holds the texts: by its name, else the one with the longest cells. */
export function textColumn(names, rows) {
  const named = names.findIndex((name) => TEXT_NAMES.test(name.trim()));
  if (named >= 0) return named;
  const lengths = names.map((_, at) => rows.slice(0, 200).reduce((sum, row) => sum + row[at].length, 0));
  return lengths.indexOf(Math.max(...lengths));
}

/** The place of the column that holds true labels, -1 for none: most of its values must be labels that are known. */
export function labelColumn(names, rows, labels, text) {
  const known = new Set(labels), some = rows.slice(0, 200);
  const fits = names.map((_, at) => at !== text && some.length && some.filter((row) => known.has(row[at])).length / some.length >= 0.8);
  const named = names.findIndex((name, at) => fits[at] && LABEL_NAMES.test(name.trim()));
  return named >= 0 ? named : fits.indexOf(true);
}
