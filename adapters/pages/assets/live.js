// Live messages: reads the stream that the page names and shows what comes. All
// of a message is text for the page, never a part of it.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const kept = 200; // rows, and what waits while it is paused
  const pointsKept = 500, valuesKept = 100;
  const $ = id => document.getElementById(id);
  const live = $("live"), list = $("live-list"), pause = $("live-pause");
  const names = new Map([...document.querySelectorAll("#live-names li")].map(li => [li.dataset.id, li.textContent]));
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });
  let paused = false, waiting = [], missed = 0, dropped = 0, shown = 0;
  let running = null, state = "";

  live.hidden = false;

  const el = (name, text, className) => {
    const e = document.createElement(name);
    if (text !== undefined) e.textContent = text;
    if (className) e.className = className;
    return e;
  };

  function say(text) {
    state = text;
    $("live-state").textContent = paused ? "Paused. " + text : text;
  }

  function count() {
    const parts = [];
    if (paused) parts.push(missed === 1 ? "1 came meanwhile" : missed + " came meanwhile");
    else parts.push(shown === 1 ? "1 message" : shown + " messages");
    if (dropped) parts.push(dropped + " left out: this browser was too slow");
    $("live-count").textContent = parts.join(", ");
  }

  // ---- one message

  function who(publisher) {
    if (names.has(publisher) || /^[0-9a-f-]{36}$/.test(publisher)) {
      const a = el("a", names.get(publisher) || publisher.slice(0, 8));
      a.href = live.dataset.devices + publisher;
      return a;
    }
    return el("span", publisher.startsWith("user:") ? "a person" : publisher || "a service");
  }

  // tree shows JSON, an object or array as something that folds.
  function tree(value, depth, budget) {
    if (value === null || typeof value !== "object") return el("span", JSON.stringify(value), "json-" + (value === null ? "null" : typeof value));
    const entries = Object.entries(value), array = Array.isArray(value);
    if (entries.length === 0) return el("span", array ? "[]" : "{}");
    const d = el("details");
    d.open = depth < 2;
    d.append(el("summary", array ? `[${entries.length}]` : `{${entries.length}}`));
    const ul = el("ul");
    for (const [k, v] of entries) {
      if (budget.left-- <= 0) { ul.append(el("li", "…")); break; }
      const li = el("li");
      li.append(el("span", array ? k + " " : k + ": ", "json-key"), depth > 20 ? el("span", "…") : tree(v, depth + 1, budget));
      ul.append(li);
    }
    d.append(ul);
    return d;
  }

  function table(records) {
    const t = el("table"), head = t.createTHead().insertRow(), body = t.createTBody();
    for (const title of ["Name", "Value", "Unit", "Time"]) { const th = el("th", title); th.scope = "col"; head.append(th); }
    for (const r of records.slice(0, 200)) {
      const row = body.insertRow();
      for (const text of [r.name, String(r.value), r.unit, new Date(r.time * 1000).toLocaleString()]) row.insertCell().textContent = text;
    }
    return t;
  }

  function body(read) {
    switch (read.kind) {
      case "senml": return table(read.records);
      case "json": return tree(read.value, 0, { left: 500 });
      case "bytes": return el("pre", hexdump(read.bytes));
    }
    return el("pre", read.text);
  }

  function row(m, read) {
    const li = el("li"), head = el("p", undefined, "live-head");
    const at = el("time", clock.format(new Date(m.time)));
    at.dateTime = m.time;
    at.title = m.time;
    head.append(at, " ", el("code", m.subtopic || "(no subtopic)"), " ", who(m.publisher), " ");
    const facts = [m.protocol, m.sequence ? "number " + m.sequence : "not stored", m.size + " B"];
    if (m.content_type) facts.push(m.content_type);
    if (m.truncated) facts.push("only the first 64 KiB are shown");
    head.append(el("small", facts.join(" · ")));
    const box = el("div", undefined, "live-body");
    box.append(body(read));
    li.append(head, box);
    return li;
  }

  function show(messages) {
    const fresh = document.createDocumentFragment();
    for (const [m, read] of messages) fresh.prepend(row(m, read));
    list.prepend(fresh);
    while (list.children.length > kept) list.lastElementChild.remove();
    shown += messages.length;
    $("live-empty").hidden = true;
  }

  // ---- the plot

  const values = new Map(); // what came by: key -> {label, t: [], v: []}
  let plot = null, stale = false;

  function remember(m, read) {
    for (const n of numbers(read, Date.parse(m.time) / 1000)) {
      const key = [m.publisher, m.subtopic, n.name].join("\n");
      let series = values.get(key);
      if (!series) {
        if (values.size >= valuesKept) continue;
        series = { t: [], v: [] };
        values.set(key, series);
        const option = el("option", `${n.name}, ${m.subtopic ? m.subtopic + ", " : ""}${who(m.publisher).textContent}`);
        option.value = key;
        $("plot-what").append(option);
        $("plot-bar").hidden = false;
      }
      let i = series.t.length; // in the order of their times
      while (i > 0 && series.t[i - 1] > n.time) i--;
      series.t.splice(i, 0, n.time);
      series.v.splice(i, 0, n.value);
      if (series.t.length > pointsKept) { series.t.shift(); series.v.shift(); }
    }
    if (!paused && !stale) {
      stale = true;
      requestAnimationFrame(() => { stale = false; draw(); });
    }
  }

  // A day has 24 hours everywhere; what passes in seconds is told in fractions.
  const hours = digits => new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", fractionalSecondDigits: digits });
  const coarse = hours(), fine = hours(2);

  function draw() {
    const key = $("plot-what").value, series = values.get(key), box = $("plot");
    box.hidden = !series;
    if (!series) { if (plot) plot.destroy(); plot = null; return; }
    const data = [series.t, series.v], width = Math.max(200, box.clientWidth);
    box.setAttribute("aria-label", `Plot of ${key.split("\n")[2]}: ${series.v.length} values, the last ${series.v[series.v.length - 1]}`);
    if (plot && plot.key === key && plot.width === width) { plot.setData(data); return; }
    if (plot) plot.destroy();
    const style = getComputedStyle(document.body), ink = style.getPropertyValue("--pico-color"), line = style.getPropertyValue("--pico-muted-border-color");
    const axis = { stroke: ink, grid: { stroke: line }, ticks: { stroke: line } };
    plot = new uPlot({
      width, height: 220, legend: { live: true },
      scales: { x: { range: (u, from, to) => from === to ? [from - 5, to + 5] : [from, to] } }, // of one value, ten seconds
      series: [{ value: (u, t) => t === null ? "" : new Date(t * 1000).toLocaleString() }, { label: key.split("\n")[2], stroke: style.getPropertyValue("--pico-primary"), width: 2, points: { show: series.v.length < 50 } }],
      axes: [{ ...axis, space: 90, values: (u, at, i, space, step) => at.map(t => (step < 1 ? fine : coarse).format(t * 1000)) }, { ...axis, size: 70 }],
    }, data, box);
    plot.key = key;
  }
  $("plot-what").addEventListener("change", draw);
  window.addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (plot) plot.key = ""; draw(); });

  // ---- the stream

  function take(events) {
    const messages = [];
    let end = null;
    for (const e of events) {
      const data = JSON.parse(e.data);
      if (e.name === "message") {
        const read = readMessage(data);
        remember(data, read);
        messages.push([data, read]);
      } else if (e.name === "dropped") dropped += data.dropped;
      else if (e.name === "end") end = data;
    }
    if (paused) {
      waiting = waiting.concat(messages).slice(-kept);
      missed += messages.length;
    } else if (messages.length) show(messages.slice(-kept));
    count();
    return end;
  }

  const reasons = {
    role_too_low: "you may not listen here any more", token_invalid: "you are signed out, or your account was disabled",
    channel_disabled: "the channel was disabled", channel_unknown: "the channel was deleted",
    domain_disabled: "the domain was disabled", domain_frozen: "the domain was frozen", domain_unknown: "the domain was deleted",
  };
  const wait = (time, signal) => new Promise(done => { const t = setTimeout(done, time); signal.addEventListener("abort", () => { clearTimeout(t); done(); }); });

  // listen goes on until it is stopped or the server says that it is over; what
  // breaks is tried again, less and less often.
  async function listen(signal) {
    let tries = 0, refreshed = false;
    say("Connecting…");
    while (!signal.aborted) {
      let end = null;
      try {
        const r = await fetch(live.dataset.stream, { signal, headers: { Accept: "text/event-stream" }, cache: "no-store" });
        if (r.status === 401 && !refreshed) {
          refreshed = true;
          await fetch("/auth/refresh", { method: "POST", signal });
          continue;
        }
        if (!r.ok && r.status < 500) {
          const problem = await r.json();
          end = { reason: r.status === 401 ? "token_invalid" : "", message: problem.message };
        } else if (r.ok) {
          tries = 0;
          refreshed = false;
          say("Live.");
          const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
          let rest = "";
          for (;;) {
            const { value, done } = await reader.read();
            if (done) break;
            let events;
            [events, rest] = serverEvents(rest + value);
            end = take(events) || end;
          }
        }
      } catch {
        // the connection broke, or was let go
      }
      if (signal.aborted) return;
      if (end && end.reason === "token_expired") { // renewed in the background
        refreshed = true;
        await fetch("/auth/refresh", { method: "POST" }).catch(() => {});
        continue;
      }
      if (end && end.reason !== "unavailable") {
        say("Ended: " + (reasons[end.reason] || end.message));
        $("live-again").hidden = false;
        return;
      }
      const delay = Math.min(15, 2 ** tries++);
      say(`Reconnecting in ${delay} s…`);
      await wait(delay * 1000, signal);
      if (!signal.aborted) say("Connecting…");
    }
  }

  function start() {
    stop();
    $("live-again").hidden = true;
    running = new AbortController();
    listen(running.signal);
  }
  function stop() {
    if (running) running.abort();
    running = null;
  }

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume" : "Pause";
    if (!paused) {
      show(waiting);
      waiting = [];
      missed = 0;
      draw();
    }
    say(state);
    count();
  });
  $("live-clear").addEventListener("click", () => {
    list.replaceChildren();
    shown = 0;
    dropped = 0;
    count();
  });
  $("live-again").addEventListener("click", start);

  whileSeen(() => { if (!running) start(); }, () => {
    if (!running) return;
    stop();
    say("Ended: this page was in the background for a minute.");
  });
  start();
});
