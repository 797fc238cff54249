// The ECG around an alarm as paper shows it: 25 mm/s, 10 mm/mV, a lane for each lead, the moment of the alarm marked.

import { element } from "./words.js";

const NS = "http://www.w3.org/2000/svg";
const MM_PER_S = 25;
const MM_PER_MV = 10;
const NOT_MEASURED = -32768;
const LEAST_MM = 15;
const MOST_MM = 45;
const MARGIN_MM = 4;
const DRAWN_RATE_HZ = 500;

const MISSING = {
  "no-ecg": "The patient sent no ECG in this time.",
  gaps: "Grey: not measured, or not sent in time.",
  "let-go": "The alarm came too late for all of it to be kept.",
  large: "More leads than are kept.",
};

const ASK_AGAIN_MS = 2000;
const ASK_FOR_MS = 60000;

/** What the board knows of an alarm; null when it knows nothing, or cannot be reached. */
export const findAlarm = (alertId) => told(`/api/alarm/${encodeURIComponent(alertId)}`);

/** The alarms of a bed that are over, the latest first; null when the board cannot be reached. */
export const pastAlarms = (bed) => told(`/api/alarms?bed=${encodeURIComponent(bed)}`);

async function told(path) {
  try {
    const answer = await fetch(path, { signal: AbortSignal.timeout(8000) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** The strips of the alarms that somebody looks at. One that has just been raised gets its strip some seconds later. */
export class Strips {
  constructor() {
    this.known = new Map(); // alert id -> { bed, words, figure, since, asked }
    this.count = 0; // grows with every strip that has come
  }

  /** The figure of an alarm's strip; null while there is none. */
  of(alertId, bed, words) {
    if (!this.known.has(alertId)) this.known.set(alertId, { bed, words, figure: null, since: performance.now(), asked: -Infinity });
    this.ask();
    return this.known.get(alertId).figure;
  }

  /** Ask for those that may still come. */
  ask() {
    const now = performance.now();
    for (const [alertId, known] of this.known) {
      if (known.figure || now - known.since > ASK_FOR_MS || now - known.asked < ASK_AGAIN_MS) continue;
      known.asked = now;
      findAlarm(alertId).then((found) => {
        if (!found?.strip || known.figure) return;
        known.figure = frozenStrip(found.strip, known.bed, known.words);
        this.count += 1;
      });
    }
  }

  forget() {
    this.known.clear();
  }
}

/** `strip` as `GET /api/alarm/ID` tells it; `words` say what the alarm was. */
export function frozenStrip(strip, bed, words) {
  const figure = element("figure", "frozen");
  const lanes = lanesOf(strip);
  const missing = strip.missing.map((word) => MISSING[word] ?? word);
  const at = new Date(strip.timeUs / 1000).toLocaleString([], { hour12: false });
  const leads = lanes.map(({ lead }) => lead).join(", ") || "no lead";
  const seconds = (strip.toUs - strip.fromUs) / 1e6;
  const before = (strip.timeUs - strip.fromUs) / 1e6;
  const said = `ECG of bed ${bed}, ${before} s before to ${seconds - before} s after ${words} at ${at}. Leads: ${leads}. ${missing.join(" ")}`;
  if (lanes.length) figure.append(draw(strip, lanes, said.trim()));
  figure.append(element("figcaption", "", [`${words}, ${at}: ${leads}, ${MM_PER_S} mm/s, ${MM_PER_MV} mm/mV.`, ...missing].join(" ")));
  return figure;
}

function lanesOf(strip) {
  const lanes = new Map();
  const isOne = new Set(strip.stretches.map(({ gateway }) => gateway)).size === 1;
  for (const stretch of strip.stretches) {
    const samples = int16(stretch.samples);
    const n = samples.length / stretch.leads.length;
    stretch.leads.forEach((lead, i) => {
      const name = `${stretch.gateway}\0${lead}`;
      if (!lanes.has(name)) lanes.set(name, { lead: isOne ? lead : `${lead} (${stretch.gateway})`, pieces: [] });
      lanes.get(name).pieces.push(pieceOf(stretch, samples.subarray(i * n, (i + 1) * n), strip.fromUs));
    });
  }
  return [...lanes.values()].map(fitted);
}

function int16(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Int16Array.from({ length: bytes.length / 2 }, (_, i) => view.getInt16(2 * i, true));
}

/** Points [mm, mV] of one lead; a null stands where nothing was measured. A fast signal keeps the ends of each step. */
function pieceOf(stretch, samples, fromUs) {
  const step = stretch.rateHz <= DRAWN_RATE_HZ ? 1 : Math.ceil((2 * stretch.rateHz) / DRAWN_RATE_HZ);
  const x = (i) => ((stretch.startUs - fromUs) / 1e6 + i / stretch.rateHz) * MM_PER_S;
  const points = [];
  for (let i = 0; i < samples.length; i += step) {
    let low = i;
    let high = i;
    let isWhole = true;
    for (let j = i; j < Math.min(i + step, samples.length); j++) {
      if (samples[j] === NOT_MEASURED) isWhole = false;
      if (samples[j] < samples[low]) low = j;
      if (samples[j] > samples[high]) high = j;
    }
    if (!isWhole) points.push(null);
    else for (const j of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) points.push([x(j), (samples[j] * stretch.gainUv) / 1000]);
  }
  return { from: x(0), to: x(samples.length), points };
}

function fitted(lane) {
  const values = lane.pieces.flatMap(({ points }) => points.filter(Boolean).map(([, mv]) => mv)).sort((a, b) => a - b);
  const middle = values[values.length >> 1] ?? 0;
  const up = Math.min(MOST_MM, Math.max(LEAST_MM, ((values.at(-1) ?? 0) - middle) * MM_PER_MV + MARGIN_MM));
  const down = Math.min(MOST_MM, Math.max(LEAST_MM / 2, (middle - (values[0] ?? 0)) * MM_PER_MV + MARGIN_MM));
  return { ...lane, middle, up, tall: up + down };
}

function draw(strip, lanes, said) {
  const wide = ((strip.toUs - strip.fromUs) / 1e6) * MM_PER_S;
  const tall = lanes.reduce((sum, lane) => sum + lane.tall, 0);
  const svg = shape("svg", { viewBox: `0 0 ${wide} ${tall}`, role: "img", class: "paper" });
  svg.setAttribute("aria-label", said);
  svg.append(rect("paper-ground", 0, 0, wide, tall), lines("paper-mm", wide, tall, 1), lines("paper-5mm", wide, tall, 5));
  let top = 0;
  for (const lane of lanes) {
    svg.append(...laneShapes(lane, top, wide));
    top += lane.tall;
  }
  const x = ((strip.timeUs - strip.fromUs) / 1e6) * MM_PER_S;
  svg.append(shape("path", { class: "paper-alarm", d: `M${x} 0V${tall}` }), label("paper-alarm-word", x + 1, tall - 1.5, "alarm"));
  return svg;
}

function laneShapes(lane, top, wide) {
  const shapes = [];
  const baseline = top + lane.up;
  let reached = 0;
  for (const { from, to, points } of lane.pieces) {
    if (from > reached + 0.1) shapes.push(rect("paper-gap", reached, top, from - reached, lane.tall));
    shapes.push(trace(points, lane, baseline, top));
    reached = Math.max(reached, to);
  }
  if (reached < wide - 0.1) shapes.push(rect("paper-gap", reached, top, wide - reached, lane.tall));
  shapes.push(label("paper-lead", 1.5, top + 4.5, lane.lead));
  return shapes;
}

function trace(points, lane, baseline, top) {
  let d = "";
  let isDown = false;
  for (const point of points) {
    if (point) {
      const y = Math.min(top + lane.tall, Math.max(top, baseline - (point[1] - lane.middle) * MM_PER_MV));
      d += `${isDown ? "L" : "M"}${point[0].toFixed(2)} ${y.toFixed(2)}`;
    }
    isDown = Boolean(point);
  }
  return shape("path", { class: "paper-trace", d });
}

function lines(name, wide, tall, every) {
  let d = "";
  for (let x = 0; x <= wide; x += every) d += `M${x} 0V${tall}`;
  for (let y = 0; y <= tall; y += every) d += `M0 ${y}H${wide}`;
  return shape("path", { class: name, d });
}

function rect(name, x, y, width, height) {
  return shape("rect", { class: name, x, y, width, height });
}

function label(name, x, y, text) {
  const made = shape("text", { class: name, x, y });
  made.textContent = text;
  return made;
}

function shape(tag, attributes) {
  const made = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
