"use strict";
// Ask for edits, and what they will take.
const rate = v => typeof v === "number" ? `${Math.round(v * 100)} %` : "";
// What appears unasked: [{key, rate}], the most frequent first.
const listed = all => [...all].sort((a, b) => b.rate - a.rate).map(({key, rate: share}) => `${key} in ${rate(share)}`).join(", ");
// What nobody measured comes last, over the whole width.
for (const finding of [...D.findings].sort((a, b) => (a.rate === null) - (b.rate === null))) {
  const b = button($("findings"), undefined, () => { b.setAttribute("aria-pressed", String(b.getAttribute("aria-pressed") !== "true")); about(finding); price(); });
  b.setAttribute("aria-pressed", "false");
  b.dataset.prompt = finding.prompt;
  add(b, "span", capital(finding.prompt));
  if (rate(finding.rate)) add(b, "small", rate(finding.rate), {title: "RoentGen's edits in which readers saw it"});
  else b.className = "wide";
  for (const kind of ["focus", "pointerenter"]) b.addEventListener(kind, () => about(finding));
}
function about(finding) {
  $("unasked").textContent = [rate(finding.rate) ? `With RoentGen, readers saw it in ${rate(finding.rate)} of edits.` : "Nobody measured how often this works.", finding.unasked.length && `They also saw, unasked: ${listed(finding.unasked)}.`].filter(Boolean).join(" ");
}
$("unasked").textContent = "Percent: edits by RoentGen in which readers saw it. Look for findings that appear unasked.";
const fields = {strength: $("strength"), guidance: $("guidance"), seed: $("seed"), preset: $("speed"), compose: $("compose")};
for (const each of D.presets) option($("speed"), each.name, each.name);
$("speed").parentElement.hidden = D.presets.length < 2;
for (const name of ["contrast", "delta", "replace"]) option($("compose"), name, name);
function fill(settings) { for (const [name, field] of Object.entries(fields)) if (settings[name] !== undefined && settings[name] !== null) field.value = String(settings[name]); price(); }
function settings() {
  const number = name => fields[name].value === "" ? D.defaults[name] : +fields[name].value;
  return {strength: number("strength"), guidance: number("guidance"), seed: number("seed"), preset: fields.preset.value, compose: fields.compose.value};
}
function prompts() {
  const chosen = [...$("findings").querySelectorAll("[aria-pressed=true]")].map(b => b.dataset.prompt), own = $("prompt").value.replace(/\s+/g, " ").trim();
  return own && !chosen.includes(own) ? [...chosen, own] : chosen;
}
// Seconds of one edit: as measured in this sitting, else as the preset was measured at the default strength.
const learned = new Map();
function seconds(of) {
  const evaluations = of.strength * D.defaults.steps, found = learned.get(of.preset);
  if (found) return found * evaluations;
  const known = D.presets.find(p => p.name === of.preset)?.seconds;
  return typeof known === "number" ? known * of.strength / D.defaults.strength : null;
}
function price() {
  const of = settings(), n = prompts().length, one = seconds(of);
  $("strength-out").textContent = `${of.strength.toFixed(2)}`;
  for (const [i, each] of D.presets.entries()) {
    const cost = seconds({...of, preset: each.name});
    $("speed").options[i].textContent = each.name + (cost === null ? "" : ` \u2013 about ${duration(cost)}`);
  }
  $("go").textContent = (n > 1 ? `Make ${n} edits` : "Make the edit") + (one === null ? "" : `, about ${duration(one * (n || 1))}`);
}
for (const field of Object.values(fields)) field.addEventListener("input", price);
$("prompt").addEventListener("input", price);
$("prompt").addEventListener("keydown", event => { if (event.key === "Enter" && !event.isComposing) { event.preventDefault(); go(); } });
$("reseed").addEventListener("click", () => { $("seed").value = String(Math.floor(Math.random() * 2 ** 31)); });

const go = guarded(async () => {
  const film = current, all = prompts();
  if (!film || film.facts.refused || server.lost) return;
  if (!all.length) { message("Choose a finding or type one."); return $("prompt").focus(); }
  const of = settings(), where = film.area.words();
  message("");
  film.area.tool = "";
  // Cleared first: asking again asks for nothing twice.
  const own = $("prompt").value, hints = [];
  $("prompt").value = "";
  for (const b of $("findings").children) b.setAttribute("aria-pressed", "false");
  render();
  const mask = await film.area.mask(film.image || film.facts);
  for (const prompt of all) {
    const begun = performance.now();
    let answer;
    try { answer = await server.json("edit", {film: film.id, prompt, ...of, mask}); } catch (error) {
      if (!(error instanceof Refused)) throw error;
      $("prompt").value = $("prompt").value || own;
      price();
      return message(error.message);
    }
    const {job, hint, seconds: left} = answer;
    if (hint) hints.push(hint);
    adopt({job, film, prompt, settings: of, where, hint, left, state: "queued", begun});
  }
  message(hints.join(" ") || (all.length > 1 ? `${all.length} edits are in the queue.` : ""), !hints.length);
  render();
  view.redraw();
});
$("go").addEventListener("click", go);
