// Takes the key of a link from its fragment into the form. The fragment is sent
// to nobody; here it also leaves the address bar and the history.
"use strict";
function takeKey() {
  const key = location.hash.slice(1).replace(/^token=/, "");
  const field = document.querySelector("input[name=token]");
  if (!key || !field) return;
  history.replaceState(null, "", location.pathname);
  field.value = key;
  field.closest("label").hidden = true;
  for (const d of document.querySelectorAll("[data-with-key]")) d.open = true;
  for (const d of document.querySelectorAll("[data-without-key]")) d.hidden = true;
}
document.addEventListener("DOMContentLoaded", takeKey);
window.addEventListener("hashchange", takeKey); // a link that is opened where the page stands already
