"use strict";
// Requests to the app's server and its events.
const TOKEN = location.pathname.split("/")[1], RETRY_MS = 1000;

class Refused extends Error {}

const server = {
  lost: false, changed: () => {}, again: () => {},
  heard(yes) {
    if (this.lost === !yes) return;
    this.lost = !yes;
    this.changed(this.lost);
    if (yes) this.again();
  },
  // Get, or post where a body is given: JSON, or a file as it is.
  async request(path, body, type = "application/json") {
    const options = {cache: "no-store", credentials: "omit"};
    if (body !== undefined) Object.assign(options, {method: "POST", headers: {"X-Roentmod": TOKEN, "Content-Type": type}, body: body instanceof Blob ? body : JSON.stringify(body)});
    let answer;
    try { answer = await fetch("api/" + path, options); } catch {
      this.heard(false);
      throw new Refused("The app does not answer. Nothing was sent; try again when it is back.");
    }
    this.heard(true);
    if (answer.ok) return answer;
    let words = `The app answered ${answer.status}.`;
    try { words = String((await answer.json()).error || words); } catch { /* no JSON: the status is what is known */ }
    throw new Refused(words);
  },
  async json(path, body) { return (await this.request(path, body)).json(); },

  // Events for as long as the page is open; the browser opens the stream again, and where it gives up we do.
  listen(take) {
    const stream = new EventSource("api/events");
    stream.onopen = () => this.heard(true);
    stream.onmessage = event => { this.heard(true); take(JSON.parse(event.data)); };
    stream.onerror = () => {
      this.heard(false);
      if (stream.readyState !== EventSource.CLOSED) return;
      setTimeout(() => this.listen(take), RETRY_MS);
    };
  },
};

// The files of a drop, those of folders too, in the order of their paths.
async function droppedFiles(transfer) {
  const entries = [...transfer.items].filter(i => i.kind === "file").map(i => (i.webkitGetAsEntry && i.webkitGetAsEntry()) || i.getAsFile());
  const found = [];
  const walk = async entry => {
    if (entry instanceof File) found.push(entry);
    else if (entry.isFile) {
      const file = await new Promise((done, failed) => entry.file(done, failed));
      found.push(Object.assign(file, {path: entry.fullPath}));
    } else {
      const reader = entry.createReader();
      // A reader returns at most a hundred entries at once.
      for (let some; (some = await new Promise((done, failed) => reader.readEntries(done, failed))).length;) for (const each of some) await walk(each);
    }
  };
  for (const entry of entries) if (entry) await walk(entry);
  return ordered(found);
}
const ordered = files => files.sort((a, b) => (a.path || a.webkitRelativePath || a.name).localeCompare(b.path || b.webkitRelativePath || b.name, "en", {numeric: true}));

function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = add(document.body, "a", "", {href: address, download: name, hidden: true});
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
