// Batches: drop videos or name sources, and watch them being indexed.

import { clock, make, nameOf, say, showProblem } from "./parts.js";
import { call } from "./service.js";

const SHOWN = 30;
const LIVE = ["listing", "running", "waiting", "paused"];

export async function showBatches(main, { signal }) {
  const notes = make("p", { class: "small", role: "status" });
  const list = make("div");
  main.append(make("h1", {}, "Batches"), makeForm(notes, () => load()), notes, list);
  await load();

  async function load() {
    try {
      const { batches } = await call(`v1/batches?limit=${SHOWN}`, { signal });
      if (!batches.length) list.replaceChildren(make("p", { class: "quiet" }, "No batch was submitted yet."));
      else list.replaceChildren(...batches.map((batch) => showBatch(batch, signal)));
    } catch (error) {
      showProblem(list, error);
    }
  }
}

function makeForm(notes, reload) {
  const files = make("input", { type: "file", accept: "video/*,.mkv,.ts", multiple: true, "aria-label": "Videos to upload" });
  const sources = make("input", { name: "sources", "aria-label": "Sources", placeholder: "s3://archive/2026/** or /videos/a.mp4", class: "wide" });
  const form = make(
    "form",
    { class: "drop" },
    make("div", { class: "row" }, "Drop videos here, or choose them:", files),
    make("div", { class: "row" }, make("label", { class: "wide" }, "Or name sources:", sources), make("button", { class: "main" }, "Submit")),
  );
  const send = async (chosen, addresses) => {
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const given = [...addresses];
      for (const file of chosen) {
        notes.textContent = `Uploading ${file.name} …`;
        const headers = { "Content-Type": "application/octet-stream" };
        const kept = await call(`v1/uploads?${new URLSearchParams({ name: file.name })}`, { method: "POST", raw: file, headers });
        given.push(kept.source);
      }
      if (!given.length) throw new Error("Nothing is chosen. Do: drop a video, or name a source.");
      const name = chosen.length ? chosen.map((file) => file.name).join(", ").slice(0, 100) : "";
      await call("v1/batches", { method: "POST", body: { sources: given, name } });
      notes.textContent = "";
      say("Submitted.");
      form.reset();
      await reload();
    } catch (error) {
      showProblem(notes, error);
    } finally {
      button.disabled = false;
    }
  };
  files.addEventListener("change", () => send([...files.files], []));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send([], sources.value.split(/\s+/).filter(Boolean));
  });
  form.addEventListener("dragover", (event) => {
    event.preventDefault();
    form.classList.add("over");
  });
  form.addEventListener("dragleave", () => form.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    send([...event.dataTransfer.files], []);
  });
  return form;
}

function showBatch(first, signal) {
  const card = make("section", { class: "batch", "aria-label": first.name || first.batch_id });
  const fill = (batch) => {
    const counts = batch.counts;
    const ended = counts.found - counts.waiting;
    const stage = batch.stages.find((each) => each.kind === "chunk");
    const told = [
      ...["done", "skipped", "failed", "cancelled", "waiting"].filter((name) => counts[name]).map((name) => `${counts[name]} ${name}`),
      batch.left_s ? `about ${clock(batch.left_s)} left` : "",
    ].filter(Boolean);
    const share = stage?.span_s ? stage.span_done_s / stage.span_s : counts.found ? ended / counts.found : 0;
    card.replaceChildren(
      make("h2", {}, batch.name && batch.name !== "tubelet index" ? batch.name : batch.sources.map(nameOf).join(", ").slice(0, 120) || batch.batch_id),
      make(
        "p",
        { class: "row small quiet" },
        make("span", { class: `state ${batch.state}` }, batch.state),
        make("span", {}, [new Date(batch.created_s * 1000).toLocaleString(), ...told].join(", ")),
      ),
      LIVE.includes(batch.state) ? make("progress", { max: 1, value: share, "aria-label": "Progress" }) : "",
      batch.listing_error ? make("p", { class: "problem" }, batch.listing_error) : "",
      make("div", { class: "row" }, ...listSteps(batch, fill), makeItems(batch)),
    );
  };
  fill(first);
  if (LIVE.includes(first.state)) listen(first.batch_id, fill, signal);
  return card;
}

function listSteps(batch, fill) {
  const names = [];
  if (batch.state === "paused") names.push("resume");
  else if (LIVE.includes(batch.state)) names.push("pause");
  if (LIVE.includes(batch.state)) names.push("cancel");
  if (!LIVE.includes(batch.state) && (batch.counts.failed || batch.counts.cancelled) && batch.state !== "cancelled") names.push("retry");
  return names.map((name) =>
    make("button", { type: "button", onclick: async (event) => {
      event.target.disabled = true;
      try {
        fill(await call(`v1/batches/${batch.batch_id}/${name}`, { method: "POST" }));
      } catch (error) {
        say(error.message);
      }
    } }, name),
  );
}

function makeItems(batch) {
  if (!batch.counts.failed) return "";
  const details = make("details", {}, make("summary", {}, "What failed, and why"));
  details.addEventListener("toggle", async () => {
    if (!details.open || details.children.length > 1) return;
    const place = make("ul", { class: "small" });
    details.append(place);
    try {
      const { items } = await call(`v1/batches/${batch.batch_id}/items?state=failed&limit=100`);
      place.append(...items.map((item) => make("li", {}, make("strong", {}, nameOf(item.uri)), ` ${item.reason}`)));
    } catch (error) {
      showProblem(place, error);
    }
  });
  return details;
}

function listen(batchId, fill, signal) {
  const source = new EventSource(`v1/batches/${batchId}/events`);
  signal.addEventListener("abort", () => source.close());
  source.addEventListener("progress", (event) => fill(JSON.parse(event.data)));
  source.addEventListener("ended", (event) => {
    source.close();
    fill(JSON.parse(event.data));
    say("A batch has ended.");
  });
  source.addEventListener("gone", () => source.close());
}
