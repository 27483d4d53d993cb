"use strict";
// Open films, as files, folders or archives; their strip; close them.
let opening = Promise.resolve();
function openFiles(files) { return opening = opening.then(() => openEach([...files])); }

async function openEach(files) {
  const faults = [], remarks = [];
  let found = 0;
  notice("");
  for (const [n, file] of files.entries()) {
    busy(files.length > 1 ? `Opening ${n + 1} of ${files.length}: ${file.name}` : `Opening ${file.name}`);
    try {
      if (file.size > D.limits.bytes) throw new Refused(`${file.name}: ${Math.ceil(file.size / 1e6)} MB: at most ${Math.floor(D.limits.bytes / 1e6)} MB can be opened`);
      const answer = await server.request("open?name=" + encodeURIComponent(file.name), file, "application/octet-stream");
      const {films: opened, notes = []} = await answer.json();
      for (const facts of opened) { addFilm(facts); if (!found++) chooseFilm(facts.id); }
      remarks.push(...notes);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      faults.push(error.message);
      if (server.lost) break;
    }
  }
  busy("");
  if (faults.length) notice(faults.length > 1 ? `${faults.length} of ${files.length} files were not opened. ${faults[0]}` : faults[0]);
  else if (remarks.length) notice(remarks.length > 3 ? `${remarks.slice(0, 3).join("; ")}; and ${remarks.length - 3} more` : remarks.join("; "));
  else if (!found && files.length) notice("No radiograph was found in what was opened.");
  if (!files.length) notice("No file was found in what was dropped.");
}

const openDemo = guarded(async () => {
  busy("Opening the phantom");
  try { for (const facts of (await server.json("demo", {})).films) { addFilm(facts); chooseFilm(facts.id); } } finally { busy(""); }
});

function addFilm(facts) {
  if (films.has(facts.id)) return films.get(facts.id);
  const film = {id: facts.id, facts, image: null, kept: null, shown: null, first: "source", area: new Area(), chosenAt: 0, edits: []};
  films.set(facts.id, film);
  const item = film.item = add($("strip"), "div", undefined, {className: "film"});
  film.pick = button(item, undefined, () => chooseFilm(film.id));
  const image = add(film.pick, "img", undefined, {alt: ""});
  film.pick.append(add(item, "span", facts.name, {className: "name"}), film.badge = add(item, "span", "", {className: "badge"}));
  film.close = button(item, "\u00d7", () => closeFilm(film), "close this film", "Delete");
  film.close.className = "close";
  film.close.setAttribute("aria-label", `Close ${facts.name}`);
  film.setThumb = () => { image.src = thumbOf(film); };
  film.setThumb();
  $("strip").hidden = films.size < 2;
  badge(film);
  return film;
}

const thumbOf = ({facts: {thumb}}) => /^data:image\//.test(thumb || "") ? thumb : "data:,";

function badge(film) {
  const open = film.edits.filter(pending).length, done = film.edits.filter(e => e.state === "done").length;
  film.badge.textContent = film.facts.refused ? "not opened" : [done ? `${done} edit${done > 1 ? "s" : ""}` : "", open ? `${open} in the queue` : ""].filter(Boolean).join(", ");
}

const closeFilm = guarded(async film => {
  const unsaved = film.edits.filter(e => pending(e) || e.state === "done" && !e.saved).length;
  if (unsaved && !await question(`Close ${film.facts.name}? It has ${unsaved} edit${unsaved > 1 ? "s" : ""} that ${unsaved > 1 ? "are" : "is"} not saved.`, "Close it")) return;
  for (const each of film.edits.filter(pending)) await server.request("stop", {job: each.job});
  await server.request("close", {film: film.id});
  const ids = [...films.keys()], next = ids[ids.indexOf(film.id) + 1] || ids[ids.indexOf(film.id) - 1];
  films.delete(film.id);
  cache.held.delete("film" + film.id);
  for (const each of film.edits) { jobs.delete(each.job); cache.held.delete("edit" + each.edit); each.row.li.remove(); }
  film.item.remove();
  $("strip").hidden = films.size < 2;
  if (current === film) { current = drawn = null; if (next) chooseFilm(next); else render(); }
});
