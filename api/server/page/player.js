// A moment in its video, with the object's box and the way it takes drawn over it.

import { clock, make, nameOf, showProblem } from "./parts.js";
import { call } from "./service.js";

const LEAD_S = 1.5;

export async function play(objectId, moment) {
  const dialog = document.getElementById("player");
  const told = make("div", {}, make("p", { class: "quiet" }, "Loading …"));
  const title = make("h1", {}, moment.caption || "An object");
  const close = make("button", { type: "button", onclick: () => dialog.close() }, "Close");
  dialog.replaceChildren(make("div", { class: "top" }, title, close), told);
  if (!dialog.open) dialog.showModal();
  dialog.onclose = () => dialog.replaceChildren();
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  try {
    const [object, video] = await Promise.all([call(`v1/objects/${objectId}`), call(`v1/videos/${moment.video_id}`)]);
    if (dialog.open) told.replaceWith(showStage(object, video, moment));
  } catch (error) {
    showProblem(told, error);
  }
}

function showStage(object, video, moment) {
  const start = Math.max(0, moment.start_s - LEAD_S);
  const film = make("video", { controls: true, muted: true, playsinline: true, preload: "auto" });
  const canvas = make("canvas", { width: video.width, height: video.height, "aria-hidden": "true" });
  const stage = make("div", { class: "stage" }, film, canvas);
  const note = make("p", { class: "small quiet" }, `${nameOf(object.uri)}, ${clock(object.start_s)} – ${clock(object.end_s)}`);
  const drawn = make("input", { type: "checkbox", checked: true });
  let isWhole = true; // the video itself; else a clip that the service drew

  const draw = (second = film.currentTime) => drawObject(canvas, object, isWhole && drawn.checked ? second : null);
  const follow = (_, shown) => {
    draw(shown?.mediaTime); // the frame that is seen, which the clock of the film may be ahead of
    if (shown && !film.isConnected) return;
    film.requestVideoFrameCallback ? film.requestVideoFrameCallback(follow) : requestAnimationFrame(() => follow());
  };
  film.addEventListener("loadedmetadata", () => isWhole && (film.currentTime = start), { once: true });
  film.addEventListener("loadeddata", () => film.play().catch(() => {}), { once: true });
  film.addEventListener("seeked", () => draw());
  film.addEventListener("error", () => {
    if (isWhole) showClip("This browser cannot play the video itself; this is a clip of it.");
    else note.textContent = "The video cannot be played. Do: see whether it is still where it was indexed.";
  });
  drawn.addEventListener("change", () => draw());

  function showClip(reason) {
    isWhole = false;
    drawObject(canvas, object, null);
    note.textContent = reason;
    const span = new URLSearchParams({ start_s: start, end_s: Math.min(moment.end_s + LEAD_S, start + 120) });
    film.src = `v1/objects/${object.object_id}/clip?${span}`;
    film.play().catch(() => {});
  }
  film.src = `v1/videos/${video.video_id}/media`;
  follow();

  const jumps = object.moments.map((each) =>
    make("li", {}, make("button", { type: "button", class: "chip", onclick: () => jump(each.start_s) }, `${clock(each.start_s)} ${each.caption}`)),
  );
  function jump(second) {
    if (!isWhole) return;
    film.currentTime = second;
    film.play().catch(() => {});
  }
  return make(
    "div",
    {},
    stage,
    note,
    make(
      "div",
      { class: "row" },
      make("label", {}, drawn, " box and path"),
      make("button", { type: "button", onclick: () => showClip("With masks, drawn by the service.") }, "With masks"),
      make("a", { href: `v1/objects/${object.object_id}/clip`, download: `${object.object_id}.mp4` }, "Save the clip"),
      make("a", { href: `#/videos/${video.video_id}`, onclick: () => document.getElementById("player").close() }, "The whole video"),
    ),
    make("h2", {}, "Its moments"),
    make("ul", { class: "examples" }, ...jumps),
  );
}

// The box at a second, on straight lines between the known ones; null where the object is not seen.
export function findBox(path, second) {
  const next = path.findIndex(([time]) => time >= second);
  if (next < 0 || (next === 0 && path[0][0] > second)) return null;
  if (path[next][0] === second || next === 0) return path[next].slice(1);
  const [before, after] = [path[next - 1], path[next]];
  if (after[0] - before[0] > 2) return null; // out of sight in between
  const share = (second - before[0]) / (after[0] - before[0]);
  return [1, 2, 3, 4].map((side) => before[side] + share * (after[side] - before[side]));
}

function drawObject(canvas, object, second) {
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const box = second === null ? null : findBox(object.path, second);
  if (second === null) return;
  const width = Math.max(2, canvas.width / 300);
  const way = object.path.filter(([time]) => time <= second);
  pen.lineJoin = "round";
  for (const [color, extra] of [["#000a", width], ["#4fe0d2", 0]]) {
    pen.strokeStyle = color;
    pen.lineWidth = width + extra;
    pen.beginPath();
    way.forEach(([, x0, , x1, y1], place) => pen[place ? "lineTo" : "moveTo"]((x0 + x1) / 2, y1));
    pen.stroke();
    if (box) pen.strokeRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
  }
}
