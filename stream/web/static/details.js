// One bed in full: every alarm with its evidence, what the risk rests on, the larger glucose plot.

import { Strips, pastAlarms } from "./frozenstrip.js";
import { drawGlucose } from "./glucoseplot.js";
import { Pictures } from "./picture.js";
import { alarmWords, signalWords } from "./tile.js";
import { LOOKED_FOR, PRIORITY, TASK, VERDICT, element, isBelieved, percent, span, whole } from "./words.js";

const REFRESH_MS = 1000;
const PAUSE_S = 120;

export class Details {
  constructor(dialog, act) {
    this.dialog = dialog;
    this.act = act; // { acknowledge(alarm), because(alarm), snooze(alarm), limit(alarm, value), pause(bed, seconds), resume(bed), judge(alarm, value), nowMs(), pending }
    this.tile = null;
    this.strips = new Strips();
    this.pictures = new Pictures();
    dialog.addEventListener("close", () => {
      this.strips.forget();
      this.pictures.forget();
      this.tile?.name.focus();
      this.tile = null;
      clearInterval(this.timer);
    });
  }

  /** `linked`: the alarm that a link led to, as `GET /api/alarm/ID` tells it. */
  open(tile, linked = null) {
    this.tile = tile;
    this.linked = linked;
    this.past = [];
    this.openIds = null;
    this.fields = new Map();
    this.drawn = "";
    this.refresh();
    this.dialog.showModal();
    this.paint();
    this.dialog.querySelector("[data-linked]")?.scrollIntoView();
    this.timer = setInterval(() => this.refresh(), REFRESH_MS);
  }

  refresh() {
    const { tile } = this;
    if (!tile) return;
    this.strips.ask();
    this.lookBack();
    const state = JSON.stringify([this.strips.count, this.pictures.count, this.past, tile.alarms, tile.images, tile.risk?.band, tile.glucose?.endUs, tile.pausedUntilUs, [...this.act.pending]]);
    if (state === this.drawn) return;
    this.drawn = state;
    const focused = document.activeElement?.dataset?.does;
    this.dialog.replaceChildren(...this.parts());
    if (focused) this.dialog.querySelector(`[data-does="${CSS.escape(focused)}"]`)?.focus();
    if (this.dialog.open) this.paint();
  }

  paint() {
    drawGlucose(this.plot, this.tile.glucose, devicePixelRatio, true);
  }

  parts() {
    const { tile } = this;
    const title = element("h2", "", tile.bed);
    title.id = "details-bed";
    const close = this.button("Close", "close", () => this.dialog.close());
    const head = element("div", "details-head");
    head.append(title, this.pauseButton(), close);
    this.plot = element("canvas", "fan large");
    return [head, this.alarmPart(), ...this.overPart(), ...this.stripPart(), ...this.pastPart(), this.heading("Glucose and the hour ahead"), this.plot, this.glucosePart(), this.riskPart(), this.imagePart()];
  }

  /** The alarm of a link, where it is not open any more. */
  overPart() {
    const { linked } = this;
    if (!linked || this.tile.alarms.some(({ alertId }) => alertId === linked.alertId)) return [];
    const part = element("section", "details-alarms");
    part.dataset.linked = "";
    part.append(this.heading("The alarm of this link"), this.linkedRow(linked));
    const figure = this.strips.of(linked.alertId, linked.bed, alarmWords(linked));
    if (figure) part.append(figure);
    return [part];
  }

  /** The strips of the open alarms. Below all buttons: one that comes must not move them under a finger. */
  stripPart() {
    const figures = this.tile.alarms.map((alarm) => this.strips.of(alarm.alertId, alarm.bed, alarmWords(alarm))).filter(Boolean);
    if (!figures.length) return [];
    const part = element("section");
    part.append(this.heading("ECG around the alarms"), ...figures);
    return [part];
  }

  /** Asks for the alarms that are over, whenever others are open than before. */
  lookBack() {
    const { tile } = this;
    const openIds = tile.alarms.map(({ alertId }) => alertId).sort().join();
    if (openIds === this.openIds) return;
    this.openIds = openIds;
    pastAlarms(tile.bed).then((past) => {
      if (past && this.tile === tile) this.past = past;
    });
  }

  pastPart() {
    if (!this.past.length) return [];
    const part = element("section", "past");
    part.append(this.heading("Earlier alarms"));
    for (const alarm of this.past) {
      const at = new Date(alarm.onsetUs / 1000).toLocaleString([], { hour12: false });
      const link = element("a", "", `${PRIORITY[alarm.priority].mark} ${alarmWords(alarm)}, ${at}`);
      link.href = `/alarm/${encodeURIComponent(alarm.alertId)}`;
      part.append(link);
    }
    return [part];
  }

  linkedRow(linked) {
    const row = element("div", "details-alarm");
    row.dataset.priority = linked.priority;
    const words = element("div", "words");
    words.append(
      element("span", "mark", PRIORITY[linked.priority].mark),
      element("b", "", ` ${alarmWords(linked)}`),
      element("div", "evidence", `${PRIORITY[linked.priority].word} \u00b7 not open any more \u00b7 ${linked.text}`),
    );
    row.append(words);
    return row;
  }

  heading(text) {
    return element("h3", "", text);
  }

  button(text, does, onClick) {
    const made = element("button", "", text);
    made.type = "button";
    made.dataset.does = does;
    made.addEventListener("click", onClick);
    return made;
  }

  pauseButton() {
    const { tile } = this;
    return tile.pausedUntilUs / 1000 > this.act.nowMs()
      ? this.button("Resume alarms", "pause", () => this.act.resume(tile.bed))
      : this.button("Pause alarms 2 min", "pause", () => this.act.pause(tile.bed, PAUSE_S));
  }

