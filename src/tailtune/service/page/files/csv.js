// Delimited text (RFC 4180 and what people write instead), read in pieces and written safely.

/** Reads records from text that arrives in pieces. Quotes, doubled quotes, line breaks in quotes, any line end. */
export class Delimited {
  constructor(delimiter) {
    this.delimiter = delimiter;
    this.record = [];
    this.cell = "";
    this.state = "start"; // of a cell; then "plain", "quoted", or "closed" behind a quote that may be the end
    this.skipsNewline = false;
    this.line = 1;
    this.opened = 0;
  }

  /** The records that are complete by now. */
  push(text) {
    const records = [], { delimiter } = this;
    let at = 0;
    const end = text.length;
    const finishCell = () => { this.record.push(this.cell); this.cell = ""; this.state = "start"; };
    while (at < end) {
      const sign = text[at];
      if (this.skipsNewline) {
        this.skipsNewline = false;
        if (sign === "\n") { at += 1; continue; }
      }
      if (this.state === "quoted") {
        const close = text.indexOf('"', at), stop = close < 0 ? end : close;
        this.take(text, at, stop);
        if (close >= 0) this.state = "closed";
        at = close < 0 ? end : close + 1;
        continue;
      }
      if (this.state === "closed" && sign === '"') {
        this.cell += '"';
        this.state = "quoted";
      } else if (this.state === "start" && sign === '"') {
        this.state = "quoted";
        this.opened = this.line;
      } else if (sign === delimiter) {
        finishCell();
      } else if (sign === "\n" || sign === "\r") {
        finishCell();
        records.push(this.record);
        this.record = [];
        this.line += 1;
        this.skipsNewline = sign === "\r";
      } else {
        let stop = at + 1;
        while (stop < end && text[stop] !== delimiter && text[stop] !== "\n" && text[stop] !== "\r") stop += 1;
        this.cell += text.slice(at, stop);
        this.state = "plain";
        at = stop;
        continue;
      }
      at += 1;
    }
    return records;
  }

  take(text, from, to) {
    this.cell += text.slice(from, to);
    for (let at = text.indexOf("\n", from); at >= 0 && at < to; at = text.indexOf("\n", at + 1)) this.line += 1;
  }

  /** The last record, where the text does not end with a line end. */
  end() {
    if (this.state === "quoted") throw new Error(`line ${this.opened}: a quote is opened and never closed`);
    if (!this.record.length && this.state === "start" && !this.cell) return [];
    this.record.push(this.cell);
    const last = this.record;
    [this.record, this.cell, this.state] = [[], "", "start"];
    return [last];
  }
}

/** The sign between cells: the one by which most of the first records have the same number of cells, above one. */
export function delimiterOf(sample) {
  let best = { delimiter: ",", columns: 1, score: 0 };
  for (const delimiter of [",", ";", "\t", "|"]) {
    const records = new Delimited(delimiter).push(`${sample}\n`).slice(0, 50).filter((each) => each.length > 1 || each[0]);
    const widths = new Map();
    for (const record of records) widths.set(record.length, (widths.get(record.length) ?? 0) + 1);
    for (const [columns, same] of widths) {
      const score = columns > 1 ? same / records.length : 0;
      if (score > best.score + 0.05 || (score > best.score - 0.05 && score > 0.5 && columns > best.columns)) {
        best = { delimiter, columns, score };
      }
    }
  }
  return best;
}

// A spreadsheet runs a cell that begins with one of these.
const FORMULA = /^[=+\-@\t\r]/;

/** One line of CSV. `guard` puts an apostrophe before what a spreadsheet would run. */
export function line(cells, guard) {
  return `${cells.map((cell) => quoted(guard && FORMULA.test(cell) ? `'${cell}` : cell)).join(",")}\r\n`;
}

const quoted = (cell) => (/["\r\n,;\t]|^\s|\s$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
