"use strict";
// Choose and draw the area of an edit.
const TOOLS = [["", "Whole film", "W"], ["box", "Box", "B"], ["brush", "Brush", "P"]];
for (const [tool, words, key] of TOOLS) button($("where"), words, () => useTool(tool), tool ? `draw a ${tool} on the film` : "no area", key).dataset.tool = tool;
const undo = button($("where"), "Undo", () => changeArea(a => a.undo()), "take back the last stroke", "z");
const clear = button($("where"), "Clear", () => changeArea(a => a.clear()), "", "Z");

function changeArea(act) { if (current) { act(current.area); areaChanged(); view.redraw(); } }
function useTool(tool) {
  changeArea(area => {
    area.tool = tool;
    if (!tool) area.clear();
    else if (tool === "box" && !area.box || tool === "brush" && area.box) area.clear();
    if (!area.size) area.size = Math.max(8, Math.round((current.facts.columns || 1000) / 16));
  });
}
function areaChanged() {
  const area = current && current.area, tool = area ? area.tool : "";
  for (const b of $("where").querySelectorAll("[data-tool]")) b.setAttribute("aria-pressed", String(Boolean(area) && b.dataset.tool === tool && (tool !== "" || area.empty)));
  undo.hidden = clear.hidden = !area || area.empty;
  canvas.dataset.tool = tool;
  const part = $("area");
  part.hidden = !tool;
  if (part.dataset.tool !== tool) {
    part.dataset.tool = tool;
    part.textContent = "";
    if (tool === "box") for (const [n, words] of ["left", "top", "right", "bottom"].entries()) {
      const input = add(add(part, "label", words + " "), "input", undefined, {type: "number", min: 0, step: 1});
      input.dataset.side = n;
      input.addEventListener("change", () => changeArea(a => a.setBox(sides())));
    }
    if (tool === "brush") {
      const input = add(add(part, "label", "Brush size "), "input", undefined, {type: "range", min: 4, max: Math.round((current.facts.columns || 1000) / 4)});
      input.addEventListener("input", () => { current.area.size = +input.value; });
    }
    add(part, "p", tool === "box" ? "Drag on the film, or type the pixels." : tool ? "Paint on the film where the edit may act." : "");
  }
  if (tool === "box" && area.box) for (const input of part.querySelectorAll("input")) input.value = area.box[input.dataset.side];
  if (tool === "brush") part.querySelector("input").value = area.size;
}
// The box that is typed, of whole pixels within the film.
function sides() {
  const {columns, rows} = view.image, ends = [columns, rows, columns, rows];
  const typed = [...$("area").querySelectorAll("input")].map((e, n) => Math.max(0, Math.min(ends[n], e.value === "" ? n > 1 ? ends[n] : 0 : Math.round(+e.value))));
  return [Math.min(typed[0], typed[2]), Math.min(typed[1], typed[3]), Math.max(typed[0], typed[2]), Math.max(typed[1], typed[3])];
}
function grab(p) {
  if (!current?.area.tool || drawn !== current) return "";
  current.area.begin(view.at(...p), view.image);
  view.redraw();
  return "area";
}
function dragged(_, p) { current.area.extend(view.at(...p), view.image); }
for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => { if (current?.area.tool) changeArea(a => a.settle()); });
function over(shown, pane) {
  if (drawn && (drawn.area.tool || !shown.synthetic)) drawn.area.over(view, pane);
}
