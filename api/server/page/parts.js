// Small parts of which the views are made.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

export function showProblem(place, error) {
  if (error.name !== "AbortError") place.replaceChildren(make("p", { class: "problem", role: "alert" }, error.message));
}

let saidTimer = 0;

export function say(text) {
  const place = document.getElementById("said");
  place.textContent = text;
  clearTimeout(saidTimer);
  saidTimer = setTimeout(() => (place.textContent = ""), 4000);
}

// Only for those who listen: what others see for themselves.
export function tell(text) {
  document.getElementById("heard").textContent = text;
}

export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

// 75.2 -> "1:15.2"
export function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const hours = Math.floor(tenths / 36000);
  const minutes = Math.floor(tenths / 600) % 60;
  const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export function nameOf(uri) {
  return uri.split("/").pop() || uri;
}
