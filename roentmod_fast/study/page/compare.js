"use strict";
// Two images compared in one view, as pages share it: slider, side by side, flicker, difference; all side by side.
const MODES = [["slider", "s"], ["side by side", "b"], ["flicker", "f"], ["difference", "d"]];
const FLICKER_MS = 700, AMBER = "#ffbe3c";
const COMPARISON_MOUSE = [MOUSE[0], ["drag the line", "slider"], ...MOUSE.slice(1)];
const short4 = v => String(+v.toFixed(4));

// Stored values by what a page holds of them: by themselves, or as differences from those of a source.
async function decodeValues(text, {predictor, difference}, W, H, source) {
  const values = restore(await inflate(text), predictor, W, H);
  if (difference) for (let i = 0; i < values.length; i++) values[i] += source[i] - 32768;
  return values;
}

// first and second: {pixels, synthetic, words}. all: those that mode "all" shows, the same way.
// page: changed(), windowed(preset), moded(mode); and if it likes grab, dragged, and over(shown, pane) within a pane.
class Comparison {
  constructor(canvas, image, page) {
    Object.assign(this, {canvas, page, first: null, second: null, all: []});
    this.view = new View(canvas, image, {panes: () => this.panes(), scene: () => this.scene(), changed: page.changed, windowed: page.windowed,
      grab: p => page.grab && page.grab(p) || this.grab(p),
      dragged: (name, p) => name === "split" ? this.setSplit(p[0] / canvas.width) : page.dragged(name, p)});
    this.state = Object.assign(this.view.state, {mode: "slider", split: 0.5, hold: false, phase: 0, scale: 0, chosenScale: false, threshold: 0});
    const release = () => { if (this.state.hold) { this.state.hold = false; this.view.redraw(); } };
    addEventListener("keyup", event => { if (event.key === " ") release(); });
    addEventListener("blur", release);
    setInterval(() => { if (this.state.mode === "flicker" && !this.state.hold) { this.state.phase ^= 1; this.view.redraw(); } }, FLICKER_MS);
  }
  show(first, second) {
    Object.assign(this, {first, second});
    this.fitted = second && this.scaleOf();
    if (second && !this.state.chosenScale) this.state.scale = this.fitted;
  }

  // A round number above nearly all differences, in the units of the window.
  scaleOf() {
    const a = this.first.pixels.levels[0], b = this.second.pixels.levels[0], step = Math.max(1, a.length / 2e5 | 0), found = [];
    const {slope, bits} = this.view.image;
    for (let i = 0; i < a.length; i += step) if (a[i] !== b[i]) found.push(Math.abs(b[i] - a[i]));
    if (!found.length) return Math.abs(slope) * (1 << bits) / 16;
    found.sort((a, b) => a - b);
    const top = Math.abs(slope) * found[Math.min(found.length - 1, found.length * 0.995 | 0)];
    const unit = 10 ** Math.floor(Math.log10(top));
    return unit * [1, 2, 5, 10].find(f => f * unit >= top * 0.999);
  }

  // --- drawing -------------------------------------------------------------------------------------------------------

