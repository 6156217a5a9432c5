// What the pages do beyond plain HTML. Everything works without it.
"use strict";

// Times in the reader's zone, with how long ago on hovering.
function times(root) {
  const form = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const t of root.querySelectorAll("time[datetime]")) {
    const at = new Date(t.dateTime);
    if (isNaN(at)) continue;
    t.textContent = form.format(at);
    t.title = at.toISOString();
  }
}

// The access token ends after some minutes; it is renewed before.
function stayIn() {
  setInterval(() => {
    if (document.visibilityState === "visible") fetch("/auth/refresh", { method: "POST" });
  }, 10 * 60 * 1000);
}

// whileSeen has a page let go of its stream when it is left or was hidden for a
// minute, and take it up again when it is looked at: a browser has six connections
// to a server, for all windows.
function whileSeen(wake, sleep) {
  let hiding = 0;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(sleep, 60 * 1000);
    else wake();
  });
  window.addEventListener("pagehide", sleep);
  window.addEventListener("pageshow", e => { if (e.persisted) wake(); });
}

// Buttons that need a script are hidden without one.
function revive(root) {
  times(root);
  for (const b of root.querySelectorAll("[data-copy], [data-all]")) b.hidden = false;
}

document.addEventListener("click", async e => {
  const copy = e.target.closest("[data-copy]");
  if (copy) {
    const from = document.getElementById(copy.dataset.copy);
    from.select();
    try {
      await navigator.clipboard.writeText(from.value);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Press Ctrl+C"; // it is selected
    }
  }
  const all = e.target.closest("[data-all]");
  if (all) for (const box of all.form.querySelectorAll(`input[name=${all.dataset.all}]`)) box.checked = all.checked;
});

// A form whose answer comes line by line: {done, total} while it lasts, {html}
// at the end, which is put in the element named. Any other answer is a page.
async function stream(form) {
  const button = form.querySelector("[type=submit]"), bar = form.querySelector("progress");
  const into = document.getElementById(form.dataset.stream);
  const waits = e => { e.preventDefault(); };
  for (const field of form.querySelectorAll("[aria-invalid]")) { // that was the file before
    field.removeAttribute("aria-invalid");
    document.getElementById(field.getAttribute("aria-describedby")).textContent = "";
  }
  button.disabled = true;
  bar.hidden = false;
  bar.removeAttribute("value");
  window.addEventListener("beforeunload", waits);
  try {
    const r = await fetch(form.action, { method: "POST", body: new FormData(form), headers: { Accept: "application/x-ndjson" } });
    if (!(r.headers.get("Content-Type") || "").startsWith("application/x-ndjson")) {
      const page = new DOMParser().parseFromString(await r.text(), "text/html");
      document.getElementById("main").replaceWith(page.getElementById("main"));
      revive(document);
      return;
    }
    const lines = r.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", ended = false;
    for (;;) {
      const { value, done } = await lines.read();
      if (done) break;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const part of parts) {
        const news = JSON.parse(part);
        if (news.total) { bar.max = news.total; bar.value = news.done; }
        if (news.html) { into.innerHTML = news.html; revive(into); form.reset(); ended = true; }
      }
    }
    if (!ended) throw new Error("the answer is not whole");
    into.scrollIntoView();
  } catch {
    into.innerHTML = "";
    const p = into.appendChild(document.createElement("p"));
    p.className = "problem";
    p.textContent = "The connection broke. Some devices may have been made; their secrets are lost. Look at the list before you try again.";
  } finally {
    window.removeEventListener("beforeunload", waits);
    button.disabled = false;
    bar.hidden = true;
  }
}

document.addEventListener("submit", e => {
  if (!e.target.dataset.stream) return;
  e.preventDefault();
  stream(e.target);
});

document.addEventListener("DOMContentLoaded", () => {
  revive(document);
  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" }); // on a phone there are more than fit
  // What was made is not made once more when the page is loaded again.
  const address = document.querySelector("[data-address]");
  if (address) history.replaceState(null, "", address.dataset.address);
  const form = document.querySelector("form[data-submit]");
  if (form) form.submit();
  else stayIn();
});
document.addEventListener("htmx:afterSwap", e => revive(e.target));
