// Why an alarm is acknowledged, for who wants to say it: a usual reason by one tap, or words of one's own.

import { alarmWords } from "./tile.js";
import { element } from "./words.js";

const USUAL = ["Seen at the bedside", "Being treated", "Known and expected", "Artefact or movement", "Physician informed"];

export class Reasons {
  constructor(dialog) {
    this.dialog = dialog;
    this.what = dialog.querySelector("#why-what");
    this.words = dialog.querySelector("#why-words");
    const list = dialog.querySelector("#why-usual");
    for (const reason of USUAL) {
      const made = element("button", "", reason);
      made.type = "button";
      made.addEventListener("click", () => dialog.close(reason));
      list.append(made);
    }
    dialog.querySelector("#why-cancel").addEventListener("click", () => dialog.close(""));
  }

  /** The reason, empty when none was given; null when the person went back. */
  ask(alarm) {
    if (this.dialog.open) return Promise.resolve(null);
    this.what.textContent = `${alarmWords(alarm)}, bed ${alarm.bed}`;
    this.words.value = "";
    this.dialog.returnValue = "";
    return new Promise((resolve) => {
      this.dialog.addEventListener(
        "close",
        () => {
          const said = this.dialog.returnValue;
          resolve(said === "ok" ? this.words.value.trim() : said || null);
        },
        { once: true },
      );
      this.dialog.showModal();
    });
  }
}
