// One bed. The DOM is made once; every update touches only what differs.

import { drawGlucose } from "./glucoseplot.js";
import { Sweep } from "./sweep.js";
import { LOOKED_FOR, PRIORITY, TASK_SHORT, UNKNOWN, VERDICT } from "./words.js";
import { elapsed, element, glucoseLevel, isBelieved, percent, setData, setText, span, trend, whole } from "./words.js";

const ECG_STALE_S = 5;
const GLUCOSE_STALE_S = 15 * 60 + 30;
const RISK_STALE_S = 30;
const AHEAD_S = 60;

export class Tile {
  constructor(key, bed, act) {
    this.key = key;
    this.bed = bed;
    this.act = act; // { acknowledge(alarm), because(alarm), open(tile) }
    this.ecg = null;
    this.glucose = null;
    this.images = [];
    this.risk = null;
    this.alarms = [];
    this.pausedUntilUs = 0;
    this.build();
    this.sweep = new Sweep(this.trace);
  }

  build() {
    const root = element("article", "tile");
    root.tabIndex = 0;
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", `Bed ${this.bed}`);
    root.dataset.bed = this.bed;
    this.root = root;

    const head = element("header", "head");
    this.name = element("button", "name", this.bed);
    this.name.type = "button";
    this.name.title = this.bed;
    this.name.setAttribute("aria-label", `Details of bed ${this.bed}`);
    this.name.addEventListener("click", () => this.act.open(this));
    this.band = element("span", "band");
    this.meter = element("span", "meter");
    for (let i = 0; i < 4; i++) this.meter.append(element("i"));
    this.bandText = element("span", "band-text", "risk " + UNKNOWN);
    this.band.append(this.meter, this.bandText);
    head.append(this.name, this.band);

    this.alarmBar = element("div", "alarm");
    this.alarmMark = element("span", "mark");
    this.alarmText = element("span", "alarm-text");
    this.alarmValue = element("span", "alarm-value");
    this.alarmMore = element("span", "alarm-more");
    this.alarmTime = element("span", "alarm-time");
    this.ackButton = element("button", "ack");
    this.ackButton.type = "button";
    this.ackWord = element("span", "", "Ack");
    this.ackRest = element("span", "rest", "nowledge");
    this.ackButton.append(this.ackWord, this.ackRest);
    this.ackButton.addEventListener("click", () => this.acknowledge());
    this.whyButton = element("button", "why", "\u2026");
    this.whyButton.type = "button";
    this.whyButton.addEventListener("click", () => this.because());
    this.alarmBar.append(this.alarmMark, this.alarmText, this.alarmValue, this.alarmMore, this.alarmTime, this.ackButton, this.whyButton);

    const ecg = element("div", "ecg");
    this.trace = element("canvas", "trace");
    this.trace.setAttribute("role", "img");
    this.trace.setAttribute("aria-label", `ECG of bed ${this.bed}`);
    this.leadText = element("span", "lead");
    this.ecgOff = element("span", "off");
    ecg.append(this.trace, this.leadText, this.ecgOff);

    const rate = element("div", "rate");
    const rateTop = element("div", "label");
    rateTop.append(element("span", "", "HR"), element("span", "unit", "/min"));
    this.rateValue = element("div", "value", UNKNOWN);
    this.rateNote = element("div", "note");
    rate.append(rateTop, this.rateValue, this.rateNote);
    this.rateBox = rate;

    const plot = element("div", "plot");
    this.plot = element("canvas", "fan");
    this.plot.setAttribute("role", "img");
    plot.append(this.plot);

    const sugar = element("div", "sugar");
    const sugarTop = element("div", "label");
    sugarTop.append(element("span", "", "GLU"), element("span", "unit", "mg/dL"));
    this.sugarLine = element("div", "value");
    this.sugarValue = element("span", "", UNKNOWN);
    this.arrow = element("span", "arrow");
    this.sugarLine.append(this.sugarValue, this.arrow);
    this.forecastText = element("div", "note");
    this.forecastMiddle = element("span");
    this.forecastRange = element("span", "rest");
    this.forecastText.append(this.forecastMiddle, this.forecastRange);
    sugar.append(sugarTop, this.sugarLine, this.forecastText);
    this.sugarBox = sugar;

    const foot = element("footer", "tile-foot");
    this.imageText = element("span", "images");
    this.ages = element("span", "ages");
    this.age = {};
    for (const name of ["ECG", "GLU", "RISK"]) {
      this.age[name] = element("span", "age");
      this.ages.append(this.age[name]);
    }
    foot.append(this.imageText, this.ages);

    root.append(head, this.alarmBar, ecg, rate, plot, sugar, foot);
  }

