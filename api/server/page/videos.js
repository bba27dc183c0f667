// Videos, and the lives of the objects in one of them.

import { clock, count, make, nameOf, showProblem } from "./parts.js";
import { play } from "./player.js";
import { call } from "./service.js";

const PAGE = 50;

export async function showVideos(main, { signal }) {
  const rows = make("tbody");
  const notes = make("p", { class: "quiet" }, "Loading …");
  const more = make("button", { hidden: true }, "More");
  main.append(
    make("h1", {}, "Videos"),
    notes,
    make(
      "div",
      { class: "scroll" },
      make("table", {}, make("thead", {}, make("tr", {}, ...["Video", "Length", "Picture", "Warnings"].map((name) => make("th", { scope: "col", class: name === "Picture" && "spare" }, name)))), rows),
    ),
    more,
  );
  await load("");

  async function load(cursor) {
    more.hidden = true;
    try {
      const page = await call(`v1/videos?${new URLSearchParams({ limit: PAGE, ...(cursor && { cursor }) })}`, { signal });
      rows.append(
        ...page.videos.map((video) =>
          make(
            "tr",
            {},
            make("td", { class: "long" }, make("a", { href: `#/videos/${video.video_id}` }, nameOf(video.uri)), make("div", { class: "small quiet" }, video.uri)),
            make("td", {}, clock(video.duration_s)),
            make("td", { class: "spare" }, `${video.width} × ${video.height}`),
            make("td", { class: "small long" }, video.warnings.join(" ") || "none"),
          ),
        ),
      );
      notes.replaceChildren(
        rows.children.length ? "" : "No video is indexed yet. ",
        ...(rows.children.length ? [] : [make("a", { href: "#/batches" }, "Submit some")]),
      );
      more.hidden = !page.next_cursor;
      more.onclick = () => load(page.next_cursor);
    } catch (error) {
      showProblem(notes, error);
    }
  }
}

export async function showVideo(main, { parts: [videoId], signal }) {
  const notes = make("p", { class: "quiet" }, "Loading …");
  main.append(notes);
  try {
    const [timeline, models] = await Promise.all([
      call(`v1/videos/${videoId}/timeline?format=json`, { signal }),
      call("v1/models", { signal }),
    ]);
    const [video] = timeline.videos;
    notes.replaceWith(
      make("h1", {}, nameOf(video.uri)),
      make("p", { class: "small quiet" }, `${video.uri}, ${clock(video.duration_s)}, ${video.width} × ${video.height}`),
      ...video.warnings.map((warning) => make("p", { class: "problem" }, warning)),
      make("div", { class: "row" }, ...makeExport(videoId, models.formats)),
      make("h2", {}, count(video.objects.length, "object")),
      video.objects.length ? showLanes(video) : make("p", {}, "No object was found in this video."),
    );
  } catch (error) {
    showProblem(notes, error);
  }
}

function showLanes(video) {
  const at = (second) => `${(100 * second) / video.duration_s}%`;
  const lanes = video.objects.map((object) =>
    make(
      "div",
      { class: "lane" },
      make(
        "div",
        { class: "who" },
        make("img", { src: `v1/objects/${object.object_id}/thumbnail`, alt: "", loading: "lazy" }),
        make("span", {}, [object.attributes.colours[0], object.category || "object"].filter(Boolean).join(" ")),
      ),
      make(
        "div",
        { class: "track" },
        ...object.moments.map((moment) =>
          make("button", {
            type: "button",
            class: "moment",
            title: `${clock(moment.start_s)} – ${clock(moment.end_s)}: ${moment.caption}`,
            "aria-label": `Play ${clock(moment.start_s)} to ${clock(moment.end_s)}: ${moment.caption}`,
            style: { left: at(moment.start_s), width: at(moment.end_s - moment.start_s) },
            onclick: () => play(object.object_id, { ...moment, video_id: video.video_id }),
          }),
        ),
      ),
    ),
  );
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => make("span", {}, clock(share * video.duration_s)));
  return make("div", { class: "lanes" }, ...lanes, make("div", { class: "lane", "aria-hidden": "true" }, make("span"), make("div", { class: "axis" }, ...ticks)));
}

function makeExport(videoId, formats) {
  const usable = formats.filter((format) => format.layout !== "folder");
  const select = make("select", { "aria-label": "Format" }, ...usable.map((format) => make("option", { value: format.name, title: format.about }, format.name)));
  const link = make("a", { class: "button" }, "Export");
  const aim = () => {
    const chosen = usable.find((format) => format.name === select.value);
    link.href = `v1/videos/${videoId}/timeline?format=${select.value}`;
    link.download = `${videoId}${chosen.suffix}`;
  };
  const all = make("button", { type: "button", onclick: () => exportAll(all, videoId) }, "Other formats …");
  select.addEventListener("change", aim);
  aim();
  all.dataset.formats = JSON.stringify(formats.filter((format) => format.layout === "folder").map((format) => format.name));
  return [make("label", {}, "Timeline as ", select), link, JSON.parse(all.dataset.formats).length ? all : null].filter(Boolean);
}

// Formats of several files are made in the background and come as a zip.
function exportAll(button, videoId) {
  const place = make("span", { class: "row" });
  button.replaceWith(place);
  for (const name of JSON.parse(button.dataset.formats)) {
    const one = make("button", { type: "button" }, name);
    one.addEventListener("click", async () => {
      one.disabled = true;
      try {
        let made = await call("v1/exports", { method: "POST", body: { format: name, videos: [videoId] } });
        while (made.state !== "done" && made.state !== "failed") {
          await new Promise((resolve) => setTimeout(resolve, 500));
          made = await call(`v1/exports/${made.export_id}`);
        }
        if (made.state === "failed") throw new Error(made.error || "The export failed.");
        one.replaceWith(make("a", { href: `v1/exports/${made.export_id}/content`, download: "" }, `Save ${name}`));
      } catch (error) {
        one.replaceWith(make("span", { class: "problem" }, error.message));
      }
    });
    place.append(one);
  }
}
