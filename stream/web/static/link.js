// The connection: WebSocket with reconnection, the server's clock, and an honest state of the link.

const QUIET_MS = 4000;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

export class Link {
  constructor(take) {
    this.take = take; // { json(frame), traces(buffer), state(word), opened() }
    this.view = null;
    this.socket = null;
    this.tries = 0;
    this.lastHeard = 0;
    this.offsetMs = null;
    setInterval(() => this.check(), 500);
    // a page that is left may be kept by the browser, socket and all, and nobody sees it
    addEventListener("pagehide", () => this.socket?.close());
    this.open();
  }

  /** The server's time in ms since 1970: its last word, moved on by a clock of ours that nobody can set. */
  nowMs() {
    return this.offsetMs === null ? Date.now() : this.offsetMs + performance.now();
  }

  show(view) {
    this.view = { type: "view", ...view };
    this.tell(this.view);
  }

  /** Sends a message now, or not at all. */
  tell(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      this.tries = 0;
      this.lastHeard = performance.now();
      this.take.opened();
      if (this.view) this.tell(this.view);
    };
    socket.onmessage = ({ data }) => {
      this.lastHeard = performance.now();
      if (data instanceof ArrayBuffer) {
        this.take.traces(data);
        return;
      }
      const frame = JSON.parse(data);
      if (frame.nowUs) this.offsetMs = frame.nowUs / 1000 - performance.now();
      this.take.state("live");
      this.take.json(frame);
    };
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.take.state("lost");
      setTimeout(() => this.open(), RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)]);
    };
  }

  check() {
    if (!this.socket || this.socket.readyState !== WebSocket.OPEN) return;
    const quiet = performance.now() - this.lastHeard;
    if (quiet > QUIET_MS) this.take.state("lost");
    if (quiet > 3 * QUIET_MS) this.socket.close();
  }
}
