// What a threshold does, from the counts that were kept at training. Pure functions.

import { interval } from "./dom.js";

/**
 * The rows at or above a threshold.
 *
 * curve: { positives, threshold, true, false }, the highest threshold first
 */
export function countsAt(curve, threshold) {
  let low = 0, high = curve.threshold.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (curve.threshold[middle] >= threshold) low = middle + 1;
    else high = middle;
  }
  return low ? { true: curve.true[low - 1], false: curve.false[low - 1] } : { true: 0, false: 0 };
}

/** Shares and numbers per 10,000 messages, of which `share` are of the class. */
export function ratesAt(curve, rows, threshold, share) {
  const found = countsAt(curve, threshold), negatives = rows - curve.positives;
  const recall = found.true / curve.positives, wrongly = found.false / negatives;
  const caught = share * recall, alarms = (1 - share) * wrongly;
  const perTenThousand = (value) => 10_000 * value;
  return {
    ...found,
    negatives,
    recall,
    recallInterval: interval(found.true, curve.positives),
    precision: caught + alarms > 0 ? caught / (caught + alarms) : null,
    falseAlarms: perTenThousand(alarms),
    falseAlarmsInterval: interval(found.false, negatives).map((each) => perTenThousand((1 - share) * each)),
    missed: perTenThousand(share - caught),
    missedInterval: interval(curve.positives - found.true, curve.positives).map((each) => perTenThousand(share * each)),
    flagged: perTenThousand(caught + alarms),
  };
}

/** [recall, precision] of each point, where `share` of the messages are of the class. */
export function line(curve, rows, share) {
  const negatives = rows - curve.positives;
  return curve.threshold.map((_, at) => {
    const caught = share * curve.true[at] / curve.positives, alarms = (1 - share) * curve.false[at] / negatives;
    return [curve.true[at] / curve.positives, caught + alarms > 0 ? caught / (caught + alarms) : 1];
  });
}

/** The place of the point that a threshold has reached: the last at or above it, the first where there is none. */
export function placeOf(curve, threshold) {
  const below = curve.threshold.findIndex((each) => each < threshold);
  return Math.max(0, (below < 0 ? curve.threshold.length : below) - 1);
}
