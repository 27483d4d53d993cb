"use strict";
// One radiograph and its edits. Pixels are stored values; a table of all values makes grey of them for every frame.
(async () => {
const $ = id => document.getElementById(id);
const D = JSON.parse($("data").textContent), W = D.columns, H = D.rows, N = W * H, SIZE = 1 << D.bits;
const canvas = $("view"), ctx = canvas.getContext("2d", {alpha: false}), scrap = document.createElement("canvas");
const MODES = [["slider", "s"], ["side by side", "b"], ["flicker", "f"], ["difference", "d"]];
const BUDGET = 160e6, FLICKER_MS = 700, SIGN = (D.slope < 0 ? -1 : 1) * (D.inverted ? -1 : 1);
const S = {mode: "slider", edit: 0, preset: 0, centre: 0, width: 1, invert: false, zoom: 1, x: W / 2, y: H / 2, fit: true,
  split: 0.5, hold: false, phase: 0, scale: 0, chosenScale: false, threshold: 0, pointer: null};

const add = (parent, tag, text, facts) => {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  Object.assign(e, facts || {});
  parent.append(e);
  return e;
};
const short = v => String(Math.abs(v) >= 100 ? Math.round(v) : +v.toPrecision(3));

// --- pixels ----------------------------------------------------------------------------------------------------------

async function inflate(text) {
  let bytes;
  if (Uint8Array.fromBase64) bytes = Uint8Array.fromBase64(text);
  else {
    const raw = atob(text);
    bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  }
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Undo the prediction: 1 left, 2 left + above - above left, 3 the median of these and above; modulo 2**16.
function restore(bytes, kind) {
  const out = new Uint16Array(N);
  let i = 0;
  for (let y = 0; y < H; y++) {
    let left = y ? out[i - W] : 0, before = left;
    for (let x = 0; x < W; x++, i++) {
      const up = y ? out[i - W] : 0, folded = bytes[i + N] << 8 | bytes[i];
      let p = left;
      if (kind > 1) {
        p = left + up - before;
        if (kind === 3) {
          const low = left < up ? left : up, high = left < up ? up : left;
          p = p < low ? low : p > high ? high : p;
        }
      }
      left = (p + (folded >>> 1 ^ -(folded & 1))) & 65535;
      before = up;
      out[i] = left;
    }
  }
  return out;
}

class Pixels {
  constructor(values) { this.levels = [values]; this.bytes = values.byteLength * 4 / 3; }
  // The image at half the size, k times over: averages of stored values, for drawing it smaller.
  level(k) {
    for (let n = this.levels.length; n <= k; n++) {
      const a = this.levels[n - 1], w = W + (1 << n - 1) - 1 >> n - 1, h = H + (1 << n - 1) - 1 >> n - 1;
      const ow = w + 1 >> 1, oh = h + 1 >> 1, out = new Uint16Array(ow * oh);
      for (let y = 0, o = 0; y < oh; y++) {
        const r = 2 * y * w, s = 2 * y + 1 < h ? r + w : r;
        for (let x = 0; x < ow; x++, o++) {
          const c = 2 * x, d = c + 1 < w ? c + 1 : c;
          out[o] = a[r + c] + a[r + d] + a[s + c] + a[s + d] + 2 >> 2;
        }
      }
      this.levels.push(out);
    }
    return this.levels[k];
  }
}

const table = await inflate(D.table), cache = new Map();
let source = null, current = null, asked = -1;

async function decodeEdit(index) {
  if (cache.has(index)) {
    const found = cache.get(index);
    cache.delete(index);
    cache.set(index, found);
    return found;
  }
  const edit = D.edits[index], values = restore(await inflate($("edit" + index).textContent), edit.predictor);
  if (edit.difference) {
    const base = source.levels[0];
    for (let i = 0; i < N; i++) values[i] += base[i] - 32768;
  }
  const pixels = new Pixels(values);
  pixels.scale = scaleOf(values);
  cache.set(index, pixels);
  let held = 0;
  for (const each of cache.values()) held += each.bytes;
  for (const [key, each] of cache) if (held > BUDGET && key !== index) { held -= each.bytes; cache.delete(key); }
  return pixels;
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

// --- grey ------------------------------------------------------------------------------------------------------------

// The window is PS3.3 C.11.2.1.2.1; the file's own view, which need not be a window, comes as a table.
function greys() {
  const out = new Uint8Array(SIZE), own = S.preset === 0, flip = D.inverted !== S.invert;
  const top = Math.max(S.width - 1, 1e-6), c = S.centre - 0.5;
  for (let v = 0; v < SIZE; v++) {
    if (own) out[v] = S.invert ? 255 - table[v] : table[v];
    else {
      const t = ((v + D.lowest) * D.slope + D.intercept - c) / top + 0.5, g = t < 0 ? 0 : t > 1 ? 1 : t;
      out[v] = Math.round(255 * (flip ? 1 - g : g));
    }
  }
  if (D.padding) out.fill(0, D.padding[0], D.padding[1] + 1);
  return out;
}

let shades = null, colours = null;
function refresh() {
  shades = greys();
  colours = new Uint32Array(SIZE);
  for (let v = 0; v < SIZE; v++) colours[v] = 0xff000000 | shades[v] << 16 | shades[v] << 8 | shades[v];
}

// --- drawing ---------------------------------------------------------------------------------------------------------

// Draw one image into the part from left to right of a pane; a pane is where a whole image would be.
function paint(kind, pane, left, right) {
  if (right <= left) return;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, 0, right - left, canvas.height);
  ctx.clip();
  const zx = S.zoom, zy = S.zoom * D.aspect, mx = pane.x + pane.width / 2, my = canvas.height / 2;
  const k = Math.max(0, Math.min(8, Math.floor(Math.log2(1 / Math.max(zx, zy)) + 1e-9))), f = 1 << k;
  const w = W + f - 1 >> k, h = H + f - 1 >> k;
  const clamp = (v, top) => Math.max(0, Math.min(top, v));
  const x0 = clamp(Math.floor(((left - mx) / zx + S.x) / f), w), x1 = clamp(Math.ceil(((right - mx) / zx + S.x) / f) + 1, w);
  const y0 = clamp(Math.floor((-my / zy + S.y) / f), h), y1 = clamp(Math.ceil((my / zy + S.y) / f) + 1, h);
  if (x1 > x0 && y1 > y0) {
    const part = new ImageData(x1 - x0, y1 - y0), out = new Uint32Array(part.data.buffer);
    const a = source.level(k), b = current.level(k), from = kind === "edit" ? b : a;
    for (let y = y0, o = 0; y < y1; y++) {
      for (let i = y * w + x0, end = y * w + x1; i < end; i++, o++) {
        out[o] = kind === "difference" ? difference(a[i], b[i]) : colours[from[i]];
      }
    }
    scrap.width = part.width;
    scrap.height = part.height;
    scrap.getContext("2d").putImageData(part, 0, 0);
    const whole = k === 0 && Number.isInteger(zx) && D.aspect === 1, at = v => whole ? Math.round(v) : v;
    ctx.imageSmoothingEnabled = !(k === 0 && zx >= 2) && !whole;
    ctx.imageSmoothingQuality = "high";
    ctx.drawImage(scrap, at(mx + (x0 * f - S.x) * zx), at(my + (y0 * f - S.y) * zy), part.width * f * zx, part.height * f * zy);
  }
  caption(kind, left, right);
  ctx.restore();
}

// Red is denser, blue less dense, over the grey of the source.
function difference(a, b) {
  const d = (b - a) * Math.abs(D.slope) * SIGN, size = Math.abs(d), g = shades[a];
  if (size < S.threshold || size === 0) return colours[a];
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
  const size = Math.round(16 * ratio());
  ctx.font = `bold ${size}px system-ui,sans-serif`;
  ctx.textBaseline = "top";
  if (kind === "source") return text("SOURCE", left + size / 2, size / 2, "#ddd", "left");
  text(kind === "edit" ? "SYNTHETIC" : "SYNTHETIC (difference)", right - size / 2, size / 2, "#ffbe3c", "right");
  if (kind === "difference") legend(left, size);
}

function legend(left, size) {
  const wide = 220 * ratio(), x = left + size / 2, y = canvas.height - size * 4.6;
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

const ratio = () => canvas.width / Math.max(1, canvas.clientWidth);
const panes = () => S.mode === "side by side"
  ? [{x: 0, width: canvas.width / 2}, {x: canvas.width / 2, width: canvas.width / 2}] : [{x: 0, width: canvas.width}];

function draw() {
  if (!current) return;
  const [first, second] = panes(), right = canvas.width;
  if (S.fit) {
    S.zoom = Math.min(first.width / W, canvas.height / (H * D.aspect));
    S.x = W / 2;
    S.y = H / 2;
  }
  ctx.fillStyle = "#000";
  ctx.fillRect(0, 0, canvas.width, canvas.height);
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

let waiting = 0;
const redraw = () => { waiting = waiting || requestAnimationFrame(() => { waiting = 0; draw(); readout(); }); };

function resize() {
  const dpr = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(canvas.clientWidth * dpr));
  canvas.height = Math.max(1, Math.round(canvas.clientHeight * dpr));
  draw();
}

// --- values ----------------------------------------------------------------------------------------------------------

function at(px, py) {
  const pane = panes().find(p => px >= p.x && px < p.x + p.width) || panes()[0];
  return [Math.floor((px - pane.x - pane.width / 2) / S.zoom + S.x),
    Math.floor((py - canvas.height / 2) / (S.zoom * D.aspect) + S.y)];
}

function values(x, y) {
  if (!current || !(x >= 0 && y >= 0 && x < W && y < H)) return null;
  const unit = v => (v + D.lowest) * D.slope + D.intercept, a = source.levels[0][y * W + x], b = current.levels[0][y * W + x];
  return {x, y, before: unit(a), after: unit(b), shownBefore: shades[a], shownAfter: shades[b]};
}

function readout() {
  const v = S.pointer && values(...S.pointer);
  $("hint").textContent = `window ${short(S.centre)} / ${short(S.width)} - zoom ${Math.round(100 * S.zoom)} %` + (S.invert ? " - inverted" : "");
  if (!v) return void ($("value").textContent = "Value under the pointer: before and after");
  const d = v.after - v.before;
  $("value").textContent = `column ${v.x}, row ${v.y}\nbefore ${short4(v.before)} (grey ${v.shownBefore})\nafter ${short4(v.after)} ` +
    `(grey ${v.shownAfter})\nchange ${d > 0 ? "+" : ""}${short4(d)}`;
}
const short4 = v => String(+v.toFixed(4));

// --- changes of state ------------------------------------------------------------------------------------------------

function choosePreset(n) {
  if (n >= D.windows.length) return;
  S.preset = n;
  [, S.centre, S.width] = D.windows[n];
  shown(n);
}
function setWindow(centre, width) {
  S.preset = -1;
  S.centre = centre;
  S.width = Math.max(1, width);
  shown(-1);
}
function shown(n) {
  $("preset").value = String(n);
  $("centre").value = +S.centre.toFixed(2);
  $("width").value = +S.width.toFixed(2);
  refresh();
  redraw();
}
function setMode(mode) {
  const both = S.mode === "side by side" || mode === "side by side";
  if (S.mode !== mode && both && !S.fit) S.fit = false;
  S.mode = mode;
  S.phase = 0;
  for (const b of $("modes").children) b.setAttribute("aria-pressed", String(b.textContent === mode));
  redraw();
}
function zoomBy(f, px = canvas.width / panes().length / 2, py = canvas.height / 2) {
  const pane = panes().find(p => px >= p.x && px < p.x + p.width) || panes()[0];
  const dx = px - pane.x - pane.width / 2, dy = py - canvas.height / 2, zoom = Math.max(0.02, Math.min(40, S.zoom * f));
  S.x += dx / S.zoom - dx / zoom;
  S.y += (dy / S.zoom - dy / zoom) / D.aspect;
  S.zoom = zoom;
  S.fit = false;
  redraw();
}
function panBy(dx, dy) {
  S.x = Math.max(0, Math.min(W, S.x - dx / S.zoom));
  S.y = Math.max(0, Math.min(H, S.y - dy / (S.zoom * D.aspect)));
  S.fit = false;
  redraw();
}
function oneToOne() { S.fit = false; S.zoom = 1; S.x = Math.round(S.x); S.y = Math.round(S.y); redraw(); }
function fit() { S.fit = true; redraw(); }
function reset() {
  Object.assign(S, {invert: false, split: 0.5, threshold: 0, chosenScale: false, scale: current.scale, fit: true});
  choosePreset(0);
}
function setScale(f) { S.scale *= f; S.chosenScale = true; redraw(); }
function setThreshold(up) {
  S.threshold = up ? Math.min(S.scale, S.threshold + S.scale / 10) : Math.max(0, S.threshold - S.scale / 10);
  if (S.threshold < S.scale / 100) S.threshold = 0;
  redraw();
}
function setSplit(v) { S.split = Math.max(0, Math.min(1, v)); redraw(); }

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
  draw();
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

const STEP = 40;
const KEYS = [
  ...MODES.map(([mode, key]) => [[key], mode, () => setMode(mode)]),
  [[" "], "hold: show the source", () => { S.hold = true; redraw(); }],
  [["ArrowUp", "ArrowDown"], D.grid ? "cell above, below" : "previous, next edit", k => step(k === "ArrowUp" ? -1 : 1, 0)],
  [["ArrowLeft", "ArrowRight"], D.grid ? "cell to the left, right" : "previous, next radiograph", k => step(0, k === "ArrowLeft" ? -1 : 1)],
  [["1", "2", "3", "4", "5", "6", "7", "8", "9"], "window: " + D.windows.map(w => w[0]).join(", "), k => choosePreset(+k - 1)],
  [["[", "]"], "window narrower, wider", k => setWindow(S.centre, S.width * (k === "[" ? 1 / 1.1 : 1.1))],
  [[",", "."], "darker, brighter", k => setWindow(S.centre + (k === "," ? 1 : -1) * flipped() * S.width / 20, S.width)],
  [["i"], "invert", () => { S.invert = !S.invert; refresh(); redraw(); }],
  [["+", "=", "-"], "zoom in, in, out", k => zoomBy(k === "-" ? 1 / 1.25 : 1.25)],
  [["0"], "fit", fit],
  [["x"], "one pixel to one pixel", oneToOne],
  [["Shift+ArrowLeft", "Shift+ArrowRight", "Shift+ArrowUp", "Shift+ArrowDown"], "pan", k => panBy(
    (k.endsWith("Left") ? STEP : k.endsWith("Right") ? -STEP : 0) * ratio(), (k.endsWith("Up") ? STEP : k.endsWith("Down") ? -STEP : 0) * ratio())],
  [["h", "l"], "slider to the left, right", k => setSplit(S.split + (k === "h" ? -0.05 : 0.05))],
  [["<", ">"], "difference: finer, coarser scale", k => setScale(k === "<" ? 0.5 : 2)],
  [["t", "T"], "difference: threshold up, down", k => setThreshold(k === "t")],
  [["m"], "values at the centre", () => { S.pointer = [Math.floor(S.x), Math.floor(S.y)]; readout(); }],
  [["r"], "reset window and view", reset],
  [["p"], "panel", () => { $("panel").hidden = !$("panel").hidden; resize(); }],
  [["u"], "index of all pages", () => go(D.links.index)],
  [["?"], "these keys", () => $("help").showModal()],
];
const flipped = () => D.inverted !== S.invert ? -1 : 1;
const bound = new Map(KEYS.flatMap(([keys, , act]) => keys.map(key => [key, act])));
const named = key => ({" ": "Space", ArrowUp: "\u2191", ArrowDown: "\u2193", ArrowLeft: "\u2190", ArrowRight: "\u2192"})[key] || key.replace("Arrow", "");

addEventListener("keydown", event => {
  const tag = event.target.tagName;
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open || tag === "INPUT" || tag === "SELECT") return;
  if (event.key === " " && (tag === "BUTTON" || tag === "A")) return;
  const act = bound.get(event.shiftKey && event.key.startsWith("Arrow") ? "Shift+" + event.key : event.key);
  if (!act || !current) return;
  event.preventDefault();
  act(event.key);
});
addEventListener("keyup", event => { if (event.key === " " && S.hold) { S.hold = false; redraw(); } });
addEventListener("blur", () => { S.hold = false; redraw(); });
setInterval(() => { if (S.mode === "flicker" && !S.hold) { S.phase ^= 1; redraw(); } }, FLICKER_MS);

// --- pointer ---------------------------------------------------------------------------------------------------------

const fingers = new Map();
let drag = "";
const place = event => { const r = canvas.getBoundingClientRect(); return [(event.clientX - r.left) * ratio(), (event.clientY - r.top) * ratio()]; };
canvas.addEventListener("pointerdown", event => {
  canvas.setPointerCapture(event.pointerId);
  const p = place(event);
  fingers.set(event.pointerId, p);
  const onSplit = S.mode === "slider" && Math.abs(p[0] - S.split * canvas.width) < 12 * ratio();
  drag = fingers.size > 1 ? "pinch" : event.button || event.shiftKey ? "pan" : onSplit ? "split" : "window";
});
canvas.addEventListener("pointermove", event => {
  const p = place(event), old = fingers.get(event.pointerId);
  S.pointer = at(...p);
  if (old) {
    const dx = p[0] - old[0], dy = p[1] - old[1];
    if (drag === "split") setSplit(p[0] / canvas.width);
    else if (drag === "pan") panBy(dx, dy);
    else if (drag === "window") {
      // As in a PACS: to the right is wider, up is brighter; the same way on the screen for every depth.
      const pace = D.windows[D.windows.length > 2 ? 2 : 0][2] / 400 / ratio();
      setWindow(S.centre + dy * pace * flipped(), S.width + dx * pace);
    } else if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const far = q => Math.hypot(q[0] - other[0], q[1] - other[1]);
      zoomBy(far(p) / Math.max(1, far(old)), (p[0] + other[0]) / 2, (p[1] + other[1]) / 2);
      panBy(dx / 2, dy / 2);
    }
    fingers.set(event.pointerId, p);
  }
  redraw();
});
for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, event => fingers.delete(event.pointerId));
canvas.addEventListener("pointerleave", () => { S.pointer = null; readout(); });
canvas.addEventListener("contextmenu", event => event.preventDefault());
canvas.addEventListener("dblclick", fit);
canvas.addEventListener("wheel", event => { event.preventDefault(); zoomBy(Math.exp(-event.deltaY * 0.0015), ...place(event)); }, {passive: false});

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
preset.addEventListener("change", () => preset.value !== "-1" && choosePreset(+preset.value));
for (const id of ["centre", "width"]) {
  const input = add(add($("windows"), "label", id + " "), "input", undefined, {id, type: "number", step: "any"});
  input.addEventListener("change", () => setWindow(+$("centre").value, +$("width").value));
}
button($("tools"), "invert", () => bound.get("i")());
button($("tools"), "fit", fit);
button($("tools"), "1:1", oneToOne);
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
const MOUSE = [["drag", "window: across width, up brighter"], ["drag the line", "slider"], ["right or Shift drag", "pan"],
  ["wheel, pinch", "zoom"], ["double click", "fit"]];
const list = $("help").querySelector("tbody");
for (const [keys, words] of [...KEYS, ...MOUSE]) {
  const row = add(list, "tr"), head = add(row, "th", undefined, {scope: "row"});
  const all = Array.isArray(keys) ? keys.map(named) : [keys];
  for (const key of all.length > 4 ? [all[0] + "-" + all[all.length - 1]] : all) { add(head, "kbd", key); head.append(" "); }
  add(row, "td", words);
}
$("close").addEventListener("click", () => $("help").close());

// --- start -----------------------------------------------------------------------------------------------------------

source = new Pixels(restore(await inflate($("source").textContent), D.predictor));
[, S.centre, S.width] = D.windows[0];
refresh();
const start = +location.hash.slice(1);
await chooseEdit(D.edits[start] ? start : 0);
canvas.hidden = false;
$("first").hidden = true;
new ResizeObserver(resize).observe($("stage"));
resize();
choosePreset(0);
setMode("slider");
addEventListener("hashchange", () => chooseEdit(+location.hash.slice(1)));
window.viewer = {state: S, values, at, keys: [...bound.keys()], draw};
document.body.dataset.open = "yes";
})().catch(error => {
  document.getElementById("hint").textContent = `This browser cannot show the stored values: ${error.message}`;
  document.body.dataset.failed = String(error);
});
