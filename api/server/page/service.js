// Calls of the service, and what goes wrong in them.

export class Problem extends Error {
  constructor(body) {
    super(body.detail || body.title || "The service did not answer.");
    this.code = body.code || "";
    this.status = body.status || 0;
  }
}

// A path relative to the page, so that the service may lie below a prefix of a proxy.
export async function call(path, { method = "GET", body, raw, headers = {}, signal } = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      signal,
      headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
      body: raw ?? (body === undefined ? undefined : JSON.stringify(body)),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ detail: "The service cannot be reached. Do: see whether it runs, then try again." });
  }
  if (answer.status === 401) {
    await askForKey();
    return call(path, { method, body, raw, headers, signal });
  }
  const isJson = (answer.headers.get("Content-Type") || "").includes("json");
  const told = isJson ? await answer.json() : null;
  if (!answer.ok) throw new Problem(told || { status: answer.status });
  return told;
}

let asking = null;

function askForKey() {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("key");
    const form = dialog.querySelector("form");
    form.onsubmit = async (event) => {
      event.preventDefault();
      const key = form.elements.key.value.trim();
      const answer = await fetch("v1/session", { method: "POST", headers: { Authorization: `Bearer ${key}` } });
      form.reset();
      if (!answer.ok) {
        document.getElementById("key-problem").textContent = "That key is not known here.";
        return;
      }
      dialog.close();
      asking = null;
      resolve();
    };
    dialog.oncancel = (event) => event.preventDefault();
    dialog.showModal();
  });
  return asking;
}
