"use strict";
// Save an edit.
const FORMATS = [["dicom", "DICOM", "with the header of the source, marked as synthetic"], ["png", "PNG", "the image alone, without a header"],
  ["html", "Page", "one HTML file that compares the edit with its source, without a network"], ["command", "Command line", "to copy: the same edit by roentmod-fast edit"]];
const IDENTITIES = [["pseudonymize", "Pseudonymize", "Names, numbers and UIDs are replaced, dates shifted; edits of one patient stay together."],
  ["none", "None", "The header stays as it is, with the patient's name: do not pass it on."],
  ["anonymize", "Anonymize", "Nothing links to the patient; edits of one patient cannot be put together."]];
const choices = (parent, name, all) => {
  for (const [value, words, more] of all) {
    const label = add($(parent), "label", undefined, {className: "choice"}), text = document.createElement("span");
    add(label, "input", undefined, {type: "radio", name, value, checked: value === all[0][0]}).addEventListener("change", format);
    label.append(text);
    add(text, "b", words);
    add(text, "small", more);
  }
};
const chosen = name => document.querySelector(`input[name=${name}]:checked`).value;
let saving = null;
const versions = () => saving.film.edits.filter(e => e.state === "done");
for (const [value, words] of [["source", "as the source"], ["secondary-capture", "Secondary Capture"]]) option($("sop"), words, value);
for (const [value, words] of [["explicit", "uncompressed (explicit)"], ["rle", "RLE, lossless"], ["jpeg2000", "JPEG 2000, lossless"]]) option($("syntax"), words, value);

const format = guarded(async () => {
  const as = chosen("format"), count = versions().length;
  $("every").hidden = as !== "html" || count < 2;
  $("every").lastElementChild.textContent = `All ${count} edits of this film in the page`;
  $("identity").hidden = $("dicom").hidden = as !== "dicom" && as !== "command";
  $("save-mask").hidden = true;
  $("command").hidden = as !== "command";
  $("save-go").textContent = as === "command" ? "Copy" : "Save";
  $("save-message").textContent = "";
  if (as === "command") {
    $("line").value = "";
    const {command, needs = []} = await server.json(`command/${saving.edit}?${new URLSearchParams(file())}`);
    $("line").value = command;
    $("save-mask").hidden = !needs.length;
  }
});
choices("formats", "format", FORMATS);
choices("identities", "identity", IDENTITIES);
// How a DICOM file is written.
const file = () => ({deidentify: $("identity").hidden ? "pseudonymize" : chosen("identity"), label: $("burn").checked, sop_class: $("sop").value, transfer_syntax: $("syntax").value});
function openSave(edit) {
  if (!edit || edit.state !== "done") return;
  saving = edit;
  $("save-what").textContent = `${edit.label}, of ${edit.film.facts.name}. Every file is marked as synthetic.`;
  format();
  $("save").showModal();
}
async function save(as = chosen("format")) {
  const edits = as === "html" && $("all").checked ? versions() : [saving];
  $("save-go").disabled = true;
  try {
    if (as === "command") {
      await navigator.clipboard.writeText($("line").value).catch(() => { $("line").select(); document.execCommand("copy"); });
      $("save-message").textContent = "Copied.";
      return;
    }
    const answer = await server.request("save", {edits: edits.map(e => e.edit), as, ...file()});
    const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") || "");
    download(await answer.blob(), name ? name[1] : `edit.${{dicom: "dcm"}[as] || as}`);
    for (const e of edits) { e.saved = e.saved || as !== "mask"; progress(e); }
    $("save-message").textContent = `Saved${name ? ` as ${name[1]}` : ""} in the browser's folder of downloads.`;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    $("save-message").textContent = error.message;
  } finally { $("save-go").disabled = false; }
}
for (const id of ["burn", "sop", "syntax"]) $(id).addEventListener("change", format);
$("save-go").addEventListener("click", () => save());
$("save-mask").addEventListener("click", () => save("mask"));
$("save-close").addEventListener("click", () => $("save").close());
