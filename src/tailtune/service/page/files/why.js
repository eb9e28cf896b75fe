// Why an answer is as it is, in sentences. Pure functions of the native answer and of what the model promises.

import { apart, percent } from "./dom.js";

// A text stranger than so many held-out texts is worth a word of warning.
const STRANGE = 0.95;

/** Sentences on one answer, the most important first: [{ tone: "warn" | "plain", text }]. */
export function reasons(result, model) {
  return [
    abstaining(result, model),
    noLabel(result, model),
    strange(result),
    truncated(result),
    decided(result, model),
    set(result, model),
    windows(result),
  ].filter(Boolean);
}

function abstaining(result, { promise }) {
  if (!result.abstained || !promise) return null;
  const errors = percent(promise.error, 0).replace(/^[<>]\s*/, "");
  if (promise.above >= 1) {
    return warn(`No confidence is enough here to promise at most ${errors} errors: too few held-out texts were right.`);
  }
  const [has, needs] = apart(result.confidence, promise.above);
  const below = result.confidence < promise.above ? `${has} is below ${needs}` : `${has} is not above ${needs}`;
  return warn(`Too uncertain to count as an answer: ${below}, the confidence needed to promise at most ${errors} errors.`);
}

function noLabel(result, model) {
  if (!model.several || result.labels.length) return null;
  const nearest = model.thresholds[result.label];
  if (nearest === undefined || nearest > 1) return warn("No label reaches its threshold.");
  const [has, needs] = apart(result.probabilities[result.label], nearest);
  return warn(`No label reaches its threshold. The likeliest, ${quoted(result.label)}, has ${has} and needs ${needs}.`);
}

function strange(result) {
  if (result.out_of_scope === null || result.out_of_scope < STRANGE) return null;
  const share = percent(result.out_of_scope, 0);
  return warn(`Perhaps out of scope: this text is less like the training texts than ${share} of held-out ones are.`);
}

function truncated(result) {
  if (!result.truncated) return null;
  return warn(`Only ${result.tokens.toLocaleString("en-GB")} of ${result.tokens_total.toLocaleString("en-GB")} tokens were read: the text is longer than this classifier reads.`);
}

function decided(result, { thresholds }) {
  if (result.rule === null) return null;
  const likeliest = Object.entries(result.probabilities).reduce((best, each) => (each[1] > best[1] ? each : best));
  const other = likeliest[0] === result.label ? "" : ` The likeliest by itself would be ${quoted(likeliest[0])}.`;
  const [label] = Object.keys(thresholds);
  if (label === undefined || thresholds[label] > 1) return plain(`Decided by a rule of this classifier: ${result.rule}.${other}`);
  const [has, needs] = apart(result.probabilities[label], thresholds[label]);
  return plain(`A rule of this classifier gives ${quoted(label)} from ${needs}; here it has ${has}.${other}`);
}

function set(result, model) {
  if (model.several || !model.promise || !result.labels.length) return null;
  const names = result.labels.map(quoted).join(", ");
  if (result.labels.length === model.labels.length) return plain("Every category comes into question.");
  return plain(`Only ${names} ${result.labels.length > 1 ? "come" : "comes"} into question: such sets hold the true category for ${percent(1 - model.promise.error, 0)} of texts.`);
}

function windows(result) {
  return result.windows > 1 ? plain(`Read in ${result.windows} overlapping parts.`) : null;
}

const warn = (text) => ({ tone: "warn", text });
const plain = (text) => ({ tone: "plain", text });
const quoted = (label) => `“${label}”`;