  alarmPart() {
    const part = element("section", "details-alarms");
    part.append(this.heading("Open alarms"));
    if (!this.tile.alarms.length) part.append(element("p", "none", "none"));
    for (const alarm of this.tile.alarms) {
      const row = element("div", "details-alarm");
      row.dataset.priority = alarm.priority;
      row.dataset.signal = alarm.signal;
      const words = element("div", "words");
      words.append(
        element("span", "mark", PRIORITY[alarm.priority].mark),
        element("b", "", ` ${alarmWords(alarm)}`),
        element("div", "evidence", `${PRIORITY[alarm.priority].word} · ${alarm.kind} · ${signalWords(alarm, this.act.nowMs())}${alarm.reason && ` · ${alarm.reason}`}`),
      );
      if (alarm.measure) {
        const unit = alarm.unit && ` ${alarm.unit}`;
        const limit = alarm.limit === null ? "" : `, limit ${alarm.limit}${unit}`;
        const value = alarm.value === null ? "not measured" : `${Math.round(100 * alarm.value) / 100}${unit}`;
        words.append(element("div", "evidence", `${alarm.measure}: ${value}${limit}`));
      }
      const does = element("div", "does");
      if (alarm.signal !== "acknowledged") {
        const ack = this.button("Acknowledge", `ack-${alarm.alertId}`, () => this.act.acknowledge(alarm));
        ack.disabled = this.act.pending.has(alarm.alertId);
        const why = this.button("\u2026", `why-${alarm.alertId}`, () => this.act.because(alarm));
        why.setAttribute("aria-label", `Acknowledge ${alarmWords(alarm)}, and say why`);
        why.disabled = ack.disabled;
        does.append(ack, why);
      }
      if (alarm.signal !== "acknowledged" && alarm.signal !== "paused") {
        const snooze = this.button(`Snooze ${span(alarm.snoozeMaxS)}`, `snooze-${alarm.alertId}`, () => this.act.snooze(alarm));
        snooze.title = "Void when it gets worse or cannot be seen any more";
        does.append(snooze);
      }
      for (const [value, text] of [["true", "True"], ["false", "False alarm"], ["not-actionable", "Not actionable"]]) {
        does.append(this.button(text, `${value}-${alarm.alertId}`, () => this.act.judge(alarm, value)));
      }
      if (alarm.limitBounds) does.append(...this.limitParts(alarm));
      const link = element("a", "to-alarm", "Link");
      link.href = `/alarm/${encodeURIComponent(alarm.alertId)}`;
      link.title = "To this alarm, for somebody else";
      does.append(link);
      row.append(words, does);
      if (this.linked?.alertId === alarm.alertId) row.dataset.linked = "";
      part.append(row);
    }
    return part;
  }

  limitParts(alarm) {
    const [lowest, highest] = alarm.limitBounds;
    // the same field as before a redraw: what is being typed into it stays
    const value = this.fields.get(alarm.alertId) ?? element("input", "limit");
    this.fields.set(alarm.alertId, value);
    Object.assign(value, { type: "number", min: lowest, max: highest, step: "any", defaultValue: alarm.limit });
    value.dataset.does = `value-${alarm.alertId}`;
    value.setAttribute("aria-label", `Limit, ${lowest} to ${highest} ${alarm.unit}`.trim());
    value.title = `${lowest} to ${highest} ${alarm.unit}`.trim();
    return [value, this.button("Set limit", `limit-${alarm.alertId}`, () => value.reportValidity() && this.act.limit(alarm, value.valueAsNumber))];
  }

  glucosePart() {
    const { glucose } = this.tile;
    if (!glucose) return element("p", "none", "no glucose");
    const words = [`${whole(glucose.mgDl)} mg/dL`];
    if (glucose.pLow !== null) words.push(`below 70 within the hour: ${percent(glucose.pLow)}`);
    if (glucose.pHigh !== null) words.push(`above 180 within the hour: ${percent(glucose.pHigh)}`);
    if (!isBelieved(glucose.verdict)) words.push(VERDICT[glucose.verdict] ?? glucose.verdict);
    return element("p", "", words.join(" · "));
  }

  riskPart() {
    const { risk } = this.tile;
    const part = element("section");
    part.append(this.heading("Risk"));
    if (!risk) {
      part.append(element("p", "none", "none yet"));
      return part;
    }
    const range = risk.p === null ? "no vital sign is known" : `${percent(risk.p)}, interval ${percent(risk.lower)} to ${percent(risk.upper)}`;
    part.append(element("p", "", `${risk.band} within ${risk.horizonMin} min: ${range}`));
    const table = element("table");
    const head = element("tr");
    for (const text of ["Input", "State", "Age", "Says"]) head.append(element("th", "", text));
    table.append(head);
    for (const input of risk.inputs) {
      const row = element("tr");
      const cells = [TASK[input.task] ?? input.task, input.state, input.ageS === null ? "" : span(input.ageS), input.says === null ? "" : percent(input.says)];
      for (const text of cells) row.append(element("td", "", text));
      table.append(row);
    }
    part.append(table);
    return part;
  }

  imagePart() {
    const part = element("section");
    part.append(this.heading("Images"));
    if (!this.tile.images.length) part.append(element("p", "none", "none"));
    for (const image of this.tile.images) {
      const result = isBelieved(image.verdict) ? `${LOOKED_FOR[image.task] ?? ""} ${percent(image.p)}` : VERDICT[image.verdict] ?? image.verdict;
      part.append(element("p", "", `${TASK[image.task] ?? image.task}: ${result}`));
      const figure = this.pictures.of(this.tile.bed, image);
      if (figure) part.append(figure);
    }
    return part;
  }
}
