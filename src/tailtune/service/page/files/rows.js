// What became of the rows of a file: counts, the share that is right, and which rows to look at. Pure functions.

/** A result as it is kept: the probabilities in the order of the model's labels, for ten thousand rows and more. */
export function kept(result, model) {
  return {
    label: result.label,
    given: model.several ? result.labels : [result.label],
    confidence: result.confidence,
    abstained: result.abstained,
    outOfScope: result.out_of_scope,
    truncated: result.truncated,
    shares: Float64Array.from(model.labels, (label) => result.probabilities[label]),
  };
}

/** The probabilities of a row by name, as answers have them. */
export const byLabel = (row, model) => Object.fromEntries(model.labels.map((label, at) => [label, row.shares[at]]));

/** Label -> how many rows were given it, the most frequent first. */
export function labelCounts(results) {
  const counts = new Map();
  for (const row of results) {
    for (const label of row?.given ?? []) counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  return new Map([...counts].sort((first, second) => second[1] - first[1]));
}

/** Rows with a true label: how many, how many were right, and [true, given] -> rows. Null where there are none. */
export function judged(job) {
  if (job.labelAt < 0) return null;
  const known = new Set(job.model.labels), cells = new Map();
  let rows = 0, right = 0;
  job.results.forEach((row, at) => {
    const truth = job.rows[at][job.labelAt];
    if (!row || !known.has(truth)) return;
    rows += 1;
    right += row.label === truth;
    const key = JSON.stringify([truth, row.label]);
    cells.set(key, (cells.get(key) ?? 0) + 1);
  });
  return rows ? { rows, right, cells: [...cells].map(([key, number]) => [...JSON.parse(key), number]) } : null;
}

/**
 * The places of rows to show, in order.
 *
 * label:   only rows given it; "" for all
 * only:    "", "unsure", "wrong", "flagged" or "failed"
 * order:   "file", "least" or "most" (confident first)
 * flagged: from a row to whether the threshold flags it
 */
export function selected(job, { label, only, order, flagged }) {
  const wanted = {
    "": () => true,
    unsure: (row) => row?.abstained === true,
    wrong: (row, at) => row && isWrong(job, at),
    flagged: (row) => row && flagged(row),
    failed: (row) => !row,
  }[only];
  const places = [];
  job.results.forEach((row, at) => {
    if (label && !row?.given.includes(label)) return;
    if (wanted(row, at)) places.push(at);
  });
  const confidence = (at, without) => job.results[at]?.confidence ?? without; // rows without an answer come last
  if (order === "least") places.sort((first, second) => confidence(first, 2) - confidence(second, 2));
  if (order === "most") places.sort((first, second) => confidence(second, -1) - confidence(first, -1));
  return places;
}

/** Whether a row's true label is known and another was given. */
export function isWrong(job, at) {
  if (job.labelAt < 0 || !job.results[at]) return false;
  const truth = job.rows[at][job.labelAt];
  return truth !== job.results[at].label && job.model.labels.includes(truth);
}
