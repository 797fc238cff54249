// Three hours of glucose, and the hour ahead as a fan: 5–95 %, 25–75 % and the median.

const PAST_MIN = 180;
const AHEAD_MIN = 65;
const STEP_MIN = 5;
const INK = "#c7b3ff";

export function drawGlucose(canvas, glucose, ratio, isLarge = false) {
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (width < 20 || height < 16) return;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d", { alpha: false });
  pen.fillStyle = "#0d131a";
  pen.fillRect(0, 0, width, height);
  if (!glucose) return;

  const seen = glucose.readings.map(([, mgDl]) => mgDl).concat(glucose.forecast ? glucose.forecast[4] : []);
  const top = Math.max(260, Math.min(450, Math.max(...seen, 0) + 15));
  const bottom = 40;
  const endMs = glucose.endUs / 1000;
  const x = (minutes) => ((minutes + PAST_MIN) / (PAST_MIN + AHEAD_MIN)) * width;
  const y = (mgDl) => height - ((Math.min(top, Math.max(bottom, mgDl)) - bottom) / (top - bottom)) * height;

  pen.fillStyle = "#13251f";
  pen.fillRect(0, y(180), width, y(70) - y(180));
  pen.fillStyle = "#2a1518";
  pen.fillRect(0, y(54), width, height - y(54));
  pen.fillStyle = "#3c4a57";
  for (const limit of [70, 180]) pen.fillRect(0, Math.round(y(limit)), width, 1);
  pen.fillRect(Math.round(x(0)), 0, 1, height);
  if (isLarge) for (let minute = -120; minute <= 60; minute += 60) pen.fillRect(Math.round(x(minute)), height - 6 * ratio, 1, 6 * ratio);

  if (glucose.forecast) drawFan(pen, glucose.forecast, x, y, glucose.mgDl, ratio);

  pen.strokeStyle = INK;
  pen.fillStyle = INK;
  pen.lineWidth = 1.4 * ratio;
  pen.beginPath();
  let last = null;
  for (const [us, mgDl] of glucose.readings) {
    const minutes = (us / 1000 - endMs) / 60000;
    if (minutes < -PAST_MIN - 10 || minutes > 0.5) continue;
    if (last !== null && minutes - last < 21) pen.lineTo(x(minutes), y(mgDl));
    else pen.moveTo(x(minutes), y(mgDl));
    last = minutes;
  }
  pen.stroke();
  if (glucose.mgDl !== null) {
    pen.beginPath();
    pen.arc(x(0), y(glucose.mgDl), 2.6 * ratio, 0, 2 * Math.PI);
    pen.fill();
  }
  pen.fillStyle = "#7f8fa0";
  pen.font = `${9 * ratio}px system-ui, sans-serif`;
  pen.textAlign = "left";
  pen.fillText("180", 2 * ratio, y(180) - 2 * ratio);
  pen.fillText("70", 2 * ratio, y(70) - 2 * ratio);
  pen.textAlign = "right";
  const isHigh = (glucose.forecast ? glucose.forecast[4].at(-1) : 0) > (top + bottom) / 2;
  pen.fillText("+60 min", width - 2 * ratio, isHigh ? height - 3 * ratio : 9 * ratio);
}

function drawFan(pen, quantiles, x, y, mgDl, ratio) {
  const at = (step) => x((step + 1) * STEP_MIN);
  const start = mgDl === null ? null : [x(0), y(mgDl)];
  for (const [low, high, ink] of [[0, 4, "rgba(199,179,255,0.16)"], [1, 3, "rgba(199,179,255,0.28)"]]) {
    pen.fillStyle = ink;
    pen.beginPath();
    if (start) pen.moveTo(...start);
    quantiles[high].forEach((value, step) => pen.lineTo(at(step), y(value)));
    for (let step = quantiles[low].length - 1; step >= 0; step--) pen.lineTo(at(step), y(quantiles[low][step]));
    pen.closePath();
    pen.fill();
  }
  pen.strokeStyle = INK;
  pen.lineWidth = 1.2 * ratio;
  pen.setLineDash([3 * ratio, 3 * ratio]);
  pen.beginPath();
  if (start) pen.moveTo(...start);
  quantiles[2].forEach((value, step) => pen.lineTo(at(step), y(value)));
  pen.stroke();
  pen.setLineDash([]);
}
