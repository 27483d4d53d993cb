"use strict";
// The app's page: what is known, and what the files after this one share. Pixels and edits are the server's.
const D = JSON.parse($("data").textContent), SHOWN_MOST = 9;
const EMPTY = {columns: 1, rows: 1, aspect: 1, bits: 1, lowest: 0, slope: 1, intercept: 0, inverted: false, padding: null, table: null, windows: [["", 1, 2]]};
MODES.push(["all", "a"]);
const films = new Map(), jobs = new Map(), cache = new DecodedCache(280e6);
let current = null, drawn = null, asked = 0;

const canvas = $("view");
const comparison = new Comparison(canvas, EMPTY, {changed: readout, windowed, moded, grab, dragged, over});
const {view, state: S} = comparison;

const button = (parent, words, act, title, key) => {
  const b = add(parent, "button", words, {type: "button", title: [title || "", key ? `key ${key}` : ""].filter(Boolean).join(", ")});
  // After a click the keys are the image's again; after Enter or Space the button stays in focus.
  b.addEventListener("click", event => { act(b); if (event.detail && !document.querySelector("dialog[open]") && !canvas.hidden && document.activeElement === b) canvas.focus(); });
  return b;
};
const option = (select, words, value) => add(select, "option", words, {value: String(value)});
const capital = text => text.charAt(0).toUpperCase() + text.slice(1);
function duration(s) {
  if (s < 90) return `${s < 10 ? +s.toFixed(1) : Math.round(s)} s`;
  return s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`;
}
function notice(words) {
  $("notice").hidden = !words;
  $("notice").firstElementChild.textContent = words;
}
function message(words, calm) {
  $("message").textContent = words;
  $("message").classList.toggle("calm", Boolean(calm));
}
const guarded = act => async (...a) => { try { return await act(...a); } catch (error) { if (!(error instanceof Refused)) throw error; notice(error.message); } };
function question(words, yes) {
  $("ask-words").textContent = words;
  $("yes").textContent = yes;
  $("ask").returnValue = "";
  $("ask").showModal();
  return new Promise(done => $("ask").addEventListener("close", () => done($("ask").returnValue === "yes"), {once: true}));
}
for (const id of ["yes", "no"]) $(id).addEventListener("click", () => $("ask").close(id));
$("dismiss").addEventListener("click", () => notice(""));
