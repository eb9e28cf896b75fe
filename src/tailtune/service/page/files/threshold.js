// The third view: what each threshold would have done, and which answers it would flag.

import { line, placeOf, ratesAt } from "./curve.js";
import { byId, count, el, foreign, percent, svg } from "./dom.js";
import { change, onChange, state } from "./state.js";

const WIDTH = 440, HEIGHT = 300, LEFT = 46, RIGHT = 24, TOP = 26, BOTTOM = 40;
let current = null;

export function startThreshold() {
  byId("flag-class").addEventListener("change", () => choose(byId("flag-class").value));
  byId("flag-slider").addEventListener("input", () => {
    set(current.chosen.curve.threshold[Number(byId("flag-slider").value)]);
  });
  byId("flag-value").addEventListener("change", () => {
    const value = Number(byId("flag-value").value) / 100;
    if (byId("flag-value").value.trim() && value >= 0 && value <= 1) set(value);
    else draw();
  });
  byId("flag-share").addEventListener("input", () => {
    const share = Number(byId("flag-share").value) / 100;
    if (share > 0 && share < 1) {
      current.share = share;
      draw();
    }
  });
  byId("flag-reset").addEventListener("click", () => {
    current.value = current.own ?? 0.5;
    change({ flag: null });
    draw();
  });
  onChange((what) => what === "model" && show());
}

function show() {
  const parts = state.about.thresholds, chosen = parts.validation ?? parts.test;
  const has = Boolean(chosen && Object.keys(chosen.classes).length);
  byId("threshold-some").hidden = !has;
  byId("threshold-none").hidden = has;
  if (!has) return;
  const labels = Object.keys(chosen.classes);
  byId("flag-class").replaceChildren(...labels.map((label) => el("option", { value: label }, label)));
  const preset = Object.keys(state.model.thresholds).find((label) => labels.includes(label)) ?? rarest(chosen);
  byId("flag-class").value = preset;
  choose(preset);
}

const rarest = ({ classes }) => Object.keys(classes).reduce((best, each) => (
  classes[each].positives < classes[best].positives ? each : best));

function choose(label) {
  const parts = Object.entries(state.about.thresholds).filter(([, part]) => part.classes[label])
    .map(([name, part]) => ({ name, rows: part.rows, curve: part.classes[label] }))
    .sort((first, second) => (first.name < second.name ? 1 : -1));
  const chosen = parts[0], measured = parts.find(({ name }) => name === "test") ?? chosen;
  const own = ownThreshold(label);
  current = { label, parts, chosen, own, value: own ?? 0.5, share: measured.curve.positives / measured.rows };
  byId("flag-share").value = (100 * current.share).toFixed(2);
  byId("flag-slider").max = chosen.curve.threshold.length - 1;
  byId("threshold-words").replaceChildren(...honest(label, parts, measured));
  if (state.flag !== null) change({ flag: null });
  draw();
}

/** Where the classifier's own threshold stands; null where the likeliest of several categories is given. */
function ownThreshold(label) {
  const { thresholds, labels, several } = state.model;
  if (thresholds[label] !== undefined) return thresholds[label];
  if (several || labels.length > 2) return null;
  const other = thresholds[labels.find((each) => each !== label)];
  return other === undefined ? 0.5 : 1 - other;
}

function honest(label, parts, measured) {
  const words = parts.length > 1
    ? "Choose by the validation part, and look at the test part to see whether it holds. The classifier's calibration " +
      "was chosen on the validation part too; its test part was read once, when everything was chosen. Choosing what " +
      "looks best on the test part would promise more than you will get."
    : `Only the ${measured.name} part is known here. What looks best on it promises more than you will get: try the ` +
      "threshold on messages of your own before you rely on it.";
  const sizes = parts.map(({ name, rows, curve }) => `${name} ${count(rows)} rows, ${count(curve.positives)} of them “${label}”`);
  return [el("p", { class: "note" }, words), el("p", { class: "note" }, `Counted at training: ${sizes.join("; ")}.`)];
}

function set(value) {
  current.value = value;
  change({ flag: { label: current.label, value } });
  draw();
}

