"use strict";
// Edits of the sitting: the queue, the versions of a film, the history.
const pending = e => e.state === "queued" || e.state === "started";
function adopt(edit) {
  const known = jobs.get(edit.job);
  if (known) {
    const {settings, where, begun} = edit;
    known.row.brief.textContent = brief(Object.assign(known, {settings, where, begun}));
    return known;
  }
  Object.assign(edit, {label: edit.prompt, saved: false, done: 0, total: 0, facts: [], at: new Date()});
  jobs.set(edit.job, edit);
  edit.film.edits.push(edit);
  // The same words twice need more: what differs is the seed, the strength or the area.
  const same = edit.film.edits.filter(e => e.prompt === edit.prompt);
  if (same.length > 1) edit.label = `${edit.prompt} (${same.length})`;
  const li = add($("edits"), "li"), pick = button(li, undefined, () => chooseEdit(edit));
  $("edits").prepend(li);
  pick.className = "pick";
  add(pick, "span", edit.label, {className: "words"});
  const line = add(pick, "small", brief(edit));
  const status = add(li, "div", undefined, {className: "status"}), bar = add(status, "progress", undefined, {max: 1});
  bar.setAttribute("aria-label", `Progress of ${edit.label}`);
  const words = add(status, "span"), stop = button(status, "Stop", () => stopEdit(edit), `stop ${edit.label}`, "k");
  stop.setAttribute("aria-label", `Stop ${edit.label}`);
  const acts = add(li, "div", undefined, {className: "acts", hidden: true});
  const save = button(acts, "Save\u2026", () => openSave(edit), "", "S");
  save.className = "primary";
  button(acts, "Same settings", () => { fill(edit.settings || {}); $("prompt").value = edit.prompt; price(); $("prompt").focus(); }, "ask with these settings again");
  const how = add(acts, "details");
  add(how, "summary", "How it was made");
  edit.row = {li, pick, brief: line, status, bar, words, stop, acts, how: add(add(how, "table"), "tbody")};
  progress(edit);
  return edit;
}
function brief({settings: s, where}) {
  return !s ? "" : [`strength ${s.strength}`, `guidance ${s.guidance}`, `seed ${s.seed}`, s.preset === "exact" ? "" : s.preset, s.compose === D.defaults.compose ? "" : s.compose,
    where && where !== "whole film" ? where.replace(/ .*|,.*/, "") : ""].filter(Boolean).join(", ");
}
function describe(edit, entry) {
  if (edit.facts.length) return;
  edit.facts = entry.facts || [];
  for (const [name, value] of edit.facts) {
    const row = add(edit.row.how, "tr");
    add(row, "th", name, {scope: "row"});
    add(row, "td", value);
  }
}

function take(event) {
  const edit = jobs.get(event.job);
  if (!edit) {
    // The answer to our own request may come after the first events; else the edit is another tab's, and its film may be.
    if (!films.has(event.film)) return void resume();
    adopt({job: event.job, film: films.get(event.film), prompt: event.prompt, settings: event.settings, begun: 0, state: "queued"});
    render();
    return take(event);
  }
  const before = edit.state;
  if (edit.finished) return;
  if (event.type === "queued") edit.position = event.position;
  else if (event.type === "started" || event.type === "progress") {
    Object.assign(edit, {state: "started", done: event.done || 0, total: event.total || edit.total, left: event.left ?? edit.left});
    edit.since = edit.since || performance.now();
    if (edit.done > 1 && edit.settings) learned.set(edit.settings.preset, (performance.now() - edit.since) / 1000 / edit.done);
  } else {
    Object.assign(edit, {state: event.type, finished: true, message: event.message || "", edit: event.edit || null});
    if (event.type === "done" && (!edit.film.shown || edit.film.chosenAt < edit.begun)) {
      edit.film.shown = edit;
      if (edit.film === current) { render(); show(); }
    } else if (edit.film === current && S.mode === "all") show();
  }
  progress(edit);
  if (before !== edit.state) render();
}

function progress(edit) {
  const {row} = edit, left = typeof edit.left === "number" ? `, ${duration(edit.left)} left` : "";
  row.status.hidden = edit.state === "done" && !edit.saved;
  row.bar.hidden = edit.state !== "started";
  row.stop.hidden = !pending(edit);
  row.pick.disabled = edit.state !== "done";
  row.bar.max = edit.total || 1;
  row.bar.value = edit.done;
  row.words.textContent = {
    queued: edit.position > 0 ? `waiting, ${edit.position} before it` : "waiting",
    started: edit.stopping ? "stopping" : edit.total ? `${edit.done} of ${edit.total} UNet evaluations${left}` : `starting${left}`,
    done: "saved", stopped: "stopped", failed: `Failed: ${edit.message}`,
  }[edit.state];
  row.status.classList.toggle("fault", edit.state === "failed");
  badge(edit.film);
  working();
}
let occupied = "";
function busy(words) { occupied = words; working(); }
function working() {
  const all = [...jobs.values()], running = all.find(e => e.state === "started"), waiting = all.filter(e => e.state === "queued").length;
  $("work").textContent = occupied || [running && `${running.label}: ${running.done} of ${running.total || "?"}${typeof running.left === "number" ? `, ${duration(running.left)} left` : ""}`,
    waiting && `${waiting} waiting`].filter(Boolean).join("; ");
}
const stopEdit = guarded(async edit => {
  if (!edit) return;
  edit.stopping = true;
  progress(edit);
  await server.request("stop", {job: edit.job});
});
function stopLast() { stopEdit([...jobs.values()].find(e => e.state === "started") || [...jobs.values()].find(pending)); }

function openHistory() {
  const list = $("all-edits");
  list.textContent = "";
  for (const e of jobs.values()) {
    const item = add(list, "li"), b = button(item, undefined, () => { $("past").close(); chooseEdit(e); });
    b.className = "pick";
    b.disabled = e.state !== "done";
    add(b, "span", e.label, {className: "words"});
    add(b, "small", [e.at.toLocaleTimeString(), e.film.facts.name, brief(e), e.state === "done" ? e.saved ? "saved" : "not saved" : e.state].filter(Boolean).join(", "));
  }
  $("past-none").hidden = jobs.size > 0;
  $("past").showModal();
}
$("past-close").addEventListener("click", () => $("past").close());