  /** New sections of a beds frame. */
  take(news) {
    for (const section of ["ecg", "glucose", "images", "risk", "alarms", "pausedUntilUs"]) {
      if (section in news) this[section] = news[section];
    }
    if ("ecg" in news) this.sweep.marks = this.ecg?.marks ?? [];
    if ("glucose" in news) this.paintGlucose();
  }

  worst() {
    return this.alarms[0] ?? null;
  }

  unanswered() {
    return this.alarms.find(({ signal }) => signal !== "acknowledged");
  }

  acknowledge() {
    const alarm = this.unanswered();
    if (alarm) this.act.acknowledge(alarm);
  }

  /** Acknowledge, and say why. */
  because() {
    const alarm = this.unanswered();
    if (alarm) this.act.because(alarm);
  }

  resize(ratio) {
    this.sweep.resize(this.trace.clientWidth, this.trace.clientHeight, ratio);
    this.ratio = ratio;
    this.paintGlucose();
  }

  paintGlucose() {
    if (this.ratio) drawGlucose(this.plot, this.glucose, this.ratio);
  }

  /** Everything that depends on the time, a few times a second. */
  refresh(nowMs, pending) {
    const had = `${this.root.dataset.ecg === "none"} ${this.root.dataset.glucose === "none"}`;
    this.refreshEcg(nowMs);
    this.refreshGlucose(nowMs);
    this.refreshRisk(nowMs);
    this.refreshImages(nowMs);
    this.refreshAlarm(nowMs, pending);
    const has = `${this.root.dataset.ecg === "none"} ${this.root.dataset.glucose === "none"}`;
    if (had !== has && this.ratio) this.resize(this.ratio);
  }

  refreshEcg(nowMs) {
    const { ecg } = this;
    const ageS = ageOf(ecg, nowMs);
    const isStale = ageS > ECG_STALE_S;
    setData(this.root, "ecg", ecg === null ? "none" : isStale ? "stale" : isBelieved(ecg.verdict) ? "live" : "unread");
    showAge(this.age.ECG, "ECG", ecg, ageS, isStale, nowMs);
    setText(this.leadText, this.sweep.lead);
    if (ecg === null) {
      setText(this.rateValue, UNKNOWN);
      setText(this.ecgOff, this.sweep.endMs === null ? "no ECG" : "");
      return;
    }
    setText(this.rateValue, isBelieved(ecg.verdict) || isStale ? whole(ecg.heartRate) : UNKNOWN);
    setText(this.ecgOff, isStale ? `no ECG for ${span(ageS)}` : (isBelieved(ecg.verdict) ? "" : VERDICT[ecg.verdict] ?? ecg.verdict));
    const notes = [];
    if (ecg.ventricularPerMin) notes.push(`PVC ${ecg.ventricularPerMin}/min`);
    if (ecg.irregularity !== null && ecg.irregularity >= 0.5) notes.push("irregular");
    setText(this.rateNote, notes.join(" · ") || (ecg.beat && `beat ${ecg.beat}`) || "");
  }

  refreshGlucose(nowMs) {
    const { glucose } = this;
    const ageS = ageOf(glucose, nowMs);
    const isStale = ageS > GLUCOSE_STALE_S;
    setData(this.root, "glucose", glucose === null ? "none" : isStale ? "stale" : "live");
    showAge(this.age.GLU, "GLU", glucose, ageS, isStale, nowMs);
    if (glucose === null) return;
    const { arrow, word } = trend(glucose.trendMgDlMin);
    setText(this.sugarValue, whole(glucose.mgDl));
    setText(this.arrow, isStale ? "" : arrow);
    setData(this.sugarBox, "level", glucoseLevel(glucose.mgDl));
    const fan = glucose.forecast;
    setText(this.forecastMiddle, fan ? `60 min ${whole(fan[2].at(-1))}` : "no forecast");
    setText(this.forecastRange, fan ? ` (${whole(fan[0].at(-1))}\u2013${whole(fan[4].at(-1))})` : "");
    const said = `Glucose ${whole(glucose.mgDl)} mg/dL, ${word}. ${this.forecastText.textContent}`;
    if (this.plot.getAttribute("aria-label") !== said) this.plot.setAttribute("aria-label", said);
  }

  refreshRisk(nowMs) {
    const { risk } = this;
    setData(this.root, "risk", risk?.band ?? "none");
    const limitS = this.ecg === null ? GLUCOSE_STALE_S : RISK_STALE_S;
    const ageS = risk ? (nowMs - Math.min(risk.timeUs, risk.arrivedUs) / 1000) / 1000 : 0;
    const isStale = ageS > limitS;
    setData(this.band, "stale", String(isStale));
    showAge(this.age.RISK, "RISK", risk && { ...risk, endUs: risk.timeUs }, ageS, isStale, nowMs);
    if (!risk) return;
    setText(this.bandText, risk.p === null ? "risk withheld" : `${risk.band} ${percent(risk.p)}`);
    const range = risk.p === null ? "" : `, interval ${percent(risk.lower)} to ${percent(risk.upper)}`;
    const said = `Risk within ${risk.horizonMin} min: ${this.bandText.textContent}${range}${isStale ? ", out of date" : ""}`;
    if (this.band.title !== said) this.band.title = said;
  }