function draw() {
  const { chosen, value, parts, share, label, own } = current;
  const rates = parts.map((part) => ratesAt(part.curve, part.rows, value, share)), place = placeOf(chosen.curve, value);
  const slider = byId("flag-slider"), input = byId("flag-value");
  slider.value = place;
  const exact = value > 1 ? 100 : 100 * value;
  input.value = String(Number(exact.toFixed(4)));
  slider.setAttribute("aria-valuetext", `${percent(Math.min(value, 1))}: recall ${percent(rates[0].recall)}, ` +
    `${count(rates[0].falseAlarms)} false alarms per 10,000`);
  byId("flag-numbers").replaceChildren(numbers(parts, rates));
  byId("flag-plot").replaceChildren(plot());
  byId("flag-own").replaceChildren(...ownWords(label, own, value));
  byId("flag-state").textContent = state.flag === null
    ? "Answers are as the classifier gives them."
    : `Answers and rows with “${label}” at ${percent(value)} or more are marked as flagged.`;
  byId("flag-reset").disabled = state.flag === null;
}

function ownWords(label, own, value) {
  if (own === null) return ["This classifier gives the likeliest category; ", foreign(label), " has no threshold of its own."];
  if (own > 1) return ["This classifier never gives ", foreign(label), " by itself."];
  const here = Math.abs(own - value) < 1e-12 ? " You are there." : "";
  return [`The classifier's own threshold is ${percent(own)}.${here}`];
}

function numbers(parts, rates) {
  const between = ([low, high]) => `${count(low)} to ${count(high)}`;
  const rows = [
    ["Precision", "of what is flagged, so much is right", ({ precision }) => [percent(precision), ""]],
    ["Recall", "of what should be flagged, so much is", ({ recall, recallInterval }) => [percent(recall), `${(100 * recallInterval[0]).toFixed(1)} to ${percent(recallInterval[1])}`]],
    ["False alarms", "per 10,000 messages", ({ falseAlarms, falseAlarmsInterval }) => [count(falseAlarms), between(falseAlarmsInterval)]],
    ["Missed", "per 10,000 messages", ({ missed, missedInterval }) => [count(missed), between(missedInterval)]],
    ["Flagged", "per 10,000 messages", ({ flagged }) => [count(flagged), ""]],
    ["Counted", "rows flagged rightly and wrongly", (rate) => [`${count(rate.true)} and ${count(rate.false)}`, ""]],
  ];
  return el("table", {},
    el("caption", {}, "At this threshold; small numbers are 95 % intervals"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "what"), ...parts.map(({ name }) => el("th", { scope: "col" }, `on ${name}`)))),
    el("tbody", {}, ...rows.map(([title, note, show]) => el("tr", {},
      el("th", { scope: "row" }, title, el("small", {}, note)),
      ...rates.map((rate, at) => {
        const [shown, range] = show(rate);
        const name = `${title.toLowerCase().replace(" ", "-")}-${parts[at].name}`;
        return el("td", { "data-number": name }, el("b", {}, shown), range ? el("small", {}, range) : null);
      })))));
}

const x = (recall) => LEFT + recall * (WIDTH - LEFT - RIGHT);
const y = (precision) => HEIGHT - BOTTOM - precision * (HEIGHT - TOP - BOTTOM);

function plot() {
  const { parts, value, own, share } = current;
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  const rates = ratesAt(parts[0].curve, parts[0].rows, value, share);
  const said = `Precision by recall. At ${percent(Math.min(value, 1))}: precision ${percent(rates.precision)}, recall ${percent(rates.recall)} on ${parts[0].name}.`;
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": said },
    ...ticks.flatMap((tick) => [
      svg("path", { class: "grid", d: `M${x(0)} ${y(tick)}H${x(1)}M${x(tick)} ${y(0)}V${y(1)}` }),
      svg("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, `${100 * tick} %`),
      svg("text", { x: x(tick), y: HEIGHT - BOTTOM + 17, "text-anchor": "middle" }, `${100 * tick} %`),
    ]),
    svg("text", { x: x(0.5), y: HEIGHT - 6, "text-anchor": "middle" }, "recall"),
    svg("text", { x: x(0) - 40, y: 12 }, "precision"),
    ...[...parts].reverse().map((part) => svg("path", { class: part === parts[0] ? "line" : "line other", d: path(part, share) })),
    ...(own !== null && own <= 1 ? [marker("own", own)] : []),
    marker("now", value),
  );
}

function path(part, share) {
  return line(part.curve, part.rows, share).map(([recall, precision], at) => `${at ? "L" : "M"}${x(recall).toFixed(1)} ${y(precision).toFixed(1)}`).join("");
}

function marker(name, threshold) {
  const { parts: [part], share } = current, rates = ratesAt(part.curve, part.rows, threshold, share);
  const [left, top] = [x(rates.recall), y(rates.precision ?? 1)];
  return name === "own"
    ? svg("path", { class: "own", d: `M${left} ${top - 9}l9 9-9 9-9-9z` })
    : svg("circle", { class: "now", cx: left, cy: top, r: 5.5 });
}
