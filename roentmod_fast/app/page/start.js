"use strict";
// Drops, keys and buttons; then the page opens.
let inside = 0;
const holdsFiles = event => [...event.dataTransfer.types].includes("Files");
addEventListener("dragenter", event => { if (holdsFiles(event)) { inside++; $("drop").hidden = false; } });
addEventListener("dragleave", event => { if (holdsFiles(event) && --inside <= 0) { inside = 0; $("drop").hidden = true; } });
addEventListener("dragover", event => { event.preventDefault(); event.dataTransfer.dropEffect = holdsFiles(event) ? "copy" : "none"; });
addEventListener("drop", async event => {
  event.preventDefault();
  inside = 0;
  $("drop").hidden = true;
  if (holdsFiles(event)) openFiles(await droppedFiles(event.dataTransfer));
});
for (const id of ["files", "folder"]) $(id).addEventListener("change", () => { const files = ordered([...$(id).files]); $(id).value = ""; openFiles(files); });

const quit = guarded(async () => {
  if (!await question("Quit the app? Films and edits that you have not saved are discarded.", "Quit")) return;
  await server.request("quit", {});
  $("lost").dataset.quit = "yes";
});
function toFilm() { if (!canvas.hidden) canvas.focus(); }
const openDialog = () => $("files").click(), openFolder = () => $("folder").click(), help = () => $("help").showModal();
const withFilm = keys => keys.map(([names, words, act]) => [names, words, (...a) => current && comparison.first && act(...a)]);
const withEdit = keys => withFilm(keys).map(([names, words, act]) => [names, words, (...a) => current?.shown && act(...a)]);
const KEYS = [
  [["o", "O"], "open files, a folder", k => k === "o" ? openDialog() : openFolder()],
  [["ArrowLeft", "ArrowRight"], "film before, after", k => stepFilm(k === "ArrowLeft" ? -1 : 1)],
  [["Delete"], "close this film", () => current && closeFilm(current)],
  [["n"], "findings", () => $("findings").firstElementChild?.focus()],
  [["e"], "in your own words", () => $("prompt").focus()],
  ...withFilm([[["W", "B", "P"], "edit the whole film, a box, a brushed area", k => useTool(TOOLS.find(t => t[2] === k)[0])],
    [["z", "Z"], "area: undo, clear", k => changeArea(a => k === "z" ? a.undo() : a.clear())]]),
  [["g"], "make the edit", (_, again) => again || go()],
  [["k"], "stop the edit that runs", (_, again) => again || stopLast()],
  [["ArrowUp", "ArrowDown"], "edit after, before", k => stepEdit(k === "ArrowUp" ? 1 : -1)],
  ...withEdit(comparison.modeKeys("source")),
  [["c"], "compare with the next version", nextBase],
  ...withFilm([[["1", "2", "3", "4", "5", "6", "7", "8", "9"], "window presets", k => view.choosePreset(+k - 1)], ...comparison.keys("0")]),
  [["S"], "save the edit", () => openSave(current?.shown)],
  [["y"], "history of this sitting", openHistory],
  [["p"], "panel", () => { $("panel").hidden = !$("panel").hidden; view.resize(); }],
  [["?"], "these keys", help],
];
const bound = keyboard(KEYS, [...COMPARISON_MOUSE, ["drag with box or brush", "the area of the edit"]], () => true);
// Escape leaves a field for the film.
addEventListener("keydown", event => { if (event.key === "Escape" && !document.querySelector("dialog[open]") && typing(event.target)) { event.target.blur(); toFilm(); } });

for (const [parent, names] of [["main-acts", [["Open\u2026", openDialog, "open files", "o"], ["Folder\u2026", openFolder, "open a folder", "O"], ["History", openHistory, "", "y"], ["Keys", help, "", "?"], ["Quit", quit, "end the app"]]],
  ["start-acts", [["Open files\u2026", openDialog, "", "o"], ["Open a folder\u2026", openFolder, "", "O"], ["Try it with a phantom", openDemo, "a radiograph that was computed"]]]])
  for (const each of names) button($(parent), ...each);
$("start-acts").firstElementChild.className = "primary";
for (const [mode, key] of MODES) button($("modes"), mode, () => comparison.setMode(mode), "", key);
for (const [words, act, key, title] of [["Invert", () => view.invert(), "i"], ["Fit", () => view.fit(), "0"], ["1:1", () => view.oneToOne(), "x", "one pixel to one pixel"], ["Reset", () => comparison.reset(), "r", "window and view"]])
  button($("tools"), words, act, title, key);
$("about").textContent = [`Engine ${D.engine} on ${D.device}.`, D.notice].filter(Boolean).join(" ");

server.changed = lost => {
  $("lost").hidden = !lost;
  $("lost").textContent = $("lost").dataset.quit ? "The app has ended. Start roentmod-fast app to go on." :
    "No connection to the app. What is on the screen stays; trying again. If it was ended, start roentmod-fast app and open the address that it prints.";
  render();
};
// What the server holds: after a reload, or when it answers again.
async function resume() {
  let held;
  try { held = await server.json("sitting"); } catch (error) { if (error instanceof Refused) return; throw error; }
  const waiting = new Set((held.jobs || []).map(event => event.job));
  for (const facts of held.films || []) addFilm(facts);
  // An edit that ended while there was no connection, or one of before a reload.
  for (const e of held.edits || []) if (films.has(e.film)) take({...e, type: "done"});
  for (const e of jobs.values()) if (pending(e) && !waiting.has(e.job)) take({type: "failed", job: e.job, message: "it ended while there was no connection"});
  for (const event of held.jobs || []) if (films.has(event.film)) take(event);
  if (!current && films.size) chooseFilm(films.keys().next().value);
}
server.again = guarded(resume);

fill(D.defaults);
comparison.setMode("slider");
new ResizeObserver(() => view.resize()).observe($("stage"));
render();
server.listen(take);
window.app = {state: S, view, comparison, films, jobs, keys: [...bound.keys()], current: () => current, draw: () => view.draw()};
guarded(async () => {
  await resume();
  if (D.demo && !films.size) await openDemo();
  document.body.dataset.open = "yes";
})();
