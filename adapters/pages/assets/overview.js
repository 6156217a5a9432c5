// The charts of a domain's overview, and its numbers, told anew in every step by
// the server.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const root = document.getElementById("overview");
  const part = name => root.querySelector("[data-" + name + "]");
  const keep = 180, span = 900; // points and seconds of the window
  let rows = JSON.parse(root.dataset.points);
  const last = () => rows.length ? rows[rows.length - 1][0] : 0;

  const whole = [1, 2, 5]; // columns that count
  const steps = [...Array(10).keys()].flatMap(n => [1, 2, 5].map(m => m * 10 ** n));
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const tidy = n => n == null ? "unknown" : String(Math.round(n * 100) / 100);
  const figures = [...root.querySelectorAll(".chart")].map(figure => ({
    figure, plot: figure.querySelector(".plot"), chart: null,
    columns: figure.dataset.columns.split(" ").map(Number), names: figure.dataset.names.split(","),
  }));
  const columnsOf = f => [rows.map(r => r[0]), ...f.columns.map(c => rows.map(r => r[c]))];

  // say puts what a chart shows in words.
  function say(f) {
    const words = f.columns.map((c, i) => {
      const known = rows.map(r => r[c]).filter(n => n != null);
      return `${f.names[i]} ${known.length ? `now ${tidy(rows[rows.length - 1][c])}, highest ${tidy(Math.max(...known))}` : "unknown"}`;
    });
    f.plot.setAttribute("aria-label", `${f.figure.dataset.title}, the last 15 minutes: ${words.join("; ")}`);
  }

  // build draws a chart in the colours of the page as it is now.
  function build(f) {
    if (f.chart) f.chart.destroy();
    f.figure.hidden = false;
    const style = getComputedStyle(document.documentElement), colour = name => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--pico-muted-color"), grid: { stroke: colour("--pico-muted-border-color"), width: 1 }, ticks: { show: false } };
    f.chart = new uPlot({
      width: f.plot.clientWidth, height: 160, legend: { show: false }, cursor: { show: false },
      scales: { x: { time: true, range: () => [last() - span, last()] }, y: { range: (u, low, high) => [0, Math.max(high || 0, 1) * 1.05] } },
      axes: [{ ...axis, space: 80, size: 30, values: (u, at) => at.map(t => clock.format(t * 1000)) }, { ...axis, size: 48, ...(f.columns.some(c => whole.includes(c)) && { incrs: steps }) }],
      series: [{}, ...f.columns.map((c, i) => ({ stroke: colour("--chart-" + (i + 1)), width: 2, dash: i ? [6, 4] : [], spanGaps: true, points: { show: c > 5, size: 4 } }))],
    }, columnsOf(f), f.plot);
    say(f);
  }

  function draw() {
    for (const f of figures) {
      f.chart.setData(columnsOf(f));
      say(f);
    }
  }

  function take(n) {
    rows = [...rows, ...n.points.filter(p => p[0] > last())].slice(-keep);
    for (const [id, text] of Object.entries(n.now)) {
      const at = root.querySelector(`[data-now="${id}"]`);
      if (at && at.textContent !== text) at.textContent = text;
    }
    part("partial").hidden = !n.partial;
    if (n.reasons) replace(part("refused"), n.reasons);
    const quiet = document.querySelector("[data-quiet]");
    if (quiet && rows.some(r => r[3] > 0)) quiet.remove();
    draw();
  }

  figures.forEach(build);
  const wide = new ResizeObserver(() => {
    for (const f of figures) if (f.plot.clientWidth !== f.chart.width) f.chart.setSize({ width: f.plot.clientWidth, height: 160 });
  });
  wide.observe(root);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => figures.forEach(build));
  news({ root, note: part("state"), take, address: more => `${root.dataset.live}?${more}since=${last()}` });
});
