// Every page, as every role: each link is followed, on pages of whose names each
// is an attack. What a page must be everywhere is asked here, so that a new page
// needs no line.
import { story, base } from "./harness.mjs";

const { patterns, domain, skip } = JSON.parse(process.env.PAGES);
const maxWeight = 200 * 1024; // bytes over the wire, of a browser that comes for the first time
const perPattern = 2;

// Which route a path belongs to: the one with the fewest holes in it.
const routes = patterns.filter(p => p.startsWith("GET ")).map(p => p.slice(4)).map(path => ({
  path, holes: (path.match(/\{[^$]/g) || []).length,
  form: new RegExp("^" + path.replace("{$}", "").replace(/\{[^}]+\}/g, "[^/]+") + "$"),
})).sort((a, b) => a.holes - b.holes);
const routeOf = path => routes.find(r => r.form.test(path))?.path;

await story(async ({ as, faults, check }) => {
  // follow goes to every page that links lead to from /, and calls see on each.
  async function follow(page, see) {
    const waiting = ["/"], known = new Set(waiting), seen = {};
    while (waiting.length) {
      const path = waiting.shift();
      const route = routeOf(path.split("?")[0]);
      if (!route || route in skip || (seen[route] = (seen[route] || 0) + 1) > perPattern) continue;
      const answer = await page.goto(base + path);
      check(answer.ok(), `${path} answers ${answer.status()}`);
      await see(path, routeOf(new URL(page.url()).pathname)); // it may have led on
      for (const link of await page.$$eval("a[href]:not([download])", all => all.map(a => a.href))) {
        const to = new URL(link);
        const next = to.pathname + to.search;
        if (to.origin === base && !known.has(next)) { known.add(next); waiting.push(next); }
      }
    }
    return seen;
  }

  const titles = new Map();
  for (const role of ["owner", "admin", "editor", "viewer"]) {
    const page = await as(role);
    page.on("dialog", d => { check(false, `a name ran on ${page.url()}`); d.dismiss(); });
    const wire = await page.context().newCDPSession(page);
    await wire.send("Network.enable");
    await wire.send("Network.setCacheDisabled", { cacheDisabled: true });
    let weight = 0;
    wire.on("Network.loadingFinished", e => { weight += e.encodedDataLength; });
    await page.goto(base + "/"); // what it came with is not the next page's
    let last = 0;
    const seen = await follow(page, async (path, route) => {
      const own = weight - last;
      last = weight;
      check(own < maxWeight, `${path} weighs ${own} bytes`);
      check(await page.evaluate(() => window.ran) === undefined, `a name ran as a script on ${path}`);
      check(await page.locator("h1").count() === 1, `${path} has one heading`);
      check(await page.locator("[onerror], [onload], [onclick], main script").count() === 0, `a name became an element on ${path}`);
      const title = await page.title();
      check(title.length > "Postern".length, `${path} has a title`);
      check((titles.get(title) ?? route) === route, `${path} has the title of ${titles.get(title)}: ${title}`);
      titles.set(title, route);
      for (const control of await page.$$eval("main [disabled]", all => all.filter(e => e.offsetParent && !e.closest("form, section").querySelector(".why") && !document.querySelector("main > .notice")).map(e => e.outerHTML)))
        check(false, `${path}: a control is disabled and does not say why: ${control}`);
      if (role === "owner" || role === "viewer") for (const fault of await faults(page)) check(false, `${path} as ${role}: ${fault}`);
      await page.setViewportSize({ width: 390, height: 844 });
      check(await page.evaluate(() => document.documentElement.scrollWidth <= 391), `${path} is wider than the screen of a phone`);
      await page.setViewportSize({ width: 1280, height: 800 });
    });
    if (role === "owner") for (const { path } of routes) check(path in seen || path in skip, `no link leads to ${path}`);
    if (role === "viewer") check((seen["/domains/{domain}/devices/{device}"] || 0) > 0, `a viewer sees a device of ${domain}`);
  }

  // Without a script a page is painted all the same, and says the same.
  const bare = await as("owner", { javaScriptEnabled: false });
  await follow(bare, async path => {
    check(await bare.locator("h1").isVisible(), `${path} is painted without a script`);
    const words = (await bare.locator("main").innerText()).length;
    check(words > 40, `${path} has words without a script`);
    check(await bare.locator("[hx-trigger*=load]").count() === 0, `${path} waits for a script to be filled`);
  });
});
