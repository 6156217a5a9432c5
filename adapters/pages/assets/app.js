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

document.addEventListener("DOMContentLoaded", () => {
  times(document);
  const form = document.querySelector("form[data-submit]");
  if (form) form.submit();
  else stayIn();
});
document.addEventListener("htmx:afterSwap", e => times(e.target));
