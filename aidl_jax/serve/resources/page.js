
"use strict";
const find = (name) => document.getElementById(name);
const field = find("field"), pen = field.getContext("2d"), turn = find("turn"), answer = find("answer");
const WIDTH = 32;
let asked = 0, last = null, dropped = null, drawn = false;

function clear() {
  asked += 1; dropped = null; drawn = false; turn.checked = false; turn.disabled = true;
  pen.fillStyle = "black";
  pen.fillRect(0, 0, field.width, field.height);
  show({}, "Nothing is drawn yet.");
}

function show(shares, text, wrong = false) {
  answer.textContent = text;
  answer.classList.toggle("wrong", wrong);
  const most = Math.max(0, ...Object.values(shares));
  for (const row of document.querySelectorAll("#classes li")) {
    const share = shares[row.dataset.class];
    row.querySelector("meter").value = share ?? 0;
    row.querySelector(".share").textContent = share === undefined ? "" : `${(100 * share).toFixed(1)} %`;
    row.classList.toggle("first", share !== undefined && share === most);
  }
}

async function ask() {
  const number = ++asked;
  try {
    const body = await new Promise((done) => field.toBlob(done, "image/png"));
    const reply = await fetch("/predict", {method: "POST", headers: {"Content-Type": "image/png"}, body});
    const told = await reply.json();
    if (number !== asked) return;  // something newer is drawn
    if (!reply.ok) return show({}, told.error, true);
    const [one] = told.predictions;
    show(one.probabilities, `The model reads: ${one.class}`);
  } catch (error) {
    if (number === asked) show({}, "The server does not answer. Is it still running?", true);
  }
}

function place(event) {
  const at = field.getBoundingClientRect();
  return [(event.clientX - at.left) * field.width / at.width, (event.clientY - at.top) * field.height / at.height];
}

function line(to) {
  pen.strokeStyle = "white"; pen.lineWidth = WIDTH; pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(...last);
  pen.lineTo(...to);
  pen.stroke();
  last = to; drawn = true;
}

field.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !event.isPrimary) return;
  field.setPointerCapture(event.pointerId);
  last = place(event);
  line(last);
});
field.addEventListener("pointermove", (event) => {
  if (last === null || !event.isPrimary) return;
  for (const part of event.getCoalescedEvents?.() ?? []) line(place(part));
  line(place(event));
});
for (const end of ["pointerup", "pointercancel"]) field.addEventListener(end, (event) => {
  if (last === null || !event.isPrimary) return;
  last = null;
  ask();
});

async function open(file) {
  if (!file) return;
  try {
    const image = await createImageBitmap(file);
    clear();
    dropped = image;
    turn.disabled = false;
    paint();
    turn.checked = pen.getImageData(0, 0, 1, 1).data[1] > 127;
    if (turn.checked) paint();
    ask();
  } catch (error) {
    show({}, "This file is no image that the browser can read.", true);
  }
}

function paint() {
  const scale = Math.min(field.width / dropped.width, field.height / dropped.height);
  const width = dropped.width * scale, height = dropped.height * scale;
  const corner = new OffscreenCanvas(1, 1).getContext("2d");
  corner.drawImage(dropped, 0, 0);
  const [red, green, blue] = corner.getImageData(0, 0, 1, 1).data;
  pen.fillStyle = `rgb(${red} ${green} ${blue})`;
  pen.fillRect(0, 0, field.width, field.height);
  pen.drawImage(dropped, (field.width - width) / 2, (field.height - height) / 2, width, height);
  if (turn.checked) {
    pen.globalCompositeOperation = "difference";
    pen.fillStyle = "white";
    pen.fillRect(0, 0, field.width, field.height);
    pen.globalCompositeOperation = "source-over";
  }
}

turn.addEventListener("change", () => { if (dropped) { paint(); ask(); } });
find("clear").addEventListener("click", clear);
find("file").addEventListener("change", (event) => { open(event.target.files[0]); event.target.value = ""; });
addEventListener("dragover", (event) => { event.preventDefault(); field.classList.add("over"); });
addEventListener("dragleave", () => field.classList.remove("over"));
addEventListener("drop", (event) => { event.preventDefault(); field.classList.remove("over"); open(event.dataTransfer.files[0]); });
clear();
