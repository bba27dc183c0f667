// Search: a sentence, filters, and hits as pictures with the reasons.

import { clock, count, make, nameOf, showProblem, tell } from "./parts.js";
import { play } from "./player.js";
import { call } from "./service.js";

const EXAMPLES = [
  "red car turning left",
  "a person who stops",
  "two dogs",
  "white van followed by a black car",
  "something entering from the right in the first minute",
];
const COLOURS = ["black", "white", "grey", "red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown", "beige"];
const PAGE = 24;
const LEAST = "0.3"; // below it little of what was asked is met

export function showSearch(main, { query, signal }) {
  const asked = Object.fromEntries(["q", "like", "colour", "video", "least"].map((name) => [name, query.get(name) || ""]));
  const hits = make("ul", { class: "hits", "aria-label": "Hits" });
  const notes = make("div", { class: "small quiet" });
  const more = make("button", { hidden: true }, "More");
  const form = make(
    "form",
    { role: "search" },
    make(
      "div",
      { class: "search" },
      make("input", {
        name: "q",
        type: "search",
        "aria-label": "What to find",
        placeholder: "What to find: a thing, how it looks, how it moves, where and when",
        value: asked.q,
        maxlength: 2000,
        autofocus: true,
      }),
      make("button", { class: "main" }, "Search"),
    ),
    make(
      "div",
      { class: "filters" },
      make(
        "label",
        {},
        "Colour",
        make(
          "select",
          { name: "colour" },
          make("option", { value: "" }, "any"),
          ...COLOURS.map((name) => make("option", { value: name, selected: name === asked.colour }, name)),
        ),
      ),
      make("label", {}, "Video", make("select", { name: "video" }, make("option", { value: "" }, "all"))),
      make("label", {}, "Least score", make("input", { name: "least", type: "number", min: 0, max: 1, step: 0.1, value: asked.least || LEAST })),
      make("a", { class: "small", href: "#/" }, "Begin anew"),
    ),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value && !(name === "least" && value === LEAST)) chosen.set(name, value);
    if (asked.like && !chosen.has("q")) chosen.set("like", asked.like);
    const address = `#/?${chosen}`;
    if (location.hash === address) find();
    else location.hash = address;
  });
  const examples = make(
    "ul",
    { class: "examples", "aria-label": "Examples" },
    ...EXAMPLES.map((text) => make("li", {}, make("button", { type: "button", onclick: () => (location.hash = `#/?${new URLSearchParams({ q: text })}`) }, text))),
  );
  main.append(make("h1", {}, asked.like ? "Objects like this one" : "Find objects"), form, notes, hits, more);
  const videos = listVideos(form.elements.video, asked.video, signal);
  if (asked.q || asked.like) find();
  else {
    form.after(examples);
    videos.then((number) => {
      if (number === 0) notes.replaceChildren("No video is indexed yet. ", make("a", { href: "#/batches" }, "Submit some"), ", then ask.");
    });
  }

  async function find(cursor = "") {
    if (!cursor) hits.replaceChildren();
    notes.textContent = "Searching …";
    more.hidden = true;
    const filters = {};
    if (asked.colour) filters.colours = [asked.colour];
    if (asked.video) filters.video_ids = [asked.video];
    const body = { limit: PAGE, min_score: Number(asked.least || LEAST), cursor, ...(Object.keys(filters).length ? { filters } : {}) };
    if (asked.q) body.query = asked.q;
    if (asked.like) body.like = asked.like;
    try {
      const found = await call("v1/search", { method: "POST", body, signal });
      hits.append(...found.hits.map(showHit));
      const told = hits.children.length ? `${count(hits.children.length, "object")}${found.next_cursor ? " so far" : ""}` : "Nothing was found. Fewer words, or a lower score, find more.";
      notes.replaceChildren(told, ...(found.notes || []).map((note) => make("div", {}, note)));
      tell(told);
      more.hidden = !found.next_cursor;
      more.onclick = () => find(found.next_cursor);
    } catch (error) {
      showProblem(notes, error);
    }
  }
}

async function listVideos(select, chosen, signal) {
  try {
    const { videos } = await call("v1/videos?limit=500", { signal });
    select.append(
      ...videos.map((video) => make("option", { value: video.video_id, selected: video.video_id === chosen }, nameOf(video.uri))),
    );
    return videos.length;
  } catch {
    select.closest("label").hidden = true; // the search itself tells what is wrong
  }
}

function showHit(hit) {
  const open = () => play(hit.object_id, hit);
  return make(
    "li",
    { class: "hit" },
    make(
      "button",
      { class: "picture", onclick: open, "aria-label": `Play: ${hit.caption}` },
      make("img", { src: `v1/objects/${hit.object_id}/thumbnail`, alt: "", loading: "lazy" }),
    ),
    make(
      "div",
      { class: "told" },
      make("p", {}, hit.caption),
      make("ul", { class: "why", "aria-label": "Why" }, ...hit.why.map((reason) => make("li", {}, reason))),
      make(
        "p",
        { class: "small quiet" },
        make("a", { href: `#/videos/${hit.video_id}` }, nameOf(hit.uri)),
        ` ${clock(hit.start_s)} – ${clock(hit.end_s)}`,
      ),
      make(
        "div",
        { class: "foot small" },
        make("span", {}, "score ", make("meter", { min: 0, max: 1, value: hit.score }, hit.score.toFixed(2)), ` ${hit.score.toFixed(2)}`),
        make("a", { href: `#/?${new URLSearchParams({ like: hit.object_id })}` }, "More like this"),
      ),
    ),
  );
}