  panes() {
    const {width, height} = this.canvas, {mode} = this.state;
    if (mode === "all" && this.all.length > 1) {
      const {columns, rows, aspect} = this.view.image, n = this.all.length, ratio = columns / (rows * aspect);
      // As many beside each other as show the images largest.
      let across = 1, best = 0;
      for (let c = 1; c <= n; c++) {
        const size = Math.min(width / c / ratio, height / Math.ceil(n / c));
        if (size > best) [across, best] = [c, size];
      }
      const down = Math.ceil(n / across), w = width / across, h = height / down;
      return this.all.map((_, i) => ({x: i % across * w, y: Math.floor(i / across) * h, width: w, height: h}));
    }
    return mode === "side by side" && this.second ? [{x: 0, width: width / 2}, {x: width / 2, width: width / 2}] : [{x: 0, width}];
  }
  scene() {
    const {first, second, canvas, view: {ctx}, state: S} = this, panes = this.panes(), right = canvas.width;
    if (!first) return;
    const shown = (image, pane, left = pane.x, end = pane.x + pane.width) => this.paint(image, pane, left, end);
    if (panes.length > 1 && S.mode === "all") {
      this.all.forEach((each, i) => shown(S.hold ? first : each, panes[i]));
      ctx.fillStyle = "#444";
      for (const p of panes) { if (p.x) ctx.fillRect(p.x, p.y, 1, p.height); if (p.y) ctx.fillRect(p.x, p.y, p.width, 1); }
    } else if (panes.length > 1) {
      shown(first, panes[0]);
      shown(S.hold ? first : second, panes[1]);
    } else if (!second || S.hold || S.mode === "flicker" && S.phase) shown(first, panes[0]);
    else if (S.mode === "slider") {
      const at = Math.round(S.split * right);
      shown(first, panes[0], 0, at);
      shown(second, panes[0], at, right);
      ctx.fillStyle = AMBER;
      ctx.fillRect(at - 1, 0, 2, canvas.height);
      ctx.fillRect(at - 5, canvas.height / 2 - 24, 10, 48);
    } else shown(S.mode === "difference" ? {...second, synthetic: true, difference: true} : second, panes[0]);
  }
  paint(image, pane, left, right) {
    if (right <= left) return;
    const fill = image.difference ? (...a) => this.differences(...a) : this.view.grey(image.pixels);
    this.view.paint(pane, left, right, fill, () => {
      if (this.page.over) this.page.over(image, pane);
      if (!image.synthetic) this.caption(image, pane, left, right);
    });
    // Outside of the part, so that the slider never covers the mark.
    if (image.synthetic) this.caption(image, pane, left, right);
    if (image.difference) this.legend(left);
  }
  differences(k, begin, end, out, o) {
    const a = this.first.pixels.level(k), b = this.second.pixels.level(k);
    for (let i = begin; i < end; i++, o++) out[o] = this.difference(a[i], b[i]);
  }
  // Red is denser, blue less dense, over the grey of the first.
  difference(a, b) {
    const {view: {image, shades, colours}, state: S} = this, g = shades[a];
    const d = (b - a) * image.slope * (image.inverted ? -1 : 1), size = Math.abs(d);
    if (size < S.threshold || size === 0) return colours[a];
    const t = Math.min(1, size / S.scale), mix = v => g + (v - g) * t | 0;
    return d > 0 ? 0xff000000 | mix(50) << 16 | mix(60) << 8 | mix(255) : 0xff000000 | mix(255) << 16 | mix(140) << 8 | mix(50);
  }
  text(words, x, y, colour, align, most) {
    const {ctx} = this.view;
    ctx.textAlign = align;
    ctx.lineWidth = 4;
    ctx.strokeStyle = "#000";
    ctx.strokeText(words, x, y, most);
    ctx.fillStyle = colour;
    ctx.fillText(words, x, y, most);
  }
  font(size, bold) {
    Object.assign(this.view.ctx, {font: `${bold ? "bold " : ""}${Math.round(size)}px system-ui,sans-serif`, textBaseline: "top"});
  }
  caption(image, pane, left, right) {
    const size = Math.round(16 * this.view.ratio()), y = (pane.y || 0) + size / 2, most = Math.max(1, pane.width - size);
    const x = image.synthetic ? right - size / 2 : left + size / 2, align = image.synthetic ? "right" : "left";
    this.font(size, true);
    this.text(!image.synthetic ? "SOURCE" : image.difference ? "SYNTHETIC (difference)" : "SYNTHETIC", x, y, image.synthetic ? AMBER : "#ddd", align, most);
    if (!image.words || right - left < size * 6) return;
    this.font(size * 0.85);
    this.text(fitted(this.view.ctx, image.words, Math.min(most, right - left - size)), x, y + size * 1.35, "#ddd", align);
  }
  legend(left) {
    const {ctx} = this.view, size = Math.round(16 * this.view.ratio());
    const wide = 220 * this.view.ratio(), x = left + size / 2, y = this.canvas.height - size * 4.6;
    const bar = ctx.createLinearGradient(x, 0, x + wide, 0);
    for (const [at, c] of [[0, "#328cff"], [0.5, "#000"], [1, "#ff3c32"]]) bar.addColorStop(at, c);
    ctx.fillStyle = bar;
    ctx.fillRect(x, y, wide, size);
    this.font(size * 0.8);
    const s = short(this.state.scale), {threshold} = this.state;
    for (const [words, at, align] of [["-" + s, 0, "left"], ["0", 0.5, "center"], ["+" + s, 1, "right"]])
      this.text(words, x + wide * at, y - size, "#ddd", align);
    this.text("blue less dense, red denser" + (threshold ? `, from ${short(threshold)}` : ""), x, y + size * 1.3, "#ddd", "left");
  }

