// What the parts of the page share: the model that answers, and the threshold that was moved by hand.

const listeners = new Set();

export const state = {
  /** As /v1/model tells. */
  model: null,
  /** As page/about tells. */
  about: null,
  /** { label, value } once the slider was moved, else null. */
  flag: null,
};

/** Call `listener` with what has changed: "model" or "flag". */
export const onChange = (listener) => listeners.add(listener);

export function change(values) {
  Object.assign(state, values);
  for (const listener of listeners) listener(values.model ? "model" : "flag");
}

/** Whether an answer would be flagged by the threshold that was moved; null where none was. */
export function flagged(probabilities) {
  return state.flag === null ? null : probabilities[state.flag.label] >= state.flag.value;
}