  refreshImages(nowMs) {
    const words = this.images.map((image) => {
      const age = span(Math.max(0, ageOf(image, nowMs)));
      const result = isBelieved(image.verdict)
        ? `${LOOKED_FOR[image.task] ?? ""} ${percent(image.p)}`
        : VERDICT[image.verdict] ?? image.verdict;
      return `${TASK_SHORT[image.task] ?? image.task} ${result} · ${age}`;
    });
    setText(this.imageText, words[0] ?? "no image");
    const all = words.join("\n");
    if (this.imageText.title !== all) this.imageText.title = all;
    const first = this.images[0];
    setData(this.imageText, "positive", String(Boolean(first) && isBelieved(first.verdict) && first.p >= 0.5));
  }

  refreshAlarm(nowMs, pending) {
    const worst = this.worst();
    const open = this.alarms.filter(({ signal }) => signal !== "acknowledged");
    const isPaused = this.pausedUntilUs / 1000 > nowMs;
    setData(this.root, "alarm", worst ? worst.priority : "none");
    setData(this.root, "signal", worst ? worst.signal : "off");
    setData(this.root, "kind", worst ? worst.kind : "none");
    this.ackButton.hidden = this.whyButton.hidden = open.length === 0;
    if (!worst) {
      setText(this.alarmMark, "");
      setText(this.alarmText, isPaused ? "alarms paused" : "no open alarm");
      setText(this.alarmValue, "");
      setText(this.alarmMore, "");
      setText(this.alarmTime, isPaused ? `${span(this.pausedUntilUs / 1e6 - nowMs / 1000)} left` : "");
      return;
    }
    setText(this.alarmMark, PRIORITY[worst.priority].mark);
    setText(this.alarmText, alarmWords(worst));
    setText(this.alarmValue, valueWords(worst));
    if (this.alarmText.title !== worst.text) this.alarmText.title = worst.text;
    setText(this.alarmMore, this.alarms.length > 1 ? `+${this.alarms.length - 1}` : "");
    setText(this.alarmTime, signalWords(worst, nowMs));
    const waiting = open.length > 0 && pending.has(open[0].alertId);
    this.ackButton.disabled = this.whyButton.disabled = waiting;
    setText(this.ackWord, waiting ? "Sent" : "Ack");
    this.ackRest.hidden = waiting;
    if (open.length) {
      const said = `Acknowledge ${alarmWords(open[0])}, bed ${this.bed}`;
      if (this.ackButton.getAttribute("aria-label") !== said) {
        this.ackButton.setAttribute("aria-label", said);
        this.whyButton.setAttribute("aria-label", `${said}, and say why`);
      }
    }
  }
}

/** The condition in words: what the alarm service says of it up to its first colon. */
export function alarmWords(alarm) {
  return alarm.text.split(":")[0] || alarm.condition.replaceAll("-", " ");
}

/** What was measured when it was decided: "52 mg/dL", "74 %"; nothing for an index that has no unit. */
export function valueWords(alarm) {
  if (alarm.value === null) return "";
  if (alarm.measure.startsWith("probability")) return percent(alarm.value);
  return alarm.unit && `${Math.round(alarm.value * 10) / 10} ${alarm.unit}`;
}

export function signalWords(alarm, nowMs) {
  const since = elapsed(nowMs / 1000 - alarm.onsetUs / 1e6);
  switch (alarm.signal) {
    case "acknowledged":
      return `ack ${alarm.who || "?"} · ${since}`;
    case "latched":
      return `over, not seen · ${since}`;
    case "paused":
      return alarm.untilUs ? `paused, ${span(Math.max(0, alarm.untilUs / 1e6 - nowMs / 1000))} left` : `paused · ${since}`;
    default:
      return alarm.escalation ? `escalated ×${alarm.escalation} · ${since}` : since;
  }
}

/** Seconds since the older of measurement and arrival; 0 without data. */
function ageOf(section, nowMs) {
  return section ? nowMs / 1000 - Math.min(section.endUs, section.arrivedUs) / 1e6 : 0;
}

function showAge(node, name, section, ageS, isStale, nowMs) {
  node.hidden = !section;
  if (!section) return;
  const isAhead = section.endUs / 1e6 - nowMs / 1000 > AHEAD_S;
  setData(node, "state", isStale ? "stale" : isAhead ? "ahead" : "live");
  setText(node, `${name} ${isAhead && !isStale ? "sped up" : span(Math.max(0, ageS))}`);
}
