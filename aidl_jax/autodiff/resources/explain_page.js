"use strict";

const frames = JSON.parse(document.getElementById("frames").textContent);
const find = (id) => document.getElementById(id);
const boxes = new Map([...document.querySelectorAll("[data-box]")].map((box) => [box.dataset.box, box]));
const edges = new Map([...document.querySelectorAll("[data-edge]")].map((edge) => [edge.dataset.edge, edge]));
let place = 0;

function mark(element, ...names) {
  if (element) element.classList.add(...names);
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

// Everything is drawn anew from the frame's number, so that going back needs no undoing.
function show(number) {
  place = Math.min(Math.max(number, 0), frames.length - 1);
  const frame = frames[place];
  for (const drawn of [...boxes.values(), ...edges.values()]) drawn.removeAttribute("class");
  for (const before of frames.slice(0, place)) {
    mark(boxes.get(before.box), before.kind === "forward" ? "done" : "passed");
  }
  for (const name of frame.boxes) mark(boxes.get(name), "kept");
  for (const name of frame.edges || []) mark(edges.get(name), "now", frame.kind);
  mark(boxes.get(frame.box), "now", frame.kind);
  mark(boxes.get(frame.to), "to");
  tell(frame);
  const shown = boxes.get(frame.box);
  if (shown) shown.scrollIntoView({ block: "center", inline: "center" });
}

function tell(frame) {
  find("title").textContent = frame.title;
  find("rows").replaceChildren(...frame.rows.flatMap(([name, text]) => [element("dt", name), element("dd", text)]));
  find("size").textContent = frame.size;
  find("share").style.width = `${frame.share}%`;
  find("held").replaceChildren(...frame.held.map(([name, size]) => {
    const item = document.createElement("li");
    item.append(element("span", name), element("span", size));
    return item;
  }));
  find("place").value = place;
  find("count").textContent = `${place + 1} / ${frames.length}`;
  find("first").disabled = find("back").disabled = place === 0;
  find("last").disabled = find("next").disabled = place === frames.length - 1;
}

const moves = {
  ArrowLeft: () => place - 1, ArrowUp: () => place - 1,
  ArrowRight: () => place + 1, ArrowDown: () => place + 1,
  Home: () => 0, End: () => frames.length - 1,
};
document.addEventListener("keydown", (event) => {
  const move = moves[event.key];
  if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  show(move());
});
find("first").onclick = () => show(0);
find("back").onclick = () => show(place - 1);
find("next").onclick = () => show(place + 1);
find("last").onclick = () => show(frames.length - 1);
find("place").oninput = (event) => show(Number(event.target.value));
addEventListener("hashchange", () => show(Number(location.hash.slice(1)) - 1));
show(Number(location.hash.slice(1) || 1) - 1);
