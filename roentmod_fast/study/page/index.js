"use strict";
// A table of edits with filters; each line leads to the page of its radiograph.
(() => {
const $ = id => document.getElementById(id), D = JSON.parse($("data").textContent), CHUNK = 500;
const COLUMNS = [["name", "edit"], ["prompt", "prompt"], ["findings", "finding"], ["patient", "patient"],
  ["changed", "changed pixels"], ["status", "status"]];
let found = [], shown = 0, order = "", down = false;
const add = (parent, tag, text, facts) => {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  Object.assign(e, facts || {});
  parent.append(e);
  return e;
};
const distinct = values => [...new Set(values)].filter(Boolean).sort();
const cell = (row, key) => key === "findings" ? row.findings.join(", ")
  : key === "changed" ? (row.changed === null ? "" : (100 * row.changed).toFixed(2) + " %") : row[key];

function more() {
  const body = document.querySelector("tbody");
  for (const row of found.slice(shown, shown + CHUNK)) {
    const line = add(body, "tr");
    for (const [key] of COLUMNS) {
      const field = add(line, "td");
      if (key === "name" && row.page) add(field, "a", row.name, {href: row.page});
      else field.textContent = cell(row, key);
    }
  }
  shown = Math.min(found.length, shown + CHUNK);
  $("more").hidden = shown === found.length;
  $("count").textContent = `${found.length} of ${D.entries.length} edits`;
}

function update() {
  const finding = $("finding").value, patient = $("patient").value.trim().toLowerCase(), words = $("text").value.trim().toLowerCase();
  const limit = (id, none) => $(id).value === "" ? none : +$(id).value / 100;
  const least = limit("least", -1), most = limit("most", 2), bounded = $("least").value !== "" || $("most").value !== "";
  found = D.entries.filter(row => (!finding || (finding === "-" ? !row.findings.length : row.findings.includes(finding)))
    && (!patient || row.patient.toLowerCase().includes(patient))
    && (row.changed === null ? !bounded : row.changed >= least && row.changed <= most)
    && (!words || (row.name + "\n" + row.prompt + "\n" + row.status).toLowerCase().includes(words)));
  if (order) {
    const key = row => order === "changed" ? (row.changed === null ? -1 : row.changed) : String(cell(row, order));
    found.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) * (down ? -1 : 1));
  }
  document.querySelector("tbody").textContent = "";
  shown = 0;
  more();
}

$("title").textContent = D.title;
$("note").textContent = D.made;
add($("finding"), "option", "all", {value: ""});
for (const name of distinct(D.entries.flatMap(row => row.findings))) add($("finding"), "option", name, {value: name});
add($("finding"), "option", "none of the paper's", {value: "-"});
for (const name of distinct(D.entries.map(row => row.patient)).slice(0, 5000)) add($("patients"), "option", undefined, {value: name});
for (const [key, words] of COLUMNS) {
  const head = add(document.querySelector("thead tr"), "th", undefined, {scope: "col"});
  add(head, "button", words, {type: "button"}).addEventListener("click", () => {
    down = order === key && !down;
    order = key;
    for (const each of head.parentNode.children) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    update();
  });
}
$("filters").addEventListener("input", update);
$("filters").addEventListener("reset", () => setTimeout(update));
$("filters").addEventListener("submit", event => event.preventDefault());
$("more").addEventListener("click", more);
update();
document.body.dataset.open = "yes";
})();
