// News of an open page: server-sent events of an address or, where no stream can
// be had, what it answers now and then.
"use strict";

// news hands to take what each event holds. address(more) is where news come from,
// with what the page has; note is the element that says when they do not come, as
// does the class stale of root.
function news({ root, note, address, take }) {
  let source = null, asleep = false, asked = 0;

  function stands(why) {
    root.classList.toggle("stale", why !== "");
    note.textContent = why;
    note.hidden = why === "";
  }
  const over = why => stands(why + " What is shown here does not change any more.");

  function close() {
    source.close();
    source = null;
  }

  function listen() {
    source = new EventSource(address(""));
    source.onopen = () => stands("");
    source.onmessage = e => take(JSON.parse(e.data));
    source.addEventListener("over", e => {
      close();
      over(e.data);
    });
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return stands("The connection broke. Trying again…");
      close(); // it was answered, and not with a stream
      ask();
    };
  }

  function sleep() {
    if (!source) return;
    close();
    asleep = true;
  }

  function wake() {
    if (!asleep) return;
    asleep = false;
    listen();
  }

  // ask asks once, and begins to listen again after a minute of asking.
  async function ask(renewed) {
    try {
      const r = await fetch(address("once&"), { redirect: "manual" });
      if (r.ok) {
        if (r.status !== 204) take(await r.json()); // 204: there is nothing new
        stands("");
        asked++;
        return void setTimeout(asked % 12 ? ask : listen, 5000);
      }
      if (r.status === 401 && renewed !== true) { // the access token has ended; it can be renewed
        await fetch("/auth/refresh", { method: "POST" });
        return ask(true);
      }
      if (r.type === "opaqueredirect" || r.status === 401) return over("You are signed out. Load the page again to sign in.");
      if (r.status === 403 || r.status === 404) return over("You may not see this any more, or it is gone.");
    } catch {
      // no answer at all
    }
    stands("The server does not answer. Trying again…");
    setTimeout(ask, 5000);
  }

  whileSeen(wake, sleep);
  listen();
}

// replace puts HTML into a part of the page, and leaves the focus on what has the
// same id there.
function replace(part, html) {
  const id = part.contains(document.activeElement) && document.activeElement.id;
  part.innerHTML = html;
  revive(part);
  if (id) document.getElementById(id)?.focus();
}
