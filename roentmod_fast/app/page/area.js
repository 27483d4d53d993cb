"use strict";
// Where an edit may act: a box, or strokes of a brush, in pixels of the film; drawn over it, and written as a mask.
class Area {
  constructor() { Object.assign(this, {tool: "", shapes: [], size: 0}); }
  get empty() { return !this.shapes.length; }
  get box() { return this.shapes.find(s => s.box)?.box || null; }

  // A drag begins: a box replaces all, a stroke is added to strokes.
  begin([x, y], image) {
    if (this.tool === "box") this.shapes = [{from: [x, y], box: boxOf([x, y], [x, y], image)}];
    else this.shapes = [...this.shapes.filter(s => !s.box), {size: this.size, points: [[x + 0.5, y + 0.5]]}];
  }
  extend([x, y], image) {
    const last = this.shapes[this.shapes.length - 1];
    if (this.tool === "box") last.box = boxOf(last.from, [x, y], image);
    else last.points.push([x + 0.5, y + 0.5]);
  }
  // A click without a drag is no box.
  settle() { if (this.box && (this.box[2] - this.box[0] < 4 || this.box[3] - this.box[1] < 4)) this.shapes = []; }
  setBox(box) { this.shapes = [{from: [box[0], box[1]], box}]; }
  undo() { this.shapes = this.shapes.slice(0, -1); }
  clear() { this.shapes = []; }
  words() {
    if (this.empty) return "whole film";
    return this.box ? `box ${this.box.join(", ")}` : `brush, ${this.shapes.length} stroke${this.shapes.length > 1 ? "s" : ""}`;
  }

  // Draw into a context whose units are pixels of the film.
  trace(ctx) {
    ctx.lineCap = ctx.lineJoin = "round";
    for (const {box, points, size} of this.shapes) {
      if (box) { ctx.fillRect(box[0], box[1], box[2] - box[0], box[3] - box[1]); continue; }
      ctx.lineWidth = size;
      ctx.beginPath();
      ctx.moveTo(...points[0]);
      ctx.lineTo(...points[0]);
      for (const p of points.slice(1)) ctx.lineTo(...p);
      ctx.stroke();
    }
  }
  // Draw over a pane of a view.
  over(view, pane) {
    if (this.empty) return;
    const {ctx, canvas, state: S, image} = view, [mx, my] = view.middle(pane), zy = S.zoom * image.aspect;
    this.scrap = this.scrap || document.createElement("canvas");
    const {scrap} = this;
    Object.assign(scrap, {width: canvas.width, height: canvas.height});
    const over = scrap.getContext("2d");
    over.setTransform(S.zoom, 0, 0, zy, mx - S.x * S.zoom, my - S.y * zy);
    over.fillStyle = over.strokeStyle = "#5ab0ff";
    this.trace(over);
    ctx.globalAlpha = this.tool ? 0.35 : 0.12;
    ctx.drawImage(scrap, 0, 0);
    ctx.globalAlpha = 1;
    if (!this.box) return;
    const [x0, y0, x1, y1] = this.box;
    ctx.strokeStyle = "#5ab0ff";
    ctx.lineWidth = 2 * view.ratio();
    ctx.strokeRect(mx + (x0 - S.x) * S.zoom, my + (y0 - S.y) * zy, (x1 - x0) * S.zoom, (y1 - y0) * zy);
  }

  // What the server takes: null, a box, or a PNG of the film's matrix, white where the edit acts.
  async mask({columns, rows}) {
    if (this.empty) return null;
    if (this.box) return {box: this.box};
    const canvas = Object.assign(document.createElement("canvas"), {width: columns, height: rows});
    const ctx = canvas.getContext("2d", {willReadFrequently: true});
    ctx.strokeStyle = "#fff";
    this.trace(ctx);
    const {data} = ctx.getImageData(0, 0, columns, rows), lines = new Uint8Array((columns + 1) * rows);
    for (let y = 0, i = 3; y < rows; y++) for (let x = 0, o = y * (columns + 1) + 1; x < columns; x++, i += 4, o++) lines[o] = data[i] > 127 ? 255 : 0;
    return {png: base64(await png(lines, columns, rows))};
  }
}

// A box from one pixel to another, both in it, within the film.
function boxOf([ax, ay], [bx, by], {columns, rows}) {
  const within = (v, top) => Math.max(0, Math.min(top, v));
  return [within(Math.min(ax, bx), columns), within(Math.min(ay, by), rows), within(Math.max(ax, bx) + 1, columns), within(Math.max(ay, by) + 1, rows)];
}

// A grey PNG of 8 bits; lines: each with its filter, 0, before it.
async function png(lines, columns, rows) {
  const packed = new Uint8Array(await new Response(new Blob([lines]).stream().pipeThrough(new CompressionStream("deflate"))).arrayBuffer());
  const head = new Uint8Array(13), sizes = new DataView(head.buffer);
  sizes.setUint32(0, columns);
  sizes.setUint32(4, rows);
  head[8] = 8;
  const parts = [new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10])];
  for (const [name, data] of [["IHDR", head], ["IDAT", packed], ["IEND", new Uint8Array()]]) {
    const chunk = new Uint8Array(data.length + 12), numbers = new DataView(chunk.buffer);
    numbers.setUint32(0, data.length);
    for (let i = 0; i < 4; i++) chunk[4 + i] = name.charCodeAt(i);
    chunk.set(data, 8);
    numbers.setUint32(data.length + 8, crc(chunk.subarray(4, data.length + 8)));
    parts.push(chunk);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
function crc(bytes) {
  let c = ~0;
  for (const byte of bytes) { c ^= byte; for (let k = 0; k < 8; k++) c = c >>> 1 ^ (c & 1 ? 0xedb88320 : 0); }
  return ~c >>> 0;
}
function base64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}
