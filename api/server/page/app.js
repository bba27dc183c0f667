// Which view is shown: the address after # names it.

import { showBatches } from "./batches.js";
import { make, say, tell } from "./parts.js";
import { showSearch } from "./search.js";
import { showVideo, showVideos } from "./videos.js";

const VIEWS = [
  [/^\/?$/, showSearch],
  [/^\/videos$/, showVideos],
  [/^\/videos\/([\w-]+)$/, showVideo],
  [/^\/batches$/, showBatches],
];

let leave = null;

function show() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const main = document.getElementById("main");
  leave?.abort();
  leave = new AbortController();
  say("");
  tell("");
  for (const link of document.querySelectorAll("nav a")) {
    const own = link.getAttribute("href").replace(/^#/, "");
    const isHere = link.getAttribute("href").startsWith("#") && (own === "/" ? path.length < 2 : path.startsWith(own));
    isHere ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  for (const [pattern, view] of VIEWS) {
    const match = pattern.exec(path);
    if (match) {
      main.replaceChildren();
      view(main, { parts: match.slice(1), query: new URLSearchParams(query), signal: leave.signal });
      return;
    }
  }
  main.replaceChildren(make("p", { class: "problem" }, "There is no such view. ", make("a", { href: "#/" }, "To the search")));
}

addEventListener("hashchange", () => {
  show();
  document.getElementById("main").focus({ preventScroll: true });
});
show();
