// Receipts: tells the server which calls of alarms this page has really shown. A page that is not painted tells nothing.

const calls = ({ signal, priority }) => (signal === "on" || signal === "latched") && priority !== "low";
const nameOf = ({ alertId, step }) => `${alertId} ${step}`;

export class Receipts {
  constructor(send) {
    this.send = send; // ([[alert id, step], …])
    this.told = new Set();
    this.calling = [];
    this.isWaiting = false;
  }

  /** The alarms that stand on the page now. */
  take(alarms) {
    this.calling = alarms.filter(calls);
    const names = new Set(this.calling.map(nameOf));
    for (const name of this.told) if (!names.has(name)) this.told.delete(name);
    if (this.isWaiting || names.size === this.told.size) return;
    this.isWaiting = true;
    // the first callback comes before the alarms are painted, the second after it; a hidden page is given neither
    requestAnimationFrame(() => requestAnimationFrame(() => this.tell()));
  }

  tell() {
    this.isWaiting = false;
    const fresh = this.calling.filter((alarm) => !this.told.has(nameOf(alarm)));
    if (!fresh.length) return;
    for (const alarm of fresh) this.told.add(nameOf(alarm));
    this.send(fresh.map(({ alertId, step }) => [alertId, step]));
  }

  /** Somebody else may listen from now on. */
  again() {
    this.told.clear();
  }
}
