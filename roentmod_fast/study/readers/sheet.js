"use strict";
// The sheet as CSV. A cell is empty where nothing was entered: an image that was not read is never "absent".
class SheetError extends Error {}

// A spreadsheet takes a text that begins so for a formula; an apostrophe before it is added, and taken off again.
const FORMULA = /^['\s]*[=+\-@\uff1d\uff0b\uff0d\uff20]/;
const guarded = text => FORMULA.test(text) ? "'" + text : text;
const unguarded = text => (text.startsWith("'") && FORMULA.test(text) ? text.slice(1) : text).replace(/\r\n?/g, "\n");

// RFC 4180, after the byte order mark by which spreadsheets know UTF-8.
function csvOf(lines) {
  const cell = v => /[",;\t\r\n]/.test(v) || v !== v.trim() ? `"${v.replaceAll('"', '""')}"` : v;
  return "\ufeff" + lines.map(cells => cells.map(v => cell(String(v))).join(",") + "\r\n").join("");
}

// Text of a file that a spreadsheet may have saved anew.
function textOf(bytes) {
  const begins = (...codes) => codes.every((code, i) => bytes[i] === code);
  if (begins(0x50, 0x4b, 3, 4) || begins(0xd0, 0xcf, 0x11, 0xe0)) throw new SheetError('a workbook: save it as "CSV UTF-8"');
  const codes = begins(0xff, 0xfe) ? ["utf-16le"] : begins(0xfe, 0xff) ? ["utf-16be"] : ["utf-8", "windows-1252"];
  for (const code of codes) {
    try {
      const text = new TextDecoder(code, {fatal: true}).decode(bytes);
      if (!text.includes("\0")) return text;
    } catch { /* the next one */ }
  }
  throw new SheetError("not a text file: expected CSV in UTF-8");
}

// Lines of cells; comma, semicolon or tab between them, whichever the first line has most of.
function cellsOf(text) {
  const mark = /^["']?sep=(.)["']?[^\S\n]*\r?\n/i.exec(text);
  if (mark) text = text.slice(mark[0].length);
  const first = text.split(/\r?\n|\r/, 1)[0], many = d => first.split(d).length;
  const delimiter = mark ? mark[1] : [",", ";", "\t"].sort((a, b) => many(b) - many(a))[0];
  const lines = [[]];
  let cell = "", quoted = false, whole = false;
  const end = () => { lines[lines.length - 1].push(whole ? cell : cell.trim()); cell = ""; whole = false; };
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') { cell += c; i++; }
      else quoted = false;
    } else if (c === '"' && !whole && !cell.trim()) { cell = ""; quoted = whole = true; }
    else if (c === delimiter) end();
    else if (c === "\n" || c === "\r") {
      if (c === "\r" && text[i + 1] === "\n") i++;
      end();
      lines.push([]);
    } else if (!whole) cell += c;
    else if (c.trim()) throw new SheetError(`row ${lines.length}: a quote in the middle of a cell`);
  }
  if (quoted) throw new SheetError("a quote is never closed: the file is cut off");
  end();
  return lines;
}

// Rows of a sheet of this study by image: cells by column. expected: study, columns, images.
function rowsOf(bytes, expected) {
  const [head, ...lines] = cellsOf(textOf(bytes)), plain = name => name.trim().toLowerCase().replace(/\s+/g, "_");
  const names = head.map(plain), wanted = expected.columns.map(plain), found = new Map();
  wanted.forEach((name, i) => {
    if (name === "order") return;
    const n = names.filter(each => each === name).length;
    if (n !== 1) throw new SheetError(n ? `the column ${expected.columns[i]} comes twice` : `no column ${expected.columns[i]}: expected a sheet of this study`);
  });
  const other = names.find(name => name && !wanted.includes(name));
  if (other !== undefined) throw new SheetError(`the column ${other} is not of this study`);
  lines.forEach((cells, i) => {
    if (!cells.some(cell => cell.trim())) return;
    const where = `row ${i + 2}`, row = new Map();
    if (cells.some((cell, n) => cell.trim() && !names[n])) throw new SheetError(`${where}: more cells than columns`);
    expected.columns.forEach((name, n) => row.set(name, cells[names.indexOf(wanted[n])] || ""));
    const study = row.get("study").trim(), image = row.get("image").trim().replace(/\.png$/i, "");
    if (study !== expected.study) throw new SheetError(`${where}: of the study ${study || "(none)"}, and this page is of ${expected.study}`);
    if (!expected.images.includes(image)) throw new SheetError(`${where}: the image ${image || "(none)"} is not in this page`);
    if (found.has(image)) throw new SheetError(`${where}: the image ${image} comes twice`);
    row.set("where", where);
    found.set(image, row);
  });
  if (!found.size) throw new SheetError("no rows");
  return found;
}

// A whole number of a few, also where a spreadsheet gave it decimals.
function choiceOf(row, column, known) {
  const text = row.get(column).trim(), plain = /^(\d)([.,]0*)?$/.exec(text);
  if (!text) return "";
  if (plain && known.includes(plain[1])) return plain[1];
  throw new SheetError(`${row.get("where")}, ${column}: ${JSON.stringify(text.slice(0, 20))}: expected ${known.join(", ")} or nothing`);
}

function secondsOf(row) {
  const text = row.get("seconds").trim().replace(",", ".");
  if (!/^(\d+(\.\d*)?)?$/.test(text)) throw new SheetError(`${row.get("where")}, seconds: no number`);
  return +text;
}
