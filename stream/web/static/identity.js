// Who is at the board, and what they ask for. Nothing is shown as done until the alarm topic says so.

const IDLE_MS = 15 * 60 * 1000;
const KEY = "wardwatch-identity";

export class Identity {
  constructor(button, dialog) {
    this.button = button;
    this.dialog = dialog;
    this.name = dialog.querySelector("#who-name");
    this.role = dialog.querySelector("#who-role");
    button.addEventListener("click", () => this.ask());
    // not a submit button: Enter in the name must go on, not back
    dialog.querySelector("#who-cancel").addEventListener("click", () => dialog.close(""));
    this.show();
    setInterval(() => this.show(), 10000);
  }

  current() {
    try {
      const held = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
      return held && Date.now() - held.usedMs < IDLE_MS ? held : null;
    } catch {
      return null;
    }
  }

  keep(who, role) {
    sessionStorage.setItem(KEY, JSON.stringify({ who, role, usedMs: Date.now() }));
    this.show();
  }

  show() {
    const held = this.current();
    this.button.textContent = held ? `${held.who} · ${held.role}` : "Who are you?";
    this.button.dataset.known = String(Boolean(held));
  }

  /** {who, role}, asked for when it is not known; null when the person went back. */
  async needed() {
    const held = this.current() ?? (await this.ask());
    if (held) this.keep(held.who, held.role);
    return held;
  }

  ask() {
    const held = this.current();
    this.name.value = held?.who ?? "";
    if (held) this.role.value = held.role;
    if (this.dialog.open) return Promise.resolve(null);
    return new Promise((resolve) => {
      this.dialog.returnValue = "";
      this.dialog.addEventListener(
        "close",
        () => {
          const who = this.name.value.trim();
          if (this.dialog.returnValue !== "ok" || !who) return resolve(null);
          this.keep(who, this.role.value);
          resolve({ who, role: this.role.value });
        },
        { once: true },
      );
      this.dialog.showModal();
      this.name.focus();
    });
  }
}

/** Sends one request. Throws an Error whose message is for the person. */
export async function send(action, body) {
  let answer;
  try {
    answer = await fetch(`/api/${action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(12000),
    });
  } catch {
    throw new Error("the server cannot be reached");
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Error(said.refused ?? `status ${answer.status}`);
  }
}
