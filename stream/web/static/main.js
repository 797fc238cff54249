// The board: puts the parts together, keeps the grid, and draws.

import { AlarmStrip } from "./alarmstrip.js";
import { Details } from "./details.js";
import { findAlarm } from "./frozenstrip.js";
import { Identity, send } from "./identity.js";
import { Link } from "./link.js";
import { Reasons } from "./reasons.js";
import { Receipts } from "./receipts.js";
import { Tile } from "./tile.js";
import { parseTraces } from "./traceframes.js";
import { PRIORITY, element, setText } from "./words.js";

const REFRESH_MS = 250;
const PENDING_MS = 8000;
const SETTLE_MS = 8000;
const HOLD_MS = 2500;
const BEST_WIDTH = 350;
const BEST_HEIGHT = 205;
const MIN_WIDTH = 215;
const MIN_HEIGHT = 138;
const GAP = 6;

const byId = (id) => document.getElementById(id);
const grid = byId("grid");
const tiles = new Map(); // key -> Tile
const pending = new Map(); // alert id -> when it was sent (ms)
const view = { page: 0, size: 16, order: "bed", find: "", hidden: document.hidden };
let ward = null;
let wantedOrder = [];
let lastTouch = -Infinity;

const identity = new Identity(byId("identity"), byId("who"));
const reasons = new Reasons(byId("why"));
const actions = { acknowledge, because, open: (tile) => details.open(tile), find: showBed };
const strip = new AlarmStrip(byId("alarms"), byId("say-now"), byId("say"), actions);
const details = new Details(byId("details"), {
  acknowledge,
  because,
  snooze: (alarm) =>
    request("snooze", { bed: alarm.bed, condition: alarm.condition, seconds: alarm.snoozeMaxS }, `Snooze of ${alarm.bed}`),
  limit: async (alarm, value) => {
    const what = `Limit of ${alarm.bed}`;
    if (await request("limit", { bed: alarm.bed, condition: alarm.condition, value }, what)) toast(`${what}: recorded, from the next measurement on.`);
  },
  pending,
  nowMs: () => link.nowMs(),
  pause: (bed, seconds) => request("pause", { bed, seconds }, `Pause of ${bed}`),
  resume: (bed) => request("resume", { bed }, `Resume of ${bed}`),
  judge: (alarm, value) =>
    request("judge", { bed: alarm.bed, alertId: alarm.alertId, condition: alarm.condition, onsetUs: alarm.onsetUs, value }, "Judgement"),
});
const link = new Link({ json: takeFrame, traces: takeTraces, state: showLink, opened: () => receipts.again() });
const receipts = new Receipts((shown) => link.tell({ type: "seen", shown }));

// ---- what comes in

function takeFrame(frame) {
  if (frame.type === "ward") takeWard(frame);
  else if (frame.type === "beds") takeBeds(frame.beds);
}

function takeWard(frame) {
  ward = frame;
  wantedOrder = frame.order;
  strip.take(frame.alarms, frame.alarmTotal);
  strip.refresh(link.nowMs(), pending);
  receipts.take(frame.alarms);
  showCounts(frame.counts);
  setText(byId("page"), `${frame.page + 1} / ${frame.pages}`);
  byId("previous").disabled = frame.page === 0;
  byId("next").disabled = frame.page + 1 >= frame.pages;
  byId("nobody").hidden = frame.order.length > 0;
  setText(byId("nobody"), frame.total ? "No bed matches." : "No bed has sent anything yet.");
  setText(byId("engines"), frame.engines.map(({ task, engine, model }) => `${task} ${engine} ${model.slice(0, 8)}`).join("  ·  "));
  showGate(frame.gate);
  const unusual = frame.feeds.filter(({ name, state, refused }) => refused || (state !== "live" && !name.endsWith("past")) || state === "trouble");
  const notes = unusual.map(({ name, state, refused }) => `${name}: ${state}${refused ? `, ${refused} unreadable` : ""}`);
  if (frame.notCarried) notes.push(`${frame.notCarried} records of beds beyond the board's capacity`);
  setText(byId("feeds"), notes.join("  ·  "));
}