  // --- values --------------------------------------------------------------------------------------------------------

  values(x, y) {
    const {first, second, view: {shades, image: D}} = this, i = y * D.columns + x;
    if (!first || !(x >= 0 && y >= 0 && x < D.columns && y < D.rows)) return null;
    const unit = v => (v + D.lowest) * D.slope + D.intercept, a = first.pixels.levels[0][i], b = second ? second.pixels.levels[0][i] : a;
    return {x, y, before: unit(a), after: unit(b), shownBefore: shades[a], shownAfter: shades[b]};
  }
  readout() {
    const v = this.state.pointer && this.values(...this.state.pointer);
    if (!v) return "";
    const d = v.after - v.before, at = `column ${v.x}, row ${v.y}\n`;
    if (!this.second) return `${at}value ${short4(v.before)} (grey ${v.shownBefore})`;
    return `${at}before ${short4(v.before)} (grey ${v.shownBefore})\nafter ${short4(v.after)} ` +
      `(grey ${v.shownAfter})\nchange ${d > 0 ? "+" : ""}${short4(d)}`;
  }

  // --- changes of state ----------------------------------------------------------------------------------------------

  setMode(mode) {
    Object.assign(this.state, {mode, phase: 0});
    this.page.moded(mode);
    this.view.redraw();
  }
  reset() {
    Object.assign(this.state, {split: 0.5, threshold: 0, chosenScale: false, scale: this.fitted || this.state.scale});
    this.view.reset();
  }
  setScale(f) { this.state.scale *= f; this.state.chosenScale = true; this.view.redraw(); }
  setThreshold(up) {
    const S = this.state;
    S.threshold = up ? Math.min(S.scale, S.threshold + S.scale / 10) : Math.max(0, S.threshold - S.scale / 10);
    if (S.threshold < S.scale / 100) S.threshold = 0;
    this.view.redraw();
  }
  setSplit(v) { this.state.split = Math.max(0, Math.min(1, v)); this.view.redraw(); }
  grab(p) {
    const S = this.state;
    return this.second && S.mode === "slider" && Math.abs(p[0] - S.split * this.canvas.width) < 12 * this.view.ratio() ? "split" : "";
  }

  modeKeys(first) {
    return [
      ...MODES.map(([mode, key]) => [[key], mode, () => this.setMode(mode)]),
      [[" "], `hold: show the ${first}`, () => { this.state.hold = true; this.view.redraw(); }],
    ];
  }
  keys(fit) {
    const S = this.state;
    return [
      ...this.view.keys(fit),
      [["h", "l"], "slider to the left, right", k => this.setSplit(S.split + (k === "h" ? -0.05 : 0.05))],
      [["<", ">"], "difference: finer, coarser scale", k => this.setScale(k === "<" ? 0.5 : 2)],
      [["t", "T"], "difference: threshold up, down", k => this.setThreshold(k === "t")],
      [["m"], "values at the centre", () => { S.pointer = [Math.floor(S.x), Math.floor(S.y)]; this.page.changed(); }],
      [["r"], "reset window and view", () => this.reset()],
    ];
  }
}

// As much of a text as a width holds.
function fitted(ctx, words, most) {
  if (ctx.measureText(words).width <= most) return words;
  let n = words.length;
  while (n > 1 && ctx.measureText(words.slice(0, n) + "\u2026").width > most) n--;
  return words.slice(0, n) + "\u2026";
}
