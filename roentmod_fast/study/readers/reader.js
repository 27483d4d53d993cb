"use strict";
// One reader's images, one at a time. Answers are stored in the browser at each change; nothing leaves the page but the
// sheet that the reader exports.
(async () => {
const D = JSON.parse($("data").textContent), COUNT = D.images.length, IDLE_S = 120;
const KEY = `roentmod-fast reader-study ${D.study} ${D.reader} ${D.set}`, ME = String(Math.random());
const READING = [["1", "present"], ["0", "absent"], ["2", "unsure"]];
const QUESTIONS = [
  ...D.findings.map(name => ({column: name, words: name.replaceAll("_", " "), values: READING, finding: true})),
  {column: "realism", words: "real or synthetic", values: [["1", "real"], ["0", "synthetic"], ["2", "unsure"]]},
  {column: "confidence", words: "confidence", hint: "1 low, 5 high", values: [1, 2, 3, 4, 5].map(n => [String(n), ""])},
  {column: "extra", words: "other finding", key: "e"},
  {column: "notes", words: "notes", key: "n"},
];
const LAST = QUESTIONS.length, needed = QUESTIONS.map((q, i) => q.values ? i : -1).filter(i => i >= 0);
const seconds = v => Number.isInteger(v) ? String(v) : v.toFixed(1);

// --- answers: cells by question ---------------------------------------------------------------------------------------

const blank = () => ({cells: QUESTIONS.map(() => ""), seconds: 0, readAt: "", read: false});
let answers = D.images.map(blank), position = 0, question = 0;
let version = 0, writable = false, refused = false, dirty = false, sheet = [];
const here = () => answers[position];
const missing = a => needed.filter(i => !a.cells[i]);
const begun = a => a.cells.some(Boolean);
const unread = from => {
  for (let n = 1; n <= COUNT; n++) if (!answers[(from + n) % COUNT].read) return (from + n) % COUNT;
  return -1;
};

// clean: free text of a cell as it was entered.
function answerOf(row, clean = unguarded) {
  const a = blank();
  QUESTIONS.forEach((q, i) => { a.cells[i] = q.values ? choiceOf(row, q.column, q.values.map(v => v[0])) : clean(row.get(q.column)); });
  const status = row.get("status").trim().toLowerCase();
  if (status && status !== "read") throw new SheetError(`${row.get("where")}, status: expected read or nothing`);
  // An image is read only when its questions are answered, whoever wrote the sheet.
  return Object.assign(a, {seconds: secondsOf(row), read: Boolean(status) && !missing(a).length, claimed: Boolean(status), readAt: row.get("read_at").trim()});
}

function csv() {
  const line = (a, i) => D.columns.map(name => {
    const n = QUESTIONS.findIndex(q => q.column === name);
    if (n >= 0) return QUESTIONS[n].values ? a.cells[n] : guarded(a.cells[n]);
    return {study: D.study, image: D.images[i].name, order: D.images[i].order, seconds: a.seconds ? seconds(a.seconds) : "",
      read_at: a.read ? a.readAt : "", status: a.read ? "read" : ""}[name];
  });
  return csvOf([D.columns, ...answers.map(line)]);
}

// --- storage ---------------------------------------------------------------------------------------------------------

const stored = () => JSON.parse(localStorage.getItem(KEY) || "null");
const same = (a, b) => a.cells.every((cell, i) => cell === b.cells[i]);

// Take what this browser holds, if it holds anything.
function load(stay) {
  let found;
  try { found = stored(); } catch { return; }
  if (!found) return;
  ({answers, version} = found);
  if (stay) return;
  position = found.position;
  question = firstQuestion();
}

function save(words = "saved") {
  if (!writable) return;
  try {
    const found = stored();
    if (found && found.version > version) return lose();
    version++;
    localStorage.setItem(KEY, JSON.stringify({answers, position, version, by: ME}));
  } catch { return refuse(); }
  $("saved").textContent = words;
  if (refused) notice("");
  refused = false;
}

function refuse() {
  refused = true;
  $("saved").textContent = "not saved";
  notice("This browser does not store answers of this page. Export the sheet before you close it.", "export the sheet", exportSheet);
}

// Another tab of this page wrote answers: this one never writes over them.
function lose() {
  setWritable(false);
  notice("Answers were saved in another tab of this page, so this one is read-only. What you entered here last may not be among them.",
    "show the saved answers", () => location.reload());
}

function notice(words, remedy, act) {
  $("notice").hidden = !words;
  $("notice").firstElementChild.textContent = words;
  $("remedy").hidden = !remedy;
  $("remedy").textContent = remedy || "";
  $("remedy").onclick = act || null;
}

// One tab writes. A second one shows the answers, and writes when the first is closed or gives way.
async function claim() {
  if (!navigator.locks) return begin();
  const hold = lock => lock && (begin(), new Promise(() => {}));
  const wait = () => {
    const queue = new AbortController();
    setWritable(false);
    notice("This page is open in another tab, so this one is read-only.", "write here instead", async () => {
      queue.abort();
      navigator.locks.request(KEY, {steal: true}, async () => { await new Promise(r => setTimeout(r, 300)); return hold(true); }).catch(wait);
    });
    navigator.locks.request(KEY, {signal: queue.signal}, hold).catch(error => error === queue.signal.reason || wait());
  };
  try {
    const free = await new Promise((done, failed) => navigator.locks.request(KEY, {ifAvailable: true}, lock => {
      done(Boolean(lock));
      return hold(lock);
    }).catch(error => { failed(error); if (writable) wait(); }));
    if (!free) wait();
  } catch { begin(); }
}

function begin() {
  notice("");
  load();
  setWritable(true);
  show(position);
  if (sheet.some((a, i) => begun(a) && !same(a, answers[i])))
    notice("This browser holds other answers than the sheet that the page was made with, and shows its own. To take those of the sheet, import it.");
  save(version ? "saved" : "");
}

function setWritable(yes) {
  writable = yes;
  document.body.dataset.writable = yes ? "yes" : "";
  for (const e of document.querySelectorAll("#questions input,#questions textarea,#finish,#import,#rest")) e.disabled = !yes;
  if (!yes) $("saved").textContent = "read-only";
}

addEventListener("storage", event => {
  if (event.key !== KEY || !event.newValue || JSON.parse(event.newValue).by === ME) return;
  if (writable) return lose();
  load(true);
  render();
});

// --- time on an image, while the page is seen and used ------------------------------------------------------------------

let last = performance.now(), used = last, unsaved = 0;
for (const kind of ["keydown", "pointerdown", "pointermove", "wheel"]) addEventListener(kind, () => { used = performance.now(); }, {passive: true, capture: true});
function tick() {
  const now = performance.now(), passed = (now - last) / 1000;
  last = now;
  if (!writable || document.hidden || here().read || now - used > IDLE_S * 1000 || passed > 5) return;
  here().seconds += passed;
  unsaved += passed;
  if (unsaved > 10) { unsaved = 0; save(); }
}
setInterval(tick, 500);
document.addEventListener("visibilitychange", () => { if (document.hidden) { tick(); save(); } else last = used = performance.now(); });
addEventListener("pagehide", () => { tick(); save(); });
addEventListener("beforeunload", event => { if (refused && dirty) event.preventDefault(); });

// --- the image -------------------------------------------------------------------------------------------------------

const canvas = $("view"), cache = new DecodedCache(60e6), {width, height} = D;
const view = new View(canvas, {columns: width, rows: height, aspect: 1, bits: 8, lowest: 0, slope: 1, intercept: 0, inverted: false,
  padding: null, table: null, windows: D.windows},
{panes: () => [{x: 0, width: canvas.width}], scene, windowed, changed: () => { $("hint").textContent = view.words(); }});
let current = null;

function scene() { if (current) view.paint({x: 0, width: canvas.width}, 0, canvas.width, view.grey(current)); }
function windowed(n) { [...windows.children].forEach((b, i) => b.setAttribute("aria-pressed", String(i === n))); }

async function decoded(i) {
  const found = cache.get(i);
  if (found) return found;
  const pixels = new Pixels(restore(await inflate($("image" + i).textContent), D.images[i].predictor, width, height), width, height);
  cache.put(i, pixels);
  return pixels;
}

async function show(i) {
  tick();
  position = i;
  document.body.dataset.ready = "";
  message("");
  render();
  const pixels = await decoded(i);
  if (position !== i) return;
  if (pixels !== current) { current = pixels; view.reset(); }
  view.draw();
  view.page.changed();
  document.body.dataset.ready = String(i + 1);
  if (i + 1 < COUNT) setTimeout(() => position === i && decoded(i + 1), 50);
}

function go(i) {
  if (i < 0 || i >= COUNT) return message(i < 0 ? "This is the first image." : "This is the last image.", true);
  position = i;
  question = firstQuestion();
  show(i);
  save();
  focusQuestion();
}

// --- questions -------------------------------------------------------------------------------------------------------

const firstQuestion = () => missing(here())[0] ?? (here().read ? 0 : LAST);
const rows = QUESTIONS.map((q, i) => {
  const row = add($("questions"), "div", undefined, {className: "question"}), id = `words${i}`;
  if (q.values) {
    row.classList.toggle("apart", !q.finding && QUESTIONS[i - 1]?.finding === true);
    const words = add(row, "span", q.words, {className: "words", id});
    if (q.hint) add(words, "small", q.hint);
    const group = add(row, "div", undefined, {className: "choices" + (q.values.length === 5 ? " five" : "")});
    group.setAttribute("role", "radiogroup");
    group.setAttribute("aria-labelledby", id);
    for (const [value, words] of q.values) {
      const label = add(group, "label"), radio = add(label, "input", undefined, {type: "radio", name: `question${i}`, value});
      const text = add(label, "span");
      if (words) add(text, "i", value);
      text.append(words ? " " + words : value);
      radio.addEventListener("change", () => { question = i; answer(value); });
      // An answer is a digit or a click: Space, which would take the first one, is none.
      radio.addEventListener("keydown", event => { if (event.key === " ") event.preventDefault(); });
    }
  } else {
    row.classList.add("text");
    const label = add(row, "label", undefined, {className: "words"});
    label.append(q.words);
    const text = add(row, "textarea", undefined, {id: q.column, rows: 1, spellcheck: false});
    label.htmlFor = q.column;
    text.addEventListener("input", () => change(i, text.value));
    text.addEventListener("keydown", event => {
      if (event.isComposing) return;
      const end = text.selectionStart === text.selectionEnd, {key} = event;
      const way = key === "Escape" || key === "Enter" && !event.shiftKey || key === "ArrowDown" && end && text.selectionEnd === text.value.length ? 1
        : key === "ArrowUp" && end && text.selectionStart === 0 ? -1 : 0;
      if (!way) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.repeat && key === "Enter") return;
      if (key === "Escape") question = LAST - 1;
      step(way);
    });
  }
  row.addEventListener("focusin", () => { question = i; mark(); });
  return row;
});

function mark() {
  rows.forEach((row, i) => row.classList.toggle("current", i === question));
}

function focusQuestion() {
  mark();
  const row = rows[question];
  const target = row ? row.querySelector("input:checked") || row.querySelector("input,textarea") : $("finish");
  target.focus({preventScroll: true});
  target.scrollIntoView({block: "nearest"});
}

function step(way) {
  question = Math.max(0, Math.min(LAST, question + way));
  focusQuestion();
}

function change(i, value) {
  const a = here();
  if (!writable || a.cells[i] === value) return;
  dirty = true;
  a.cells[i] = value;
  if (a.read) a.readAt = now();
  if (a.read && missing(a).length) {
    Object.assign(a, {read: false, readAt: ""});
    message("This image is no longer read: finish it again.");
  } else message("");
  render();
  save();
}
const now = () => new Date().toISOString().replace(/\.\d+Z/, "Z");

function answer(value) {
  const q = QUESTIONS[question];
  if (!q || !q.values || !q.values.some(v => v[0] === value)) return;
  change(question, value);
  const next = question + 1;
  // Texts are passed over: few images need them.
  question = QUESTIONS[next].values ? next : LAST;
  focusQuestion();
}

function absent() {
  const left = QUESTIONS.map((q, i) => q.finding && !here().cells[i] ? i : -1).filter(i => i >= 0);
  if (!writable) return;
  for (const i of left) change(i, "0");
  message(left.length ? `Absent: ${left.map(i => QUESTIONS[i].words).join(", ")}` : "All findings have an answer.", true);
  question = firstQuestion();
  focusQuestion();
}

function finish() {
  if (!writable) return;
  const a = here(), left = missing(a);
  if (left.length) {
    message(`Not finished. No answer: ${QUESTIONS[left[0]].words}${left.length > 1 ? ` and ${left.length - 1} more` : ""}.`);
    render(true);
    question = left[0];
    return focusQuestion();
  }
  tick();
  if (!a.read) Object.assign(a, {read: true, readAt: now()});
  const next = unread(position);
  if (next >= 0) return go(next);
  render();
  save();
  message(`All ${COUNT} images are read. Export the sheet.`, true);
  $("export").focus();
}

function message(words, calm = false) {
  $("message").textContent = words;
  $("message").classList.toggle("calm", calm);
}

function render(showMissing = false) {
  const a = here(), read = answers.filter(each => each.read).length, left = missing(a);
  const state = a.read ? "read" : begun(a) ? "begun" : "not read";
  $("place").querySelector("h1").firstChild.textContent = `Image ${position + 1} of ${COUNT}`;
  $("place").querySelector("small").textContent = state;
  canvas.setAttribute("aria-label", `Radiograph ${position + 1} of ${COUNT}`);
  rows.forEach((row, i) => {
    for (const radio of row.querySelectorAll("input")) radio.checked = radio.value === a.cells[i];
    const text = row.querySelector("textarea");
    if (text && text.value !== a.cells[i]) text.value = a.cells[i];
    row.classList.toggle("missing", showMissing && left.includes(i));
  });
  mark();
  $("finish").textContent = a.read ? "Next image (Enter)" : "Finish image (Enter)";
  $("bar").max = COUNT;
  $("bar").value = read;
  $("count").textContent = `${read} of ${COUNT} read`;
}

// --- export and import -----------------------------------------------------------------------------------------------

function exportSheet() {
  tick();
  const address = URL.createObjectURL(new Blob([csv()], {type: "text/csv;charset=utf-8"}));
  const link = add(document.body, "a", "", {href: address, download: `${D.reader}-sheet.csv`, hidden: true});
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  const read = answers.filter(a => a.read).length;
  dirty = false;
  save();
  message(`Exported ${D.reader}-sheet.csv: ${read} of ${COUNT} read.`, true);
}

async function importSheet(file) {
  let found;
  try {
    const sheet = rowsOf(new Uint8Array(await file.arrayBuffer()), {study: D.study, columns: D.columns, images: D.images.map(i => i.name)});
    found = new Map([...sheet].map(([name, row]) => [D.images.findIndex(i => i.name === name), answerOf(row)]));
  } catch (error) {
    if (!(error instanceof SheetError)) throw error;
    return message(`Not imported. ${error.message}`);
  }
  const replaced = [...found].filter(([i, a]) => begun(answers[i]) && !same(answers[i], a)).length;
  if (replaced && !await ask(`The sheet has other answers than this page for ${replaced} images that you have answered.`)) {
    return message("Not imported: your answers are as they were.", true);
  }
  if (!writable) return;
  for (const [i, a] of found) answers[i] = a;
  dirty = true;
  question = firstQuestion();
  save();
  await show(position);
  const open = [...found.values()].filter(a => a.claimed && !a.read).length;
  message(`Imported ${found.size} rows: ${[...found.values()].filter(a => a.read).length} read.` +
    (open ? ` ${open} were marked read with answers missing: finish them.` : ""), !open);
  focusQuestion();
}

function ask(words) {
  $("ask").querySelector("p").textContent = words;
  $("ask").returnValue = "";
  $("ask").showModal();
  return new Promise(done => $("ask").addEventListener("close", () => done($("ask").returnValue === "yes"), {once: true}));
}
for (const id of ["yes", "no"]) $(id).addEventListener("click", () => $("ask").close(id));

function overview() {
  const all = $("all");
  all.textContent = "";
  answers.forEach((a, i) => {
    const state = a.read ? "read" : begun(a) ? "begun" : "";
    const b = add(all, "button", String(i + 1), {type: "button", className: state});
    b.setAttribute("aria-label", `Image ${i + 1}, ${state || "not begun"}`);
    if (i === position) b.setAttribute("aria-current", "true");
    b.addEventListener("click", () => { $("overview").close(); go(i); });
  });
  $("overview").showModal();
  all.children[position].focus();
}
$("shut").addEventListener("click", () => $("overview").close());

// --- keys and buttons ------------------------------------------------------------------------------------------------

const preset = way => view.choosePreset((Math.max(0, view.state.preset) + way + D.windows.length) % D.windows.length);
// A key that is held answers once.
const once = act => (key, again) => again || act(key);
const KEYS = [
  [["1", "0", "2"], "present, absent, unsure; real, synthetic, unsure", once(answer)],
  [["3", "4", "5"], "confidence, with 1 and 2", once(answer)],
  [["a"], "absent: all findings of this image without an answer", once(absent)],
  [["ArrowUp", "ArrowDown"], "question before, after", k => step(k === "ArrowUp" ? -1 : 1)],
  [["Backspace", "Delete"], "clear the answer", once(() => QUESTIONS[question]?.values && change(question, ""))],
  [["e", "n"], "other finding, notes", k => { question = QUESTIONS.findIndex(q => q.key === k); focusQuestion(); }],
  [["Enter"], "finish the image and go on; in a text: next question", once(finish)],
  [["ArrowLeft", "ArrowRight"], "image before, after", k => go(position + (k === "ArrowLeft" ? -1 : 1))],
  [["u"], "next image that is not read", () => { const next = unread(position); next < 0 ? message("All images are read.", true) : go(next); }],
  [["o"], "all images", overview],
  [["w", "W"], "window: " + D.windows.map(w => w[0]).join(", "), k => preset(k === "w" ? 1 : -1)],
  ...view.keys("f"),
  [["r"], "reset window and view", () => view.reset()],
  [["s"], "export the sheet", exportSheet],
  [["?"], "these keys", () => $("help").showModal()],
];
const bound = keyboard(KEYS, MOUSE, () => true);

// After a click the keys are the question's again.
const button = (parent, words, act, id = "", name = "") => {
  const b = add(parent, "button", words, {type: "button", id, title: name});
  if (name) b.setAttribute("aria-label", name);
  b.addEventListener("click", event => { act(); if (event.detail && document.activeElement === b) focusQuestion(); });
  return b;
};
canvas.addEventListener("pointerup", () => focusQuestion());
$("title").textContent = D.title;
$("note").textContent = `${D.reader} - study ${D.study} - ${D.made}`;
button($("place"), "\u2190", () => go(position - 1), "", "Image before (\u2190)");
add(add($("place"), "h1", " "), "small");
button($("place"), "\u2192", () => go(position + 1), "", "Image after (\u2192)");
button($("place"), "all", overview, "", "All images (o)");
button($("acts"), "", finish, "finish").addEventListener("focus", () => { question = LAST; mark(); });
$("finish").addEventListener("keydown", event => { if (event.repeat) event.preventDefault(); });
button($("acts"), "Remaining absent (a)", absent, "rest");
const group = (words, id) => {
  const row = add($("tools"), "div");
  add(row, "span", words, {className: "words", id: id + "words"});
  const all = add(row, "div", undefined, {id});
  all.setAttribute("role", "group");
  all.setAttribute("aria-labelledby", id + "words");
  return all;
};
const windows = group("Window", "windows"), tools = group("View", "views");
D.windows.forEach((w, n) => button(windows, w[0], () => view.choosePreset(n)));
for (const [words, act] of [["invert", () => view.invert()], ["fit", () => view.fit()], ["1:1", () => view.oneToOne()], ["reset", () => view.reset()],
  ["keys (?)", () => $("help").showModal()]]) button(tools, words, act);
button($("sheet"), "Export sheet (s)", exportSheet, "export");
button($("sheet"), "Import sheet", () => $("file").click(), "import");
$("file").addEventListener("change", async () => {
  const [file] = $("file").files;
  if (file) await importSheet(file);
  $("file").value = "";
});

// --- start -----------------------------------------------------------------------------------------------------------

for (const [name, row] of D.answers) answers[D.images.findIndex(i => i.name === name)] = answerOf(new Map(Object.entries(row)), text => text);
sheet = structuredClone(answers);
position = Math.max(0, unread(-1));
question = firstQuestion();
load();
new ResizeObserver(() => view.resize()).observe($("stage"));
view.resize();
await show(position);
await claim();
focusQuestion();
// For tests, and for a page around this one.
window.reader = {state: view.state, csv, keys: [...bound.keys()], draw: () => view.draw(), answers: () => answers};
document.body.dataset.open = "yes";
})().catch(error => {
  document.getElementById("hint").textContent = `This browser cannot show the images: ${error.message}`;
  document.body.dataset.failed = String(error);
});
