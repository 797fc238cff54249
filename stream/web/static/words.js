// Words, numbers and marks: how things are said on the board.

export const PRIORITY = {
  high: { mark: "!!!", word: "HIGH" },
  medium: { mark: "!!", word: "MEDIUM" },
  low: { mark: "!", word: "LOW" },
};

export const TASK = {
  "ecg-beat": "Beats",
  "ecg-rhythm": "Rhythm",
  glucose: "Glucose",
  pneumonia: "Chest X-ray",
  breast: "Breast ultrasound",
  "ecg-af": "Recent beats",
};

export const TASK_SHORT = { pneumonia: "CXR", breast: "Breast US" };

export const LOOKED_FOR = { pneumonia: "pneumonia", breast: "malignant" };

export const VERDICT = {
  poor: "poor signal",
  noisy: "noise",
  flat: "flat line",
  clipped: "clipped",
  "lead-off": "lead off",
  gap: "gap",
  "too-short": "too short",
  "wrong-input": "wrong input",
  "not-evaluated": "not evaluated",
};

export const UNKNOWN = "\u2013\u2013";

/** Whether a verdict lets a number be believed. */
export const isBelieved = (verdict) => verdict === "good" || verdict === "poor";

/** An age or duration in seconds, short: 4 s, 12 min, 3.1 h, 2 d. */
export function span(seconds) {
  if (seconds < 0) return `\u2212${span(-seconds)}`;
  if (seconds < 100) return `${Math.floor(seconds)} s`;
  if (seconds < 6000) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** Minutes and seconds since an onset: 2:07, 1:02:07. */
export function elapsed(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export const whole = (value) => (value === null || value === undefined ? UNKNOWN : String(Math.round(value)));

export const percent = (value) => (value === null || value === undefined ? UNKNOWN : `${Math.round(100 * value)} %`);

/** Arrow and word of a glucose slope in mg/dL per minute, by the bands that continuous monitors use. */
export function trend(slope) {
  if (slope === null) return { arrow: "", word: "trend unknown" };
  const size = Math.abs(slope);
  if (size < 1) return { arrow: "\u2192", word: "steady" };
  const up = slope > 0;
  if (size < 2) return { arrow: up ? "\u2197" : "\u2198", word: up ? "rising" : "falling" };
  if (size < 3) return { arrow: up ? "\u2191" : "\u2193", word: up ? "rising fast" : "falling fast" };
  return { arrow: up ? "\u21C8" : "\u21CA", word: up ? "rising very fast" : "falling very fast" };
}

export function glucoseLevel(mgDl) {
  if (mgDl === null) return "unknown";
  if (mgDl < 54) return "very-low";
  if (mgDl < 70) return "low";
  if (mgDl > 250) return "very-high";
  if (mgDl > 180) return "high";
  return "in-range";
}

/** A new element. Text is only ever set as text: what comes from the topics is never markup. */
export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** Sets text only where it differs: an unchanged node costs no layout. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setData(node, name, value) {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}