/** How the newest training of each task ended: what was let in, or the rule that kept it out; all of them on hover. */
function showGate(gate) {
  const time = (whenUs) => new Date(whenUs / 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
  const brief = gate.map(({ task, whenUs, bundle, refused }) =>
    bundle
      ? `new ${task} model ${bundle.slice(0, 8)} let in at ${time(whenUs)}`
      : `new ${task} model refused at ${time(whenUs)}: ${refused[0]}${refused.length > 1 ? ` (and ${refused.length - 1} more)` : ""}`);
  const whole = gate.map(({ task, why, refused }) => [`${task}, trained because: ${why}`, ...refused.map((reason) => `refused: ${reason}`)].join("\n"));
  setText(byId("gate"), brief.join("  ·  "));
  byId("gate").title = whole.join("\n\n");
}

function takeBeds(beds) {
  for (const news of beds) {
    let tile = tiles.get(news.key);
    if (tile && tile.bed !== news.bed) {
      tile.root.remove();
      tiles.delete(news.key);
      tile = null;
    }
    const isNew = !tile;
    if (isNew) {
      tile = new Tile(news.key, news.bed, actions);
      tiles.set(news.key, tile);
    }
    tile.take(news);
    settlePending(tile);
    if (isNew || "alarms" in news) tile.refresh(link.nowMs(), pending);
  }
  arrange();
}

function takeTraces(buffer) {
  const nowMs = performance.now();
  for (const chunk of parseTraces(buffer)) tiles.get(chunk.key)?.sweep.take(chunk, nowMs);
}

function showLink(state) {
  if (document.documentElement.dataset.link === state) return;
  document.documentElement.dataset.link = state;
  setText(byId("link"), state);
  const lost = byId("lost");
  lost.hidden = state !== "lost";
  lost.textContent = state === "lost" ? "CONNECTION LOST \u2013 nothing on this page is live. Go to the bedside monitors." : "";
}

function showCounts(counts) {
  const list = byId("counts");
  const rows = [
    ["high", `${PRIORITY.high.mark} High`, counts.high],
    ["medium", `${PRIORITY.medium.mark} Medium`, counts.medium],
    ["low", `${PRIORITY.low.mark} Low`, counts.low],
    ["answered", "Acknowledged", counts.acknowledged],
    ["paused", "Paused", counts.paused],
    ["silent", "Silent ECG", counts.silent],
    ["beds", "Beds", ward.total],
  ];
  if (!list.children.length) {
    for (const [name, text] of rows) {
      const item = element("li", "count");
      item.dataset.name = name;
      item.append(element("b"), element("span", "", text));
      list.append(item);
    }
  }
  rows.forEach(([, , value], i) => {
    const item = list.children[i];
    setText(item.firstChild, String(value));
    item.dataset.zero = String(value === 0);
  });
}

// ---- the grid

/** Puts the tiles in the order the server wants, but never under a finger: a click must hit what it was aimed at. */
function arrange() {
  const isHeld = view.order === "urgency" && performance.now() - lastTouch < HOLD_MS;
  const wanted = wantedOrder.filter((key) => tiles.has(key)).map((key) => tiles.get(key).root);
  const there = [...grid.children];
  if (wanted.length === there.length && wanted.every((root, i) => root === there[i])) return;
  if (isHeld && wanted.length === there.length && wanted.every((root) => root.parentNode === grid)) return;
  const focused = document.activeElement;
  for (const [key, tile] of tiles) {
    if (!wantedOrder.includes(key)) {
      tile.root.remove();
      tiles.delete(key);
    }
  }
  wanted.forEach((root, i) => {
    if (grid.children[i] !== root) grid.insertBefore(root, grid.children[i] ?? null);
  });
  if (focused instanceof HTMLElement && focused.isConnected && focused !== document.activeElement) focused.focus();
  fitGrid();
}

function fitGrid() {
  const count = grid.children.length;
  if (!count) return;
  const { clientWidth: width, clientHeight: height } = grid;
  // all on one screen where they stay readable; else as many columns as are readable, and a scroll bar
  let best = { score: -1, columns: Math.max(1, Math.floor(width / (0.85 * BEST_WIDTH))), tall: MIN_HEIGHT };
  for (let columns = 1; columns <= 12; columns++) {
    const rows = Math.ceil(count / columns);
    const wide = (width - GAP * (columns - 1)) / columns;
    const tall = Math.floor((height - GAP * (rows - 1)) / rows);
    const score = Math.min(wide / BEST_WIDTH, tall / BEST_HEIGHT);
    if (wide >= MIN_WIDTH && tall >= MIN_HEIGHT && score > best.score) best = { score, columns, tall };
  }
  grid.style.gridTemplateColumns = `repeat(${best.columns}, minmax(0, 1fr))`;
  grid.style.gridAutoRows = `${best.tall}px`;
  resizeTiles();
}

function resizeTiles() {
  for (const tile of tiles.values()) if (tile.root.isConnected) tile.resize(devicePixelRatio);
}

new ResizeObserver(fitGrid).observe(grid);
for (const kind of ["pointerdown", "pointermove"]) grid.addEventListener(kind, () => (lastTouch = performance.now()));

// ---- what the person asks for

function setView(change) {
  Object.assign(view, change);
  link.show({ ...view });
}

document.addEventListener("visibilitychange", () => setView({ hidden: document.hidden }));
byId("order").addEventListener("change", (event) => setView({ order: event.target.value, page: 0 }));
byId("size").addEventListener("change", (event) => setView({ size: Number(event.target.value), page: 0 }));
byId("find").addEventListener("input", (event) => setView({ find: event.target.value.trim(), page: 0 }));
byId("previous").addEventListener("click", () => setView({ page: Math.max(0, ward.page - 1) }));
byId("next").addEventListener("click", () => setView({ page: ward.page + 1 }));

grid.addEventListener("keydown", (event) => {
  const root = event.target.closest(".tile");
  if (!root || event.ctrlKey || event.metaKey || event.altKey) return;
  const tile = [...tiles.values()].find((one) => one.root === root);
  const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
  if (event.key in moves) {
    const place = [...grid.children].indexOf(root) + moves[event.key];
    grid.children[place]?.focus();
  } else if (event.key === "Enter" && event.target === root) details.open(tile);
  else if (event.key.toLowerCase() === "a" && event.target === root) tile.acknowledge();
  else if (event.key.toLowerCase() === "r" && event.target === root) tile.because();
  else return;
  event.preventDefault();
});

/** Opens the bed of the alarm that the address of the page names, as soon as the board knows of it. */
async function openLinked(alertId) {
  let found = null;
  await settled(async () => (found = await findAlarm(alertId)));
  if (!found) {
    toast("The alarm of this link is not known here any more.");
    return;
  }
  const find = found.bed.slice(0, byId("find").maxLength);
  byId("find").value = find;
  setView({ find, page: 0 });
  const tileOf = () => [...tiles.values()].find(({ bed }) => bed === found.bed);
  await settled(tileOf);
  details.open(tileOf() ?? new Tile(-1, found.bed, actions), found); // a bed that has gone has its strip still
}

/** Waits until `condition` holds, at most for some seconds. */
async function settled(condition) {
  const end = performance.now() + SETTLE_MS;
  while (!(await condition()) && performance.now() < end) await new Promise((resume) => setTimeout(resume, REFRESH_MS));
}

function showBed(alarm) {
  const tile = tiles.get(alarm.key);
  if (!tile) {
    byId("find").value = alarm.bed;
    setView({ find: alarm.bed, page: 0 });
    return;
  }
  tile.root.scrollIntoView({ block: "nearest" });
  tile.root.focus();
}

async function request(action, body, what) {
  const held = await identity.needed();
  if (!held) return false;
  try {
    await send(action, { ...body, who: held.who, role: held.role });
    return true;
  } catch (error) {
    toast(`${what} was NOT recorded: ${error.message}`);
    return false;
  }
}

async function acknowledge(alarm, reason = "") {
  const what = `Acknowledgement of bed ${alarm.bed}`;
  const body = { bed: alarm.bed, alertId: alarm.alertId, condition: alarm.condition, reason };
  if (pending.has(alarm.alertId)) return;
  if (await request("acknowledge", body, what)) pending.set(alarm.alertId, performance.now());
}

async function because(alarm) {
  const reason = await reasons.ask(alarm);
  if (reason !== null) await acknowledge(alarm, reason);
}

function settlePending(tile) {
  const open = new Map(tile.alarms.map((alarm) => [alarm.alertId, alarm.signal]));
  for (const alarm of tile.alarms) if (open.get(alarm.alertId) === "acknowledged") pending.delete(alarm.alertId);
}

function expirePending() {
  const open = new Set(strip.alarms.filter(({ signal }) => signal !== "acknowledged").map(({ alertId }) => alertId));
  for (const [id, sentAt] of pending) {
    if (!open.has(id) && ward.alarmTotal <= ward.alarms.length) pending.delete(id);
    else if (performance.now() - sentAt > PENDING_MS) {
      pending.delete(id);
      toast("The acknowledgement is recorded, but the alarm service has not answered.");
    }
  }
}

function toast(text) {
  const made = element("p", "toast", text);
  byId("toasts").append(made);
  setTimeout(() => made.remove(), 9000);
}

// ---- drawing

setInterval(() => {
  const nowMs = link.nowMs();
  setText(byId("clock"), new Date(nowMs).toLocaleTimeString([], { hour12: false }));
  if (ward) expirePending();
  strip.refresh(nowMs, pending);
  for (const tile of tiles.values()) if (tile.root.isConnected) tile.refresh(nowMs, pending);
  arrange();
}, REFRESH_MS);

let lastFrame = performance.now();
/** Frames since the page was opened, and the time spent in them: read by the tests. */
export const drawn = { frames: 0, busyMs: 0 };
globalThis.wardwatchDrawn = drawn;

function frame(now) {
  const elapsedMs = Math.min(250, now - lastFrame);
  lastFrame = now;
  const began = performance.now();
  for (const tile of tiles.values()) if (tile.root.isConnected) tile.sweep.step(elapsedMs);
  drawn.frames += 1;
  drawn.busyMs += performance.now() - began;
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
setView({});
const [, linked] = location.pathname.match(/^\/alarm\/([\w-]{1,64})$/) ?? [];
if (linked) openLinked(linked);
