// One ECG trace, drawn the way a monitor does: a pen runs from left to right and wipes a gap in front of itself.
//
// Samples come in bursts of a second or so. The pen runs a little behind the newest sample and follows the pace at
// which event time arrives, so that it neither stutters nor drifts, at any replay speed.

const KEPT_MS = 12000;
const NOT_MEASURED = -32768;
const PX_PER_S = 62;
const WIPE_PX = 16;
const MIN_WINDOW_MS = 2500;
const MAX_WINDOW_MS = 9000;
const BEHIND_BURSTS = 1.4;
const DRIFT_CORNER_HZ = 0.4;
const SCALES = [0.125, 0.25, 0.5, 1, 2, 4]; // fractions of the height per mV
const INK = "#4be38a";
const GROUND = "#0d131a";
const MARK_INK = { V: "#ffd166", S: "#9ad0ff", F: "#ffd166", Q: "#9aa7b4" };

export class Sweep {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d", { alpha: false });
    this.chunks = [];
    this.marks = [];
    this.width = 0;
    this.height = 0;
    this.windowMs = 6000;
    this.scale = 0.5;
    this.lead = "";
    this.forget();
  }

  forget() {
    this.chunks = [];
    this.endMs = null; // event time of the newest sample
    this.atMs = null; // event time under the pen
    this.drawnMs = null;
    this.lastY = null;
    this.pace = 1; // event time per wall time
    this.burstMs = 1000;
    this.lastArrival = null;
    this.filter = null;
    this.clear();
  }

  resize(width, height, ratio) {
    if (width < 10 || height < 10) return;
    this.ratio = ratio;
    this.width = Math.round(width * ratio);
    this.height = Math.round(height * ratio);
    this.canvas.width = this.width;
    this.canvas.height = this.height;
    this.windowMs = Math.min(MAX_WINDOW_MS, Math.max(MIN_WINDOW_MS, (width / PX_PER_S) * 1000));
    this.redraw();
  }

  take(chunk, wallMs) {
    const startMs = chunk.startMs;
    if (this.endMs !== null && (startMs < this.endMs - 5000 || startMs > this.endMs + 60000)) this.forget();
    const values = this.filtered(chunk);
    const endMs = startMs + (chunk.samples.length * 1000) / chunk.rateHz;
    if (this.endMs !== null && this.lastArrival !== null && wallMs - this.lastArrival > 50) {
      const gained = Math.max(0, endMs - this.endMs);
      const pace = Math.min(20, Math.max(0.1, gained / (wallMs - this.lastArrival)));
      this.pace += 0.15 * (pace - this.pace);
      this.burstMs += 0.15 * (Math.min(gained, 10000) - this.burstMs);
    }
    this.lastArrival = wallMs;
    this.endMs = this.endMs === null ? endMs : Math.max(this.endMs, endMs);
    this.lead = chunk.lead;
    this.chunks.push({ startMs, endMs, stepMs: 1000 / chunk.rateHz, values });
    while (this.chunks.length > 1 && this.chunks[0].endMs < this.endMs - KEPT_MS) this.chunks.shift();
    this.fit();
  }

  /** Millivolts around a slowly moving baseline; NaN where nothing was measured. */
  filtered({ samples, gainUv, rateHz, startMs }) {
    const values = new Float32Array(samples.length);
    const keep = 1 / (1 + (2 * Math.PI * DRIFT_CORNER_HZ) / rateHz);
    let state = this.filter;
    if (!state || Math.abs(state.endMs - startMs) > 1500 / rateHz + 5) state = { last: NaN, out: 0 };
    for (let i = 0; i < samples.length; i++) {
      if (samples[i] === NOT_MEASURED) {
        values[i] = NaN;
        state.last = NaN;
        continue;
      }
      const now = (samples[i] * gainUv) / 1000;
      if (Number.isNaN(state.last)) state = { last: now, out: 0 };
      state.out = keep * (state.out + now - state.last);
      state.last = now;
      values[i] = state.out;
    }
    this.filter = { ...state, endMs: startMs + (samples.length * 1000) / rateHz };
    return values;
  }

  /** The largest scale that keeps what was drawn lately inside; it changes in steps of two. */
  fit() {
    let low = 0;
    let high = 0;
    for (const { values } of this.chunks) {
      for (let i = 0; i < values.length; i += 2) {
        if (values[i] < low) low = values[i];
        else if (values[i] > high) high = values[i];
      }
    }
    const need = Math.max(0.2, high - low);
    const fitting = SCALES.filter((scale) => scale * need <= 0.92);
    const best = fitting.length ? fitting[fitting.length - 1] : SCALES[0];
    const middle = -(high + low) / 2;
    const isOff = Math.abs(middle - (this.middle ?? 0)) * this.scale > 0.12;
    if (best < this.scale || best > 1.5 * this.scale || isOff || this.middle === undefined) {
      this.scale = best;
      this.middle = middle;
      this.redraw();
    }
  }

  clear() {
    this.pen.fillStyle = GROUND;
    this.pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.lastY = null;
  }

  redraw() {
    this.clear();
    if (this.atMs === null || !this.width) return;
    this.drawnMs = this.atMs - this.windowMs * 0.97;
    this.draw(this.atMs);
  }

  /** Moves the pen on by `elapsedMs` of wall time. Returns whether it moved. */
  step(elapsedMs) {
    if (this.endMs === null || !this.width) return false;
    const behind = Math.max(300, BEHIND_BURSTS * this.burstMs);
    const ahead = this.endMs - (this.atMs ?? -Infinity);
    if (ahead > behind + Math.max(4000, 3 * this.burstMs)) {
      this.atMs = this.endMs - behind;
      this.redraw();
      return true;
    }
    const pull = Math.min(0.4, Math.max(-0.4, (ahead - behind) / behind));
    const next = Math.min(this.endMs, this.atMs + elapsedMs * this.pace * (1 + pull));
    if (next - this.atMs < this.windowMs / this.width / 2) {
      if (next <= this.atMs) return false;
    }
    this.atMs = next;
    this.draw(next);
    return true;
  }

  x(ms) {
    return ((ms % this.windowMs) / this.windowMs) * this.width;
  }

  draw(toMs) {
    const fromMs = this.drawnMs ?? toMs;
    this.wipe(fromMs, toMs);
    const { pen } = this;
    pen.strokeStyle = INK;
    pen.lineWidth = 1.25 * this.ratio;
    pen.lineJoin = "round";
    pen.beginPath();
    let lastX = null;
    const perMv = this.scale * this.height;
    for (const chunk of this.chunks) {
      if (chunk.endMs < fromMs || chunk.startMs > toMs) continue;
      // one sample back, so that strokes join
      const first = Math.max(0, Math.floor((fromMs - chunk.startMs) / chunk.stepMs) - 1);
      const last = Math.min(chunk.values.length - 1, Math.floor((toMs - chunk.startMs) / chunk.stepMs));
      if (first === 0 && lastX !== null && Math.abs(chunk.startMs - this.joinMs) > 2 * chunk.stepMs + 1) lastX = null;
      for (let i = first; i <= last; i++) {
        const value = chunk.values[i];
        const x = this.x(chunk.startMs + i * chunk.stepMs);
        if (Number.isNaN(value)) {
          lastX = null;
          continue;
        }
        const y = Math.min(this.height - 1, Math.max(1, this.height / 2 - (value + (this.middle ?? 0)) * perMv));
        if (lastX === null || x < lastX) pen.moveTo(x, y);
        else pen.lineTo(x, y);
        lastX = x;
      }
      this.joinMs = chunk.endMs;
    }
    pen.stroke();
    this.drawMarks(toMs);
    this.drawnMs = toMs;
  }

  wipe(fromMs, toMs) {
    const { pen } = this;
    const ahead = WIPE_PX * this.ratio;
    const from = this.x(fromMs);
    const length = ((toMs - fromMs) / this.windowMs) * this.width + ahead;
    pen.fillStyle = GROUND;
    pen.fillRect(from + 1, 0, Math.min(length, this.width - from), this.height);
    if (from + length > this.width) pen.fillRect(0, 0, from + length - this.width, this.height);
    this.drawScale(from, length);
  }

  /** A bar of one millivolt at the left edge, redrawn whenever the pen has wiped it. */
  drawScale(from, length) {
    const edge = 7 * this.ratio;
    if (from > edge && from + length < this.width) return;
    const tall = Math.min(this.height - 2, this.scale * this.height);
    this.pen.fillStyle = "#5b6b7a";
    this.pen.fillRect(2 * this.ratio, (this.height - tall) / 2, this.ratio, tall);
  }

  /** Letters over beats that are not normal; they are known a second or two after the pen has passed. */
  drawMarks(nowMs) {
    const { pen } = this;
    pen.font = `600 ${10 * this.ratio}px system-ui, sans-serif`;
    pen.textAlign = "center";
    for (const [rUs, letter] of this.marks) {
      const ms = rUs / 1000;
      if (ms > nowMs || ms < nowMs - this.windowMs * 0.9) continue;
      pen.fillStyle = MARK_INK[letter] ?? INK;
      pen.fillText(letter, this.x(ms), 10 * this.ratio);
    }
  }
}
