"use strict";
// A viewer of radiographs, as pages share it: pixels, grey, window, zoom and pan, pointer, keys.
const $ = id => document.getElementById(id);
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
function restore(bytes, kind, W, H) {
  const N = W * H, out = new Uint16Array(N);
  let i = 0;
  for (let y = 0; y < H; y++) {
    let left = y ? out[i - W] : 0, before = left;
    if (kind === 1) {
      for (const end = i + W; i < end; i++) {
        const folded = bytes[i + N] << 8 | bytes[i];
        out[i] = left = left + (folded >>> 1 ^ -(folded & 1)) & 65535;
      }
      continue;
    }
    for (let x = 0; x < W; x++, i++) {
      const up = y ? out[i - W] : 0, folded = bytes[i + N] << 8 | bytes[i];
      let p = left + up - before;
      if (kind === 3) {
        const low = left < up ? left : up, high = left < up ? up : left;
        p = p < low ? low : p > high ? high : p;
      }
      left = (p + (folded >>> 1 ^ -(folded & 1))) & 65535;
      before = up;
      out[i] = left;
    }
  }
  return out;
}

class Pixels {
  constructor(values, columns, rows) {
    Object.assign(this, {levels: [values], columns, rows, bytes: values.byteLength * 4 / 3});
  }
  // The image at half the size, k times over: averages of stored values, for drawing it smaller.
  level(k) {
    for (let n = this.levels.length; n <= k; n++) {
      const a = this.levels[n - 1], w = this.columns + (1 << n - 1) - 1 >> n - 1, h = this.rows + (1 << n - 1) - 1 >> n - 1;
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

// Decoded images by key: the latest ones that fit in a budget of bytes.
class DecodedCache {
  constructor(budget) { Object.assign(this, {budget, held: new Map()}); }
  get(key) {
    const found = this.held.get(key);
    if (found) this.put(key, found);
    return found;
  }
  put(key, pixels) {
    this.held.delete(key);
    this.held.set(key, pixels);
    let bytes = 0;
    for (const each of this.held.values()) bytes += each.bytes;
    for (const [old, each] of this.held) if (bytes > this.budget && old !== key) { bytes -= each.bytes; this.held.delete(old); }
  }
}

// --- window, zoom, pan -----------------------------------------------------------------------------------------------

// One canvas. image: columns, rows, aspect, bits, lowest, slope, intercept, inverted, padding, windows (name, centre,
// width), and table, the grey of each value in the first window where that is none by the formula.
// page: panes() where whole images would be (x, width; y, height where they are not as high as the canvas), scene()
// draws them, changed() after each frame, windowed(preset), grab(place) names a drag of the page's own and
// dragged(name, place) follows it.
class View {
  constructor(canvas, image, page) {
    Object.assign(this, {canvas, page, ctx: canvas.getContext("2d", {alpha: false}), scrap: document.createElement("canvas"), parts: [], state: {}});
    this.load(image);
    this.listen();
  }
  // Show another image; kept: the state in which it was left.
  load(image, kept) {
    Object.assign(this, {image, shades: new Uint8Array(1 << image.bits), colours: new Uint32Array(1 << image.bits)});
    Object.assign(this.state, kept || {preset: 0, centre: image.windows[0][1], width: image.windows[0][2], invert: false, zoom: 1,
      x: image.columns / 2, y: image.rows / 2, fit: true}, {pointer: null});
    this.refresh();
  }
  ratio() { return this.canvas.width / Math.max(1, this.canvas.clientWidth); }
  flipped() { return this.image.inverted !== this.state.invert ? -1 : 1; }

  // The window is PS3.3 C.11.2.1.2.1; the file's own view, which need not be a window, comes as a table.
  refresh() {
    const {image: D, state: S, shades: out, colours} = this, own = D.table && S.preset === 0, flip = D.inverted !== S.invert;
    const top = Math.max(S.width - 1, 1e-6), c = S.centre - 0.5;
    for (let v = 0; v < out.length; v++) {
      if (own) out[v] = S.invert ? 255 - D.table[v] : D.table[v];
      else {
        const t = ((v + D.lowest) * D.slope + D.intercept - c) / top + 0.5, g = t < 0 ? 0 : t > 1 ? 1 : t;
        out[v] = Math.round(255 * (flip ? 1 - g : g));
      }
    }
    if (D.padding) out.fill(0, D.padding[0], D.padding[1] + 1);
    for (let v = 0; v < out.length; v++) colours[v] = 0xff000000 | out[v] << 16 | out[v] << 8 | out[v];
  }

  // Draw one image into the part from left to right of a pane. fill(level, begin, end, out, o): colours of a row's part.
  paint(pane, left, right, fill, over) {
    if (right <= left) return;
    const {ctx, canvas, scrap, state: S, image: {columns: W, rows: H, aspect}} = this;
    const {y: top = 0, height = canvas.height} = pane;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, right - left, height);
    ctx.clip();
    const zx = S.zoom, zy = S.zoom * aspect, [mx, my] = this.middle(pane);
    const k = Math.max(0, Math.min(8, Math.floor(Math.log2(1 / Math.max(zx, zy)) + 1e-9))), f = 1 << k;
    const w = W + f - 1 >> k, h = H + f - 1 >> k;
    const clamp = (v, top) => Math.max(0, Math.min(top, v));
    const x0 = clamp(Math.floor(((left - mx) / zx + S.x) / f), w), x1 = clamp(Math.ceil(((right - mx) / zx + S.x) / f) + 1, w);
    const y0 = clamp(Math.floor(((top - my) / zy + S.y) / f), h), y1 = clamp(Math.ceil(((top + height - my) / zy + S.y) / f) + 1, h);
    if (x1 > x0 && y1 > y0) {
      const part = this.part(x1 - x0, y1 - y0), out = new Uint32Array(part.data.buffer);
      for (let y = y0; y < y1; y++) fill(k, y * w + x0, y * w + x1, out, (y - y0) * part.width);
      if (scrap.width !== part.width || scrap.height !== part.height) Object.assign(scrap, {width: part.width, height: part.height});
      scrap.getContext("2d").putImageData(part, 0, 0);
      const whole = k === 0 && Number.isInteger(zx) && aspect === 1, at = v => whole ? Math.round(v) : v;
      ctx.imageSmoothingEnabled = !(k === 0 && zx >= 2) && !whole;
      ctx.imageSmoothingQuality = "high";
      ctx.drawImage(scrap, at(mx + (x0 * f - S.x) * zx), at(my + (y0 * f - S.y) * zy), part.width * f * zx, part.height * f * zy);
    }
    if (over) over();
    ctx.restore();
  }
  // Pixels to fill; those of the last frames again, where they are as large: every pixel is written.
  part(width, height) {
    const found = this.parts.find(p => p.width === width && p.height === height) || new ImageData(width, height);
    this.parts = [found, ...this.parts.filter(p => p !== found)].slice(0, 2);
    return found;
  }
  grey(pixels) {
    return (k, begin, end, out, o) => {
      const from = pixels.level(k), colours = this.colours;
      for (let i = begin; i < end; i++, o++) out[o] = colours[from[i]];
    };
  }
  draw() {
    const {ctx, canvas, state: S, image: {columns, rows, aspect}} = this;
    if (S.fit) {
      const {width, height = canvas.height} = this.page.panes()[0];
      S.zoom = Math.min(width / columns, height / (rows * aspect));
      S.x = columns / 2;
      S.y = rows / 2;
    }
    ctx.fillStyle = "#000";
    ctx.fillRect(0, 0, canvas.width, canvas.height);
    this.page.scene();
  }
  redraw() {
    this.waiting = this.waiting || requestAnimationFrame(() => { this.waiting = 0; this.draw(); this.page.changed(); });
  }
  resize() {
    const dpr = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * dpr));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * dpr));
    this.draw();
  }
  words() {
    const S = this.state;
    return `window ${short(S.centre)} / ${short(S.width)} - zoom ${Math.round(100 * S.zoom)} %` + (S.invert ? " - inverted" : "");
  }
  pane(px, py) {
    const all = this.page.panes();
    return all.find(({x, y = 0, width, height = this.canvas.height}) => px >= x && px < x + width && py >= y && py < y + height) || all[0];
  }
  middle({x, y = 0, width, height = this.canvas.height}) { return [x + width / 2, y + height / 2]; }
  // The pixel at a place of the canvas.
  at(px, py) {
    const S = this.state, [mx, my] = this.middle(this.pane(px, py));
    return [Math.floor((px - mx) / S.zoom + S.x), Math.floor((py - my) / (S.zoom * this.image.aspect) + S.y)];
  }

  choosePreset(n) {
    if (n >= this.image.windows.length) return;
    [, this.state.centre, this.state.width] = this.image.windows[n];
    this.windowed(n);
  }
  setWindow(centre, width) {
    this.state.centre = centre;
    this.state.width = Math.max(1, width);
    this.windowed(-1);
  }
  windowed(n) {
    this.state.preset = n;
    this.page.windowed(n);
    this.refresh();
    this.redraw();
  }
  invert() { this.state.invert = !this.state.invert; this.refresh(); this.redraw(); }
  zoomBy(f, px, py) {
    const S = this.state, zoom = Math.max(0.02, Math.min(40, S.zoom * f));
    const [mx, my] = this.middle(this.pane(px, py)), dx = px === undefined ? 0 : px - mx, dy = py === undefined ? 0 : py - my;
    S.x += dx / S.zoom - dx / zoom;
    S.y += (dy / S.zoom - dy / zoom) / this.image.aspect;
    S.zoom = zoom;
    S.fit = false;
    this.redraw();
  }
  panBy(dx, dy) {
    const S = this.state, {columns, rows, aspect} = this.image;
    S.x = Math.max(0, Math.min(columns, S.x - dx / S.zoom));
    S.y = Math.max(0, Math.min(rows, S.y - dy / (S.zoom * aspect)));
    S.fit = false;
    this.redraw();
  }
  oneToOne() {
    const S = this.state;
    Object.assign(S, {fit: false, zoom: 1, x: Math.round(S.x), y: Math.round(S.y)});
    this.redraw();
  }
  fit() { this.state.fit = true; this.redraw(); }
  reset() { Object.assign(this.state, {invert: false, fit: true}); this.choosePreset(0); }

  // Keys as keyboard() takes them.
  keys(fit) {
    const S = this.state, step = 40;
    return [
      [["[", "]"], "window narrower, wider", k => this.setWindow(S.centre, S.width * (k === "[" ? 1 / 1.1 : 1.1))],
      [[",", "."], "darker, brighter", k => this.setWindow(S.centre + (k === "," ? 1 : -1) * this.flipped() * S.width / 20, S.width)],
      [["i"], "invert", () => this.invert()],
      [["+", "=", "-"], "zoom in, in, out", k => this.zoomBy(k === "-" ? 1 / 1.25 : 1.25)],
      [[fit], "fit", () => this.fit()],
      [["x"], "one pixel to one pixel", () => this.oneToOne()],
      [["Shift+ArrowLeft", "Shift+ArrowRight", "Shift+ArrowUp", "Shift+ArrowDown"], "pan", k => this.panBy(
        (k.endsWith("Left") ? step : k.endsWith("Right") ? -step : 0) * this.ratio(),
        (k.endsWith("Up") ? step : k.endsWith("Down") ? -step : 0) * this.ratio())],
    ];
  }

  listen() {
    const {canvas, state: S} = this, fingers = new Map();
    let drag = "";
    const place = event => {
      const r = canvas.getBoundingClientRect();
      return [(event.clientX - r.left) * this.ratio(), (event.clientY - r.top) * this.ratio()];
    };
    canvas.addEventListener("pointerdown", event => {
      canvas.setPointerCapture(event.pointerId);
      const p = place(event);
      fingers.set(event.pointerId, p);
      drag = fingers.size > 1 ? "pinch" : event.button || event.shiftKey ? "pan" : this.page.grab && this.page.grab(p) || "window";
    });
    canvas.addEventListener("pointermove", event => {
      const p = place(event), old = fingers.get(event.pointerId);
      S.pointer = this.at(...p);
      if (old) {
        const dx = p[0] - old[0], dy = p[1] - old[1];
        if (drag === "pan") this.panBy(dx, dy);
        else if (drag === "window") {
          // As in a PACS: to the right is wider, up is brighter; the same way on the screen for every depth.
          const {windows} = this.image, pace = windows[windows.length > 2 ? 2 : 0][2] / 400 / this.ratio();
          this.setWindow(S.centre + dy * pace * this.flipped(), S.width + dx * pace);
        } else if (drag !== "pinch") this.page.dragged(drag, p);
        else if (fingers.size === 2) {
          const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
          const far = q => Math.hypot(q[0] - other[0], q[1] - other[1]);
          this.zoomBy(far(p) / Math.max(1, far(old)), (p[0] + other[0]) / 2, (p[1] + other[1]) / 2);
          this.panBy(dx / 2, dy / 2);
        }
        fingers.set(event.pointerId, p);
      }
      this.redraw();
    });
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, event => fingers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => { S.pointer = null; this.page.changed(); });
    canvas.addEventListener("contextmenu", event => event.preventDefault());
    canvas.addEventListener("dblclick", () => this.fit());
    canvas.addEventListener("wheel", event => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY * 0.0015), ...place(event));
    }, {passive: false});
  }
}

