// What is wrong with a field is no longer so once it is changed. Lines of the editor of mappings are added and removed. Without a script there
// are some empty ones.
"use strict";

function empty(row) {
  for (const field of row.querySelectorAll("input")) field.value = "";
  for (const field of row.querySelectorAll("select")) field.selectedIndex = 0;
  for (const field of row.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
}

document.addEventListener("click", e => {
  const remove = e.target.closest("[data-remove-row]"), add = e.target.closest("[data-add-row]");
  if (remove) {
    const row = remove.closest(".maprow"), map = row.parentElement;
    if (map.querySelectorAll(".maprow").length > 1) row.remove();
    else empty(row);
    map.querySelector("[data-add-row]").focus();
  }
  if (add) {
    const rows = add.parentElement.querySelectorAll(".maprow"), last = rows[rows.length - 1], row = last.cloneNode(true);
    empty(row);
    for (const part of row.querySelectorAll("[aria-label]")) part.setAttribute("aria-label", part.getAttribute("aria-label").replace(/\d+$/, rows.length));
    last.after(row);
    row.querySelector("input, select").focus();
  }
});

document.addEventListener("input", e => {
  if (e.target.getAttribute("aria-invalid") !== "true") return;
  e.target.removeAttribute("aria-invalid");
  const wrong = document.querySelector("#" + e.target.getAttribute("aria-describedby") + " .wrong");
  if (wrong) wrong.remove();
});

document.addEventListener("DOMContentLoaded", () => {
  for (const b of document.querySelectorAll("[data-remove-row], [data-add-row]")) b.hidden = false;
});
