// The newest image of a bed as its model sees it, and what in it the model goes by: ask, then draw.

import { LOOKED_FOR, TASK, element, percent } from "./words.js";

const SIDE_PX = 300;
const FOR = [255, 150, 40]; // hiding it lowers the probability
const AGAINST = [70, 150, 255];
const ASK_AGAIN_MS = 5000;
const ASK_FOR_MS = 20000;
const LEAST = 0.1; // log-odds: a place that carries less is not painted

/** The images of the bed that somebody looks at. A result may be here a moment before its image. */
export class Pictures {
  constructor() {
    this.known = new Map(); // "bed task endUs" -> { figure, since, asked }
    this.count = 0; // grows with every picture that has come
  }

  /** The figure of an image; null while there is none. */
  of(bed, image) {
    const key = `${bed}\0${image.task}\0${image.endUs}`;
    const now = performance.now();
    if (!this.known.has(key)) this.known.set(key, { figure: null, since: now, asked: -Infinity });
    const known = this.known.get(key);
    if (!known.figure && now - known.since < ASK_FOR_MS && now - known.asked >= ASK_AGAIN_MS) {
      known.asked = now;
      told(bed, image.task).then((shown) => {
        if (!shown || known.figure) return;
        known.figure = pictureFigure(shown);
        this.count += 1;
      });
    }
    return known.figure;
  }

  forget() {
    this.known.clear();
  }
}

async function told(bed, task) {
  try {
    const path = `/api/image?bed=${encodeURIComponent(bed)}&task=${encodeURIComponent(task)}`;
    const answer = await fetch(path, { signal: AbortSignal.timeout(15000) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** `shown` as `GET /api/image` tells it. */
export function pictureFigure(shown) {
  const figure = element("figure", "picture");
  const at = new Date(shown.endUs / 1000).toLocaleString([], { hour12: false });
  const name = `${TASK[shown.task] ?? shown.task}, ${at}`;
  if (!shown.side) {
    figure.append(element("figcaption", "", `${name}: ${shown.why}.`));
    return figure;
  }
  const canvas = element("canvas", "");
  canvas.width = canvas.height = SIDE_PX;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${name}, the square that the model sees`);
  figure.append(canvas);
  if (shown.carried) {
    const toggle = element("input", "");
    toggle.type = "checkbox";
    toggle.checked = true;
    toggle.dataset.does = `carried-${shown.task}`;
    toggle.addEventListener("change", () => draw(canvas, shown, toggle.checked));
    const label = element("label", "", " what the model goes by");
    label.prepend(toggle);
    const orange = element("span", "for", "orange");
    const blue = element("span", "against", "blue");
    const words = element("figcaption", "", `${name}: ${LOOKED_FOR[shown.task] ?? ""} ${percent(shown.p)} by model ${shown.model}. Hiding what is `);
    words.append(orange, " lowers that, hiding what is ", blue, ` raises it, at most by ${strongest(shown.carried).toFixed(1)} in log-odds. Not a finding of its own.`);
    figure.append(label, words);
  } else {
    figure.append(element("figcaption", "", `${name}: ${shown.why}.`));
  }
  draw(canvas, shown, true);
  return figure;
}

const strongest = (carried) => Math.max(...carried.flat().map(Math.abs));

function draw(canvas, shown, withCarried) {
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = shown.side > 100;
  pen.drawImage(greyOf(shown), 0, 0, SIDE_PX, SIDE_PX);
  if (!withCarried || !shown.carried) return;
  pen.imageSmoothingEnabled = true;
  pen.drawImage(carriedOf(shown.carried), 0, 0, SIDE_PX, SIDE_PX);
}

function greyOf(shown) {
  const grey = Uint8Array.from(atob(shown.grey), (c) => c.charCodeAt(0));
  return painted(shown.side, (i) => [grey[i], grey[i], grey[i], 255]);
}

function carriedOf(carried) {
  const most = Math.max(strongest(carried), LEAST);
  const flat = carried.flat();
  return painted(carried.length, (i) => {
    const share = Math.abs(flat[i]) < LEAST ? 0 : Math.abs(flat[i]) / most;
    return [...(flat[i] > 0 ? FOR : AGAINST), Math.round(190 * share)];
  });
}

function painted(side, rgba) {
  const canvas = new OffscreenCanvas(side, side);
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(side, side);
  for (let i = 0; i < side * side; i++) image.data.set(rgba(i), 4 * i);
  pen.putImageData(image, 0, 0);
  return canvas;
}
