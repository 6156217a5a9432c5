// A domain's overview and a device's page, while devices come and are refused.
import { story, base, api, section } from "./harness.mjs";
import { execFileSync, spawn } from "node:child_process";

const evil = "<script>alert(1)</script>";

await story(async ({ as, fresh, look, check }) => {
  const owner = await as("owner");
  const at = base + "/domains/flow";
  const text = page => page.textContent("main");
  const now = (page, id) => page.textContent(`[data-now=${id}]`);
  const sh = (line, fails) => {
    try {
      execFileSync("/bin/sh", ["-c", line], { encoding: "utf8", stdio: "pipe", timeout: 20000 });
      check(!fails, "it should have failed: " + line);
    } catch (e) { check(fails, `${e}: ${e.stderr}`); }
  };

  // Nothing is there yet.
  await owner.goto(base + "/domains");
  await api(owner, "POST", "/domains", { name: "Flow " + evil, route: "flow" });
  await owner.goto(at);
  check(await owner.locator("nav.tabs a").first().textContent() === "Overview" && await owner.locator("nav.tabs a[aria-current=page]").textContent() === "Overview", "the overview is the first tab");
  check((await section(owner, "The first device").textContent()).includes("Create one"), "without a device the next step is to create one");
  await look(owner, "overview-empty");

  const channel = await api(owner, "POST", "/flow/channels", { name: "Readings", route: "readings", store: true });
  const device = await api(owner, "POST", "/flow/clients", { name: "pump" });
  const id = device.id, secret = device.credentials.secret;
  await api(owner, "POST", `/flow/channels/${channel.id}/connect`, { client_ids: [id], types: ["publish", "subscribe"] });
  await owner.reload();
  const command = await owner.inputValue("#publish");
  check(command.includes("m/flow/c/readings"), "without a message the next step is to publish one: " + command);
  await look(owner, "overview-quiet");
  const line = (as, topic) => command.replace("DEVICE", id).replace("SECRET", as).replace("m/flow/c/readings", topic);

  // From here on nobody loads the page again.
  await owner.evaluate(() => { window.mine = true; });
  const listener = spawn("/bin/sh", ["-c", "exec " + line(secret, "'m/flow/c/readings/#'").replace("mosquitto_pub", "mosquitto_sub").replace(/ -m .*/, "")], { stdio: "ignore" });
  const device2 = await owner.context().newPage();
  const page = at + "/devices/" + id;
  await device2.goto(page);
  await device2.evaluate(() => { window.mine = true; });
  await device2.fill("#f-tags", "half a wo");
  await device2.focus("#f-tags");
  const label = () => owner.getAttribute("[data-columns='3 4'] .plot", "aria-label");
  const before = await label();
  const drawn = () => owner.evaluate(() => document.querySelector("[data-columns='3 4'] canvas").toDataURL().length);
  const blank = await drawn();
  for (let i = 0; i < 30; i++) sh(line(secret, "m/flow/c/readings"));
  sh(line("x".repeat(43), "m/flow/c/readings"), true);
  for (let i = 0; i < 3; i++) sh(line(secret, `'m/flow/c/nothing/${evil}'`) + " -V 5");
  await owner.waitForFunction(() => document.querySelector("[data-now=messages]").textContent !== "0");
  await owner.waitForFunction(() => document.querySelector("[data-now=devices]").textContent === "1");
  await owner.waitForFunction(() => document.querySelector("[data-now=refused]").textContent === "4");
  check(/ms$/.test(await now(owner, "p50")) && /ms$/.test(await now(owner, "p99")), "how long an acknowledgement takes: " + await now(owner, "p50"));
  check(await label() !== before && /highest [1-9]|highest 0\.[0-9]*[1-9]/.test(await label()), "the chart says what it shows: " + await label());
  check(await drawn() !== blank, "and shows it");
  check(await owner.locator("[data-quiet]").count() === 0, "the lesson is over when a message came");
  const reasons = await section(owner, "Refusals in the last 15 minutes").textContent();
  check(reasons.includes("wrong_secret") && reasons.includes("channel_unknown"), "refusals by reason: " + reasons);
  check(await owner.evaluate(() => window.mine), "all that without loading the page again");
  await owner.waitForFunction(() => document.querySelector("[data-columns='3 4'] .plot").getAttribute("aria-label").includes("published now 0,")); // for the picture: another point
  await look(owner, "overview");
  const weight = await owner.evaluate(() => [...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")].filter(e => !e.name.includes("/live")).reduce((n, e) => n + e.encodedBodySize, 0));
  check(weight < 200_000, "the page weighs " + weight);
  console.log("the overview weighs " + weight);

  // Which devices, and why.
  const elsewhere = await owner.context().newPage();
  await elsewhere.goto(at);
  await elsewhere.click("tr:has-text('channel_unknown') a:text-is('Which devices')");
  check(elsewhere.url().endsWith("/refusals?reason=channel_unknown"), "each reason has its list: " + elsewhere.url());
  const which = () => elsewhere.locator("#refusals tbody tr");
  check(await which().count() === 1 && (await which().first().textContent()).includes("pump") && (await which().first().textContent()).includes("m/flow/c/nothing/" + evil), "which names the device and its topic, as text");
  await look(elsewhere, "refusals");
  await elsewhere.click("a:text-is('Show all')");
  check(await which().count() === 2, "and there is a list of all");
  await elsewhere.click("tbody a:text-is('pump')");
  check(elsewhere.url() === page, "it leads to the device");
  await elsewhere.close();

  // The device's page has seen it too, and has left the reader alone.
  await device2.waitForSelector("h2:text-is('Recent refusals') ~ div table");
  const refusals = section(device2, "Recent refusals");
  await device2.waitForFunction(() => [...document.querySelectorAll("#refusals tbody tr")].some(r => r.cells[3].textContent.startsWith("3")));
  const told = await refusals.textContent();
  check(told.includes("m/flow/c/nothing/" + evil), "the topic is text: " + told);
  check(told.includes("connect by mqtt") && told.includes("Its secret is not the right one"), "why is told in words");
  check(await refusals.locator("tbody tr").count() === 2, "what is the same is told once");
  check((await section(device2, "Connected now").textContent()).includes("mqtt"), "who has come is shown");
  check(await device2.inputValue("#f-tags") === "half a wo" && await device2.evaluate(() => document.activeElement.id) === "f-tags", "what is being typed stays");
  check(await device2.evaluate(() => window.mine), "without loading the page again");
  check(!/^\d{4}-/.test(await refusals.locator("time").first().textContent()), "times are the reader's");
  await look(device2, "device-refusals");

  // Focus in the part that changes is kept.
  const kick = device2.locator("#live button:has-text('Disconnect')");
  await kick.focus();
  const focused = await device2.evaluate(() => document.activeElement.id);
  check(focused.startsWith("end-"), "the button has a name of its own");
  sh(line(secret, "m/flow/c/else") + " -V 5");
  await device2.waitForFunction(() => document.querySelectorAll("#refusals tbody tr").length === 3);
  check(await device2.evaluate(() => document.activeElement.id) === focused, "focus is kept: " + await device2.evaluate(() => document.activeElement.outerHTML.slice(0, 90)));
  const links = await refusals.locator("a:text-is('Explain')").all();
  await links[1].click();
  await device2.waitForURL("**/explain?**");
  check(await device2.inputValue("#f-client_id") === id && (await device2.inputValue("#f-topic")) === "m/flow/c/nothing/" + evil, "explain is asked about that very topic");
  await device2.click("main button:has-text('Explain')");
  check((await text(device2)).includes("channel_unknown"), "and tells why");
  await device2.close();

  // Where no stream can be had the page asks, and says when nobody answers.
  const poor = await owner.context().newPage();
  let answers = true;
  await poor.route("**/live?**", r => !r.request().url().includes("once") ? r.fulfill({ status: 503 }) : answers ? r.continue() : r.abort());
  await poor.goto(page);
  sh(line(secret, "m/flow/c/without") + " -V 5");
  await poor.waitForSelector("#refusals >> text=m/flow/c/without");
  answers = false;
  await poor.waitForSelector("#live.stale");
  check((await poor.textContent("#live-note")).includes("does not answer"), "who gets no answer reads so");
  answers = true;
  await poor.waitForSelector("#live:not(.stale)");
  check(await poor.locator("#live-note").isHidden(), "until there is one again");
  await poor.close();

  // A page in the background lets go of its stream after a minute, and takes it
  // up again when it is looked at.
  const aside = await owner.context().newPage();
  await aside.clock.install();
  await aside.addInitScript(() => {
    window.sources = [];
    window.EventSource = class extends EventSource { constructor(at) { super(at); window.sources.push(this); } };
    Object.defineProperty(document, "hidden", { get: () => window.away });
  });
  const away = is => aside.evaluate(is => { window.away = is; document.dispatchEvent(new Event("visibilitychange")); }, is);
  const streams = () => aside.evaluate(() => window.sources.map(s => s.readyState === EventSource.CLOSED ? "closed" : "open").join());
  await aside.goto(page);
  await away(true);
  await aside.clock.runFor(59_000);
  await away(false);
  await aside.clock.runFor(59_000);
  check(await streams() === "open", "who comes back within a minute has the stream: " + await streams());
  await away(true);
  await aside.clock.runFor(61_000);
  check(await streams() === "closed", "after a minute it is let go of: " + await streams());
  await away(false);
  check(await streams() === "closed,open", "and taken up again: " + await streams());
  await aside.close();

  // Health.
  await api(owner, "POST", `/flow/clients/${id}/certs`, {});
  listener.kill();
  await api(owner, "POST", `/flow/clients/${id}/disable`);
  await owner.waitForFunction(() => document.querySelector("[data-now=devices]").textContent === "0");
  await owner.reload();
  check((await section(owner, "Health").textContent()).includes("Good certificates of disabled devices"), "the overview tells what is the matter");
  await owner.click("a:has-text('Good certificates of disabled devices')");
  check(owner.url().endsWith("/health?kind=certificate_of_disabled"), "each kind has its list");
  check(await owner.locator(`main a[href$="${id}"]`).count() === 1, "which names the device");
  await look(owner, "health");

  // By role: everybody who may see the domain sees the same.
  for (const role of ["viewer", "editor", "admin"]) {
    const other = await as(role);
    await other.goto(at);
    await other.waitForFunction(() => document.querySelectorAll(".chart canvas").length === 4);
    check((await text(other)).includes("channel_unknown"), role + " sees the refusals");
    if (role === "viewer") await look(other, "overview-viewer");
    await other.context().close();
  }

  // Who may not see it any more is told no more.
  const guest = await fresh();
  const made = await api(owner, "POST", "/users", { credentials: { username: "guest", secret: "seven wet pumps hum at noon" }, email: "guest@example.com" });
  await api(owner, "POST", "/domains/flow/members", { user_id: made.id, role: "viewer" });
  await guest.goto(base + "/sign-in");
  await guest.fill("#username", "guest");
  await guest.fill("#password", "seven wet pumps hum at noon");
  await guest.click("button:has-text('Sign in')");
  await guest.waitForURL("**/domains/flow");
  await guest.waitForFunction(() => document.querySelectorAll(".chart canvas").length === 4);
  await api(owner, "DELETE", "/domains/flow/members/" + made.id);
  await guest.waitForSelector("[data-state]:not([hidden])");
  check((await guest.textContent("[data-state]")).includes("does not change any more"), "the page says that it stands still: " + await guest.textContent("[data-state]"));
  await look(guest, "overview-over");
  check((await guest.goto(at)).status() === 403, "and is not to be had again");
  await guest.context().close();

  // Without a script the numbers and the tables are there.
  const state = await owner.context().storageState();
  const bare = await fresh({ javaScriptEnabled: false, storageState: state });
  await bare.goto(at);
  check(await now(bare, "devices") === "0" && Number(await now(bare, "refused")) > 0, "the numbers are there without a script");
  const plain = await bare.textContent("main");
  check(plain.includes("The charts need a script") && plain.includes("wrong_secret"), "and the tables, and a word about the charts");
  check(await bare.locator(".chart").first().isHidden(), "the charts are not");
  await bare.setViewportSize({ width: 390, height: 844 });
  if (process.env.SHOTS) await bare.screenshot({ path: process.env.SHOTS + "/overview-bare-390.png", fullPage: true });
  await bare.goto(page);
  check((await text(bare)).includes("m/flow/c/nothing/" + evil), "the refusals of a device too");
});
