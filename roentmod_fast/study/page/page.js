"use strict";
// One radiograph and its edits, compared.
(async () => {
const D = JSON.parse($("data").textContent), W = D.columns, H = D.rows, N = W * H, SIZE = 1 << D.bits;
const MODES = [["slider", "s"], ["side by side", "b"], ["flicker", "f"], ["difference", "d"]];
const FLICKER_MS = 700, SIGN = (D.slope < 0 ? -1 : 1) * (D.inverted ? -1 : 1);
D.table = await inflate(D.table);

const canvas = $("view"), cache = new DecodedCache(160e6);
const view = new View(canvas, D, {panes, scene, changed: readout, windowed, grab, dragged: (_, p) => setSplit(p[0] / canvas.width)});
const {ctx} = view, S = Object.assign(view.state, {mode: "slider", edit: 0, split: 0.5, hold: false, phase: 0, scale: 0,
  chosenScale: false, threshold: 0});
let source = null, current = null, asked = -1;

// --- pixels ----------------------------------------------------------------------------------------------------------

async function pixels(id, predictor) {
  return restore(await inflate($(id).textContent), predictor, W, H);
}

async function decodeEdit(index) {
  const found = cache.get(index);
  if (found) return found;
  const edit = D.edits[index], values = await pixels("edit" + index, edit.predictor);
  if (edit.difference) {
    const base = source.levels[0];
    for (let i = 0; i < N; i++) values[i] += base[i] - 32768;
  }
  const decoded = new Pixels(values, W, H);
  decoded.scale = scaleOf(values);
  cache.put(index, decoded);
  return decoded;
}

// A round number above nearly all differences of an edit, in the units of the window.
function scaleOf(values) {
  const base = source.levels[0], step = Math.max(1, N / 2e5 | 0), found = [];
  for (let i = 0; i < N; i += step) if (values[i] !== base[i]) found.push(Math.abs(values[i] - base[i]));
  if (!found.length) return Math.abs(D.slope) * SIZE / 16;
  found.sort((a, b) => a - b);
  const top = Math.abs(D.slope) * found[Math.min(found.length - 1, found.length * 0.995 | 0)];
  const unit = 10 ** Math.floor(Math.log10(top));
  return unit * [1, 2, 5, 10].find(f => f * unit >= top * 0.999);
}

// --- drawing ---------------------------------------------------------------------------------------------------------

function paint(kind, pane, left, right) {
  const fill = kind === "difference" ? differences : view.grey(kind === "edit" ? current : source);
  view.paint(pane, left, right, fill, () => caption(kind, left, right));
}

function differences(k, begin, end, out, o) {
  const a = source.level(k), b = current.level(k);
  for (let i = begin; i < end; i++, o++) out[o] = difference(a[i], b[i]);
}

// Red is denser, blue less dense, over the grey of the source.
function difference(a, b) {
  const d = (b - a) * Math.abs(D.slope) * SIGN, size = Math.abs(d), g = view.shades[a];
  if (size < S.threshold || size === 0) return view.colours[a];
  const t = Math.min(1, size / S.scale), mix = v => g + (v - g) * t | 0;
  return d > 0 ? 0xff000000 | mix(50) << 16 | mix(60) << 8 | mix(255) : 0xff000000 | mix(255) << 16 | mix(140) << 8 | mix(50);
}

function text(words, x, y, colour, align) {
  ctx.textAlign = align;
  ctx.lineWidth = 4;
  ctx.strokeStyle = "#000";
  ctx.strokeText(words, x, y);
  ctx.fillStyle = colour;
  ctx.fillText(words, x, y);
}

function caption(kind, left, right) {
  const size = Math.round(16 * view.ratio());
  ctx.font = `bold ${size}px system-ui,sans-serif`;
  ctx.textBaseline = "top";
  if (kind === "source") return text("SOURCE", left + size / 2, size / 2, "#ddd", "left");
  text(kind === "edit" ? "SYNTHETIC" : "SYNTHETIC (difference)", right - size / 2, size / 2, "#ffbe3c", "right");
  if (kind === "difference") legend(left, size);
}

function legend(left, size) {
  const wide = 220 * view.ratio(), x = left + size / 2, y = canvas.height - size * 4.6;
  const bar = ctx.createLinearGradient(x, 0, x + wide, 0);
  for (const [at, c] of [[0, "#328cff"], [0.5, "#000"], [1, "#ff3c32"]]) bar.addColorStop(at, c);
  ctx.fillStyle = bar;
  ctx.fillRect(x, y, wide, size);
  ctx.font = `${Math.round(size * 0.8)}px system-ui,sans-serif`;
  const s = short(S.scale);
  for (const [words, at, align] of [["-" + s, 0, "left"], ["0", 0.5, "center"], ["+" + s, 1, "right"]])
    text(words, x + wide * at, y - size, "#ddd", align);
  text("blue less dense, red denser" + (S.threshold ? `, from ${short(S.threshold)}` : ""), x, y + size * 1.3, "#ddd", "left");
}

function panes() {
  const half = canvas.width / 2;
  return S.mode === "side by side" ? [{x: 0, width: half}, {x: half, width: half}] : [{x: 0, width: canvas.width}];
}

function scene() {
  if (!current) return;
  const [first, second] = panes(), right = canvas.width;
  if (second) {
    paint("source", first, 0, first.width);
    paint(S.hold ? "source" : "edit", second, first.width, right);
  } else if (S.hold || S.mode === "flicker" && S.phase) paint("source", first, 0, right);
  else if (S.mode === "slider") {
    const at = Math.round(S.split * right);
    paint("source", first, 0, at);
    paint("edit", first, at, right);
    ctx.fillStyle = "#ffbe3c";
    ctx.fillRect(at - 1, 0, 2, canvas.height);
    ctx.fillRect(at - 5, canvas.height / 2 - 24, 10, 48);
  } else paint(S.mode === "difference" ? "difference" : "edit", first, 0, right);
}

// --- values ----------------------------------------------------------------------------------------------------------

function values(x, y) {
  if (!current || !(x >= 0 && y >= 0 && x < W && y < H)) return null;
  const unit = v => (v + D.lowest) * D.slope + D.intercept, a = source.levels[0][y * W + x], b = current.levels[0][y * W + x];
  return {x, y, before: unit(a), after: unit(b), shownBefore: view.shades[a], shownAfter: view.shades[b]};
}

function readout() {
  const v = S.pointer && values(...S.pointer);
  $("hint").textContent = view.words();
  if (!v) return void ($("value").textContent = "Value under the pointer: before and after");
  const d = v.after - v.before;
  $("value").textContent = `column ${v.x}, row ${v.y}\nbefore ${short4(v.before)} (grey ${v.shownBefore})\nafter ${short4(v.after)} ` +
    `(grey ${v.shownAfter})\nchange ${d > 0 ? "+" : ""}${short4(d)}`;
}
const short4 = v => String(+v.toFixed(4));

// --- changes of state ------------------------------------------------------------------------------------------------

function windowed(n) {
  $("preset").value = String(n);
  $("centre").value = +S.centre.toFixed(2);
  $("width").value = +S.width.toFixed(2);
}
function setMode(mode) {
  const both = S.mode === "side by side" || mode === "side by side";
  if (S.mode !== mode && both && !S.fit) S.fit = false;
  S.mode = mode;
  S.phase = 0;
  for (const b of $("modes").children) b.setAttribute("aria-pressed", String(b.textContent === mode));
  view.redraw();
}
function reset() {
  Object.assign(S, {split: 0.5, threshold: 0, chosenScale: false, scale: current.scale});
  view.reset();
}
function setScale(f) { S.scale *= f; S.chosenScale = true; view.redraw(); }
function setThreshold(up) {
  S.threshold = up ? Math.min(S.scale, S.threshold + S.scale / 10) : Math.max(0, S.threshold - S.scale / 10);
  if (S.threshold < S.scale / 100) S.threshold = 0;
  view.redraw();
}
function setSplit(v) { S.split = Math.max(0, Math.min(1, v)); view.redraw(); }

async function chooseEdit(index) {
  if (!D.edits[index]) return;
  asked = index;
  document.body.dataset.ready = "";
  const found = await decodeEdit(index);
  if (asked !== index) return;
  S.edit = index;
  current = found;
  if (!S.chosenScale) S.scale = found.scale;
  for (const b of $("edits").querySelectorAll("button")) b.setAttribute("aria-pressed", String(+b.dataset.edit === index));
  const edit = D.edits[index];
  canvas.setAttribute("aria-label", `Source and SYNTHETIC edit: ${edit.prompt}`);
  const body = $("facts").tBodies[0];
  body.textContent = "";
  for (const [name, value] of [...edit.facts, ...D.source.facts]) {
    const row = add(body, "tr");
    add(row, "th", name, {scope: "row"});
    add(row, "td", value);
  }
  view.draw();
  readout();
  document.body.dataset.ready = String(index);
}
function step(down, across) {
  if (!D.grid) return down ? chooseEdit(S.edit + down) : go(across < 0 ? D.links.previous : D.links.next);
  const {row, column} = D.edits[S.edit];
  const n = D.edits.findIndex(e => e.row === row + down && e.column === column + across);
  if (n >= 0) chooseEdit(n);
}
function go(address) { if (address) location.href = address; }

// --- keys ------------------------------------------------------------------------------------------------------------

const KEYS = [
  ...MODES.map(([mode, key]) => [[key], mode, () => setMode(mode)]),
  [[" "], "hold: show the source", () => { S.hold = true; view.redraw(); }],
  [["ArrowUp", "ArrowDown"], D.grid ? "cell above, below" : "previous, next edit", k => step(k === "ArrowUp" ? -1 : 1, 0)],
  [["ArrowLeft", "ArrowRight"], D.grid ? "cell to the left, right" : "previous, next radiograph", k => step(0, k === "ArrowLeft" ? -1 : 1)],
  [["1", "2", "3", "4", "5", "6", "7", "8", "9"], "window: " + D.windows.map(w => w[0]).join(", "), k => view.choosePreset(+k - 1)],
  ...view.keys("0"),
  [["h", "l"], "slider to the left, right", k => setSplit(S.split + (k === "h" ? -0.05 : 0.05))],
  [["<", ">"], "difference: finer, coarser scale", k => setScale(k === "<" ? 0.5 : 2)],
  [["t", "T"], "difference: threshold up, down", k => setThreshold(k === "t")],
  [["m"], "values at the centre", () => { S.pointer = [Math.floor(S.x), Math.floor(S.y)]; readout(); }],
  [["r"], "reset window and view", reset],
  [["p"], "panel", () => { $("panel").hidden = !$("panel").hidden; view.resize(); }],
  [["u"], "index of all pages", () => go(D.links.index)],
  [["?"], "these keys", () => $("help").showModal()],
];
const mouse = [MOUSE[0], ["drag the line", "slider"], ...MOUSE.slice(1)];
const bound = keyboard(KEYS, mouse, () => current);
addEventListener("keyup", event => { if (event.key === " " && S.hold) { S.hold = false; view.redraw(); } });
addEventListener("blur", () => { S.hold = false; view.redraw(); });
setInterval(() => { if (S.mode === "flicker" && !S.hold) { S.phase ^= 1; view.redraw(); } }, FLICKER_MS);

// --- pointer ---------------------------------------------------------------------------------------------------------

function grab(p) {
  return S.mode === "slider" && Math.abs(p[0] - S.split * canvas.width) < 12 * view.ratio() ? "split" : "";
}

// --- the panel -------------------------------------------------------------------------------------------------------

const button = (parent, words, act, title) => {
  const b = add(parent, "button", words, {type: "button", title: title || ""});
  // After a click the keys are the image's again; after Enter or Space the button stays in focus.
  b.addEventListener("click", event => { act(); if (event.detail) canvas.focus(); });
  return b;
};
$("title").textContent = D.title;
for (const [words, address] of [["index", D.links.index], ["previous", D.links.previous], ["next", D.links.next]])
  if (address) { add($("links"), "a", words, {href: address}); $("links").append(" "); }
for (const [mode, key] of MODES) button($("modes"), mode, () => setMode(mode), `key ${key}`);
const label = add($("windows"), "label", "Window ");
const preset = add(label, "select", undefined, {id: "preset"});
add(preset, "option", "own", {value: "-1"});
D.windows.forEach((w, n) => add(preset, "option", `${n + 1}: ${w[0]}`, {value: String(n)}));
preset.addEventListener("change", () => preset.value !== "-1" && view.choosePreset(+preset.value));
for (const id of ["centre", "width"]) {
  const input = add(add($("windows"), "label", id + " "), "input", undefined, {id, type: "number", step: "any"});
  input.addEventListener("change", () => view.setWindow(+$("centre").value, +$("width").value));
}
button($("tools"), "invert", () => view.invert());
button($("tools"), "fit", () => view.fit());
button($("tools"), "1:1", () => view.oneToOne());
button($("tools"), "reset", reset);
button($("tools"), "keys (?)", () => $("help").showModal());
if (D.grid) {
  $("panel").classList.add("wide");
  add($("edits"), "div", (D.grid.row_axis ? `${D.grid.row_axis} down, ` : "") + `${D.grid.column_axis} across`);
  const grid = add($("edits"), "table"), head = add(grid, "tr");
  add(head, "th");
  for (const name of D.grid.columns) add(head, "th", name, {scope: "col"});
  D.grid.rows.forEach((name, row) => {
    const line = add(grid, "tr");
    add(line, "th", name.replace(/ \(.*\)/, ""), {scope: "row", title: name});
    D.grid.columns.forEach((_, column) => {
      const cell = add(line, "td"), n = D.edits.findIndex(e => e.row === row && e.column === column);
      if (n < 0) return;
      button(cell, D.edits[n].label, () => chooseEdit(n), D.edits[n].name).dataset.edit = n;
    });
  });
} else D.edits.forEach((edit, n) => {
  const words = edit.changed === null ? edit.label : `${edit.label} (${(100 * edit.changed).toFixed(1)} % changed)`;
  button($("edits"), words, () => chooseEdit(n)).dataset.edit = n;
});
$("note").textContent = [D.note, D.made].filter(Boolean).join(" - ");

// --- start -----------------------------------------------------------------------------------------------------------

source = new Pixels(await pixels("source", D.predictor), W, H);
const start = +location.hash.slice(1);
await chooseEdit(D.edits[start] ? start : 0);
canvas.hidden = false;
$("first").hidden = true;
new ResizeObserver(() => view.resize()).observe($("stage"));
view.resize();
view.choosePreset(0);
setMode("slider");
addEventListener("hashchange", () => chooseEdit(+location.hash.slice(1)));
window.viewer = {state: S, values, keys: [...bound.keys()], draw: () => view.draw()};
document.body.dataset.open = "yes";
})().catch(error => {
  document.getElementById("hint").textContent = `This browser cannot show the stored values: ${error.message}`;
  document.body.dataset.failed = String(error);
});
