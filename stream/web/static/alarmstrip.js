// The open alarms of the whole ward in one line, worst first, and what is said of them to a screen reader.

import { alarmWords, signalWords, valueWords } from "./tile.js";
import { PRIORITY, element, setData, setText } from "./words.js";

const SPOKEN_AT_ONCE = 4;

export class AlarmStrip {
  constructor(list, sayNow, say, act) {
    this.list = list;
    this.sayNow = sayNow;
    this.say = say;
    this.act = act; // { acknowledge(alarm), find(alarm) }
    this.chips = new Map();
    this.alarms = [];
    this.known = null;
  }

  take(alarms, total) {
    this.speak(alarms);
    this.alarms = alarms;
    this.total = total;
    const ids = new Set(alarms.map(({ alertId }) => alertId));
    for (const [id, chip] of this.chips) {
      if (!ids.has(id)) {
        chip.root.remove();
        this.chips.delete(id);
      }
    }
    alarms.forEach((alarm, place) => {
      const chip = this.chips.get(alarm.alertId) ?? this.make(alarm.alertId);
      chip.alarm = alarm;
      if (this.list.children[place] !== chip.root) this.list.insertBefore(chip.root, this.list.children[place] ?? null);
    });
    this.more ??= element("li", "more");
    this.more.hidden = total <= alarms.length;
    this.more.textContent = `and ${total - alarms.length} more`;
    this.list.append(this.more);
  }

  make(id) {
    const root = element("li", "chip");
    const find = element("button", "find");
    find.type = "button";
    const mark = element("span", "mark");
    const bed = element("b", "bed");
    const text = element("span", "text");
    const value = element("span", "measured");
    const time = element("span", "time");
    find.append(mark, bed, text, value, time);
    const ack = element("button", "ack", "Ack");
    ack.type = "button";
    root.append(find, ack);
    const chip = { root, find, mark, bed, text, value, time, ack, alarm: null };
    find.addEventListener("click", () => this.act.find(chip.alarm));
    ack.addEventListener("click", () => this.act.acknowledge(chip.alarm));
    this.chips.set(id, chip);
    return chip;
  }

  refresh(nowMs, pending) {
    for (const chip of this.chips.values()) {
      const { alarm } = chip;
      setData(chip.root, "priority", alarm.priority);
      setData(chip.root, "signal", alarm.signal);
      setText(chip.mark, PRIORITY[alarm.priority].mark);
      setText(chip.bed, alarm.bed);
      setText(chip.text, alarmWords(alarm));
      setText(chip.value, valueWords(alarm));
      if (chip.find.title !== alarm.text) chip.find.title = alarm.text;
      setText(chip.time, signalWords(alarm, nowMs));
      chip.ack.hidden = alarm.signal === "acknowledged";
      chip.ack.disabled = pending.has(alarm.alertId);
      const said = `Acknowledge ${alarmWords(alarm)}, bed ${alarm.bed}`;
      if (chip.ack.getAttribute("aria-label") !== said) chip.ack.setAttribute("aria-label", said);
    }
  }

  /** New alarms only; a page that has just been opened says how many there are, not each. */
  speak(alarms) {
    const sounding = alarms.filter(({ signal }) => signal === "on" || signal === "latched");
    const before = this.known;
    this.known = new Set(sounding.map(({ alertId }) => alertId));
    if (before === null) {
      this.say.textContent = `${sounding.length} alarms nobody has answered`;
      return;
    }
    const fresh = sounding.filter(({ alertId }) => !before.has(alertId));
    if (!fresh.length) return;
    const words = fresh
      .slice(0, SPOKEN_AT_ONCE)
      .map((alarm) => `${PRIORITY[alarm.priority].word}: bed ${alarm.bed}, ${alarmWords(alarm)}`);
    if (fresh.length > SPOKEN_AT_ONCE) words.push(`and ${fresh.length - SPOKEN_AT_ONCE} more`);
    const where = fresh.some(({ priority }) => priority === "high") ? this.sayNow : this.say;
    where.textContent = words.join(". ");
  }
}
