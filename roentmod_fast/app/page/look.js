"use strict";
// Films and edits on screen.
async function cached(key, holder, fetch) {
  const found = cache.get(key);
  if (found) return found;
  holder.loading = holder.loading || fetch().then(pixels => { cache.put(key, pixels); return pixels; }).finally(() => { holder.loading = null; });
  return holder.loading;
}
const sourceOf = film => cached("film" + film.id, film, async () => {
  // The length of what JSON knows, that, and the stored values as they are: on loopback no encoding pays.
  const bytes = await (await server.request("pixels/" + film.id)).arrayBuffer(), length = new DataView(bytes).getUint32(0, true);
  const data = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  if (!film.image) film.image = {...data, table: await inflate(data.table)};
  return new Pixels(new Uint16Array(bytes.slice(4 + length)), data.columns, data.rows);
});
const editOf = edit => cached("edit" + edit.edit, edit, async () => {
  const {edit: entry, blob} = await server.json("result/" + edit.edit), source = await sourceOf(edit.film), {columns, rows} = source;
  describe(edit, entry);
  return new Pixels(await decodeValues(blob, entry, columns, rows, source.levels[0]), columns, rows);
});

function chooseFilm(id) {
  const film = films.get(id);
  if (!film || film === current) return;
  current = film;
  render();
  show();
}
function stepFilm(way) {
  const ids = [...films.keys()];
  if (current) chooseFilm(ids[ids.indexOf(current.id) + way]);
}

// Show what is chosen of the current film: its source, or a comparison.
const show = guarded(async () => {
  const film = current, ticket = ++asked;
  document.body.dataset.ready = "";
  if (!film || film.facts.refused) return;
  const source = {pixels: await sourceOf(film)}, shown = film.shown;
  const synthetic = async edit => ({pixels: await editOf(edit), synthetic: true, words: edit.label});
  const base = shown && film.edits.find(e => e.edit === film.first);
  const first = base && base !== shown ? await synthetic(base) : source, second = shown ? await synthetic(shown) : null;
  const all = S.mode === "all" ? [source, ...await Promise.all(film.edits.filter(e => e.state === "done").slice(1 - SHOWN_MOST).map(synthetic))] : [];
  if (ticket !== asked) return;
  if (drawn !== film) {
    if (drawn) drawn.kept = keep();
    drawn = film;
    view.load(film.image, film.kept);
    presets();
  }
  comparison.all = all;
  comparison.show(first, second);
  render();
  view.resize();
  readout();
  const words = e => `SYNTHETIC edit: ${e.label}`;
  canvas.setAttribute("aria-label", shown ? `${first === source ? "Source" : words(base)} and ${words(shown)}` : `Source: ${film.facts.name}`);
  document.body.dataset.ready = `${film.id} ${shown ? shown.edit : ""}`;
});
function keep() {
  const {preset, centre, width, invert, zoom, x, y, fit} = S;
  return {preset, centre, width, invert, zoom, x, y, fit};
}

// What the page shows of the state, pixels apart.
function render() {
  const film = current, refused = film && film.facts.refused, ready = film && !refused && drawn === film;
  $("title").textContent = film ? film.facts.name : "roentmod-fast";
  document.title = `${film ? film.facts.name : "roentmod-fast"} - ${D.warning}`;
  for (const each of films.values()) {
    each.item.classList.toggle("chosen", each === film);
    if (each === film) each.pick.setAttribute("aria-current", "true");
    else each.pick.removeAttribute("aria-current");
  }
  $("start").hidden = Boolean(film);
  $("bar").hidden = !film || Boolean(refused);
  canvas.hidden = !ready;
  $("hint").hidden = $("value").hidden = !ready;
  $("thumb").hidden = !film || Boolean(refused) || ready;
  if (film && !ready) $("thumb").src = thumbOf(film);
  $("refusal").hidden = !refused;
  if (refused) {
    $("reason").textContent = refused.message;
    $("refused-thumb").src = thumbOf(film);
    $("way").textContent = refused.forcible ? `If you know better, you can use it all the same. In doubt: ${(refused.doubts || []).join(", ").replace(/[_-]/g, " ")}.` : "This file cannot be used.";
    $("force").hidden = !refused.forcible;
  }
  for (const e of $("ask-panel").querySelectorAll("button,input,select,textarea")) e.disabled = !film || Boolean(refused);
  $("go").disabled = !film || Boolean(refused) || server.lost;
  const done = film ? film.edits.filter(e => e.state === "done") : [];
  for (const b of $("modes").children) b.disabled = !film || !film.shown;
  const select = $("base");
  $("against").hidden = done.length < 2;
  select.textContent = "";
  option(select, "source", "source");
  for (const e of done) if (e !== film.shown) option(select, e.label, e.edit);
  select.value = film && film.edits.some(e => e.edit === film.first && e !== film.shown) ? film.first : "source";
  for (const e of jobs.values()) {
    e.row.li.hidden = e.film !== film;
    e.row.li.classList.toggle("chosen", Boolean(film) && film.shown === e);
    e.row.pick.setAttribute("aria-pressed", String(Boolean(film) && film.shown === e));
    e.row.acts.hidden = e.state !== "done" || film?.shown !== e;
  }
  $("edits-panel").hidden = !film || !film.edits.length;
  areaChanged();
  price();
}

function presets() {
  $("preset").textContent = "";
  option($("preset"), "own", -1);
  view.image.windows.forEach((w, n) => option($("preset"), `${n + 1}: ${w[0]}`, n));
  $("preset").value = String(S.preset);
}
$("preset").addEventListener("change", () => $("preset").value !== "-1" && view.choosePreset(+$("preset").value));
function windowed(n) { $("preset").value = String(n); }
function moded(mode) {
  for (const b of $("modes").children) b.setAttribute("aria-pressed", String(b.textContent === mode));
  if (mode === "all") show();
}
function readout() {
  $("hint").textContent = view.words();
  $("value").textContent = comparison.readout();
}
function chooseEdit(edit) {
  if (!edit || edit.state !== "done") return;
  edit.film.shown = edit;
  edit.film.chosenAt = performance.now();
  if (S.mode === "all") comparison.setMode("slider");
  if (edit.film !== current) chooseFilm(edit.film.id);
  else show();
}
function stepEdit(way) {
  const done = current ? current.edits.filter(e => e.state === "done") : [];
  chooseEdit(done[done.indexOf(current?.shown) + way]);
}
function compareWith(value) {
  current.first = value;
  show();
}
$("base").addEventListener("change", () => compareWith($("base").value));
function nextBase() {
  const values = [...$("base").options].map(o => o.value);
  if (current?.shown) compareWith(values[(values.indexOf($("base").value) + 1) % values.length]);
}
$("force").addEventListener("click", guarded(async () => {
  const film = current;
  busy("Opening");
  try { film.facts = await server.json("force", {film: film.id, doubts: film.facts.refused.doubts}); } finally { busy(""); }
  film.setThumb();
  badge(film);
  render();
  show();
}));
