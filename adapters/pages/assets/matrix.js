// The matrix saves a cell when it is changed, one after another. Without a
// script there is a button for all of them.
"use strict";
{
  let last = Promise.resolve();
  const told = text => { document.getElementById("matrix-said").textContent = text; };
  const unclutter = () => { for (const p of document.querySelectorAll("[data-save]")) p.hidden = true; };

  async function save(select, form) {
    const [, row, column] = select.name.split(".");
    const was = form.elements["was." + row + "." + column], may = select.value;
    const all = name => [].concat(...form.querySelectorAll(`input[name=${name}]`));
    const body = new URLSearchParams({ device: all("device")[row].value, channel: all("channel")[column].value, "may.0.0": may, "was.0.0": was.value });
    let problem = "";
    try {
      const r = await fetch(form.dataset.to, { method: "POST", body, headers: { Accept: "application/json" } });
      if (r.redirected || !r.ok) problem = r.redirected ? "you are not signed in any more" : await r.text();
    } catch {
      problem = "the server does not answer";
    }
    const name = select.getAttribute("aria-label");
    if (problem) {
      select.value = was.value;
      told(`Not saved, ${name}: ${problem}`);
    } else {
      was.value = may;
      told(`Saved, ${name}: ${may}.`);
    }
    select.className = "may " + select.value;
  }

  document.addEventListener("change", e => {
    const select = e.target.closest("#matrix select.may");
    if (!select) return;
    told("Saving…");
    last = last.then(() => save(select, select.form));
  });
  document.addEventListener("DOMContentLoaded", unclutter);
  document.addEventListener("htmx:afterSwap", unclutter);
}
