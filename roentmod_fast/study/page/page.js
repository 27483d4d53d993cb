"use strict";
// One radiograph and its edits, compared.
(async () => {
const D = JSON.parse($("data").textContent), W = D.columns, H = D.rows;
D.table = await inflate(D.table);

const canvas = $("view"), cache = new DecodedCache(160e6);
const comparison = new Comparison(canvas, D, {changed: readout, windowed, moded});
const {view} = comparison, S = Object.assign(view.state, {edit: 0});
let source = null, asked = -1;

async function decodeEdit(index) {
  const found = cache.get(index);
  if (found) return found;
  const decoded = new Pixels(await decodeValues($("edit" + index).textContent, D.edits[index], W, H, source.levels[0]), W, H);
  cache.put(index, decoded);
  return decoded;
}

function readout() {
  $("hint").textContent = view.words();
  $("value").textContent = comparison.readout() || "Value under the pointer: before and after";
}

// --- changes of state ------------------------------------------------------------------------------------------------

function windowed(n) {
  $("preset").value = String(n);
  $("centre").value = +S.centre.toFixed(2);
  $("width").value = +S.width.toFixed(2);
}
function moded(mode) {
  for (const b of $("modes").children) b.setAttribute("aria-pressed", String(b.textContent === mode));
}

async function chooseEdit(index) {
  if (!D.edits[index]) return;
  asked = index;
  document.body.dataset.ready = "";
  const found = await decodeEdit(index);
  if (asked !== index) return;
  S.edit = index;
  comparison.show({pixels: source}, {pixels: found, synthetic: true});
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
  ...comparison.modeKeys("source"),
  [["ArrowUp", "ArrowDown"], D.grid ? "cell above, below" : "previous, next edit", k => step(k === "ArrowUp" ? -1 : 1, 0)],
  [["ArrowLeft", "ArrowRight"], D.grid ? "cell to the left, right" : "previous, next radiograph", k => step(0, k === "ArrowLeft" ? -1 : 1)],
  [["1", "2", "3", "4", "5", "6", "7", "8", "9"], "window: " + D.windows.map(w => w[0]).join(", "), k => view.choosePreset(+k - 1)],
  ...comparison.keys("0"),
  [["p"], "panel", () => { $("panel").hidden = !$("panel").hidden; view.resize(); }],
  [["u"], "index of all pages", () => go(D.links.index)],
  [["?"], "these keys", () => $("help").showModal()],
];
const bound = keyboard(KEYS, COMPARISON_MOUSE, () => comparison.second);

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
for (const [mode, key] of MODES) button($("modes"), mode, () => comparison.setMode(mode), `key ${key}`);
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
button($("tools"), "reset", () => comparison.reset());
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

source = new Pixels(await decodeValues($("source").textContent, D, W, H), W, H);
const start = +location.hash.slice(1);
await chooseEdit(D.edits[start] ? start : 0);
canvas.hidden = false;
$("first").hidden = true;
new ResizeObserver(() => view.resize()).observe($("stage"));
view.resize();
view.choosePreset(0);
comparison.setMode("slider");
addEventListener("hashchange", () => chooseEdit(+location.hash.slice(1)));
window.viewer = {state: S, values: (x, y) => comparison.values(x, y), keys: [...bound.keys()], draw: () => view.draw()};
document.body.dataset.open = "yes";
})().catch(error => {
  document.getElementById("hint").textContent = `This browser cannot show the stored values: ${error.message}`;
  document.body.dataset.failed = String(error);
});