// --- keys ------------------------------------------------------------------------------------------------------------

const NAMES = {" ": "Space", ArrowUp: "\u2191", ArrowDown: "\u2193", ArrowLeft: "\u2190", ArrowRight: "\u2192"};
const MOUSE = [["drag", "window: across width, up brighter"], ["right or Shift drag", "pan"], ["wheel, pinch", "zoom"], ["double click", "fit"]];
const typing = e => e.tagName === "SELECT" || e.tagName === "TEXTAREA" || e.tagName === "INPUT" && e.type !== "radio";

// Bind keys: [names, words, act] each, and list them with what the mouse does in the dialog of help.
function keyboard(keys, mouse, ready) {
  const bound = new Map(keys.flatMap(([names, , act]) => names.map(name => [name, act])));
  addEventListener("keydown", event => {
    const at = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]") || typing(at)) return;
    if ((event.key === " " || event.key === "Enter") && (at.tagName === "BUTTON" || at.tagName === "A")) return;
    let {key} = event;
    // Keyboards with digits on Shift (French) or without Latin letters: the place of the key counts.
    const place = /^(?:Digit(\d)|Key([A-Z]))$/.exec(event.code);
    if (place && !event.shiftKey && !bound.has(key) && (place[1] || key > "\x7f")) key = place[1] || place[2].toLowerCase();
    const act = bound.get(event.shiftKey && key.startsWith("Arrow") ? "Shift+" + key : key);
    if (!act || !ready()) return;
    event.preventDefault();
    act(key, event.repeat);
  });
  const list = $("help").querySelector("tbody");
  for (const [names, words] of [...keys, ...mouse]) {
    const row = add(list, "tr"), head = add(row, "th", undefined, {scope: "row"});
    const all = Array.isArray(names) ? names.map(key => key.replace(/^Shift\+/, "") in NAMES ? key.replace(/(Shift\+)?(.*)/, (_, shift, name) => (shift || "") + NAMES[name]) : key) : [names];
    for (const key of all.length > 4 ? [all[0] + "-" + all[all.length - 1]] : all) { add(head, "kbd", key); head.append(" "); }
    add(row, "td", words);
  }
  $("close").addEventListener("click", () => $("help").close());
  return bound;
}
