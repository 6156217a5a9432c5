// Live messages: they come without loading the page again, are read for people,
// and end with the right to hear them.
import { story, base, api } from "./harness.mjs";
import { execFileSync } from "node:child_process";

const evil = "<script>alert(1)</script>";

await story(async ({ as, look, check }) => {
  const owner = await as("owner");
  const domain = await api(owner, "POST", "/domains", { name: "Mill", route: "mill" });
  const channel = await api(owner, "POST", "/mill/channels", { name: "Readings " + evil, route: "readings" });
  const device = name => api(owner, "POST", "/mill/clients", { name });
  const pump = await device("pump " + evil), fan = await device("fan");
  await api(owner, "POST", "/mill/channels/connect", { client_ids: [pump.id, fan.id], channel_ids: [channel.id], types: ["publish"] });
  const sh = (...args) => execFileSync("curl", ["-sSk", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", ...args], { encoding: "utf8", timeout: 20000 });
  const say = (d, subtopic, payload, type = "") => check(sh("-H", "Authorization: Client " + d.credentials.secret, "-H", "Content-Type: " + type,
    "--data-binary", payload, base + "/http/m/mill/c/readings" + (subtopic && "/" + subtopic)) === "202", "a device publishes");
  const at = base + "/domains/mill/channels/" + channel.id + "/live";
  const list = page => page.textContent("#live-list");
  const comes = (page, text) => page.waitForFunction(t => document.getElementById("live-list").textContent.includes(t), text);
  const state = (page, text) => page.waitForFunction(t => document.getElementById("live-state").textContent.includes(t), text);

  const viewer = await as("viewer");
  await viewer.goto(at);
  await state(viewer, "Live.");
  check((await viewer.textContent("#live")).includes("Nothing was said yet"), "an empty page says so");
  check(await viewer.locator("#publish button").isDisabled() && (await viewer.textContent("#publish")).includes("You need the role editor here"), "a viewer cannot publish, and reads why");
  await look(viewer, "live-empty");

  // What devices say, in every form.
  say(pump, "note", evil + " & <b>text</b>");
  await comes(viewer, evil);
  check(await viewer.locator("#live-list script, #live-list b").count() === 0, "a payload is text");
  check((await list(viewer)).includes("pump " + evil), "and so is the device's name");
  say(pump, "json", JSON.stringify({ engine: { temperature: 81.5, tags: ["a", evil] }, ok: true, none: null }), "application/json");
  await comes(viewer, "temperature");
  check(await viewer.locator("#live-list > li").first().locator("details").count() === 3, "JSON folds");
  say(pump, "senml", '[{"bn":"urn:dev:mill:","bt":1.7e9,"bu":"A","n":"voltage","u":"V","v":120.1},{"n":"current","t":-5,"v":1.2},{"n":"open","vb":true}]', "application/senml+json");
  await comes(viewer, "urn:dev:mill:current");
  const records = await viewer.locator("#live-list > li").first().locator("tbody tr").allTextContents();
  check(records.length === 3 && records[0].includes("urn:dev:mill:voltage120.1V") && records[1].includes("1.2A"), "SenML is a table with what the base gives: " + records);
  execFileSync("sh", ["-c", `printf '\\377\\000AB' > raw.bin`], { cwd: process.env.HOME });
  say(fan, "raw", "@" + process.env.HOME + "/raw.bin", "application/octet-stream");
  await comes(viewer, "ff 00 41 42");
  for (const n of [20, 21.5, 19, 24]) say(fan, "temperature", String(n));
  await comes(viewer, "24");
  check((await list(viewer)).indexOf("24") < (await list(viewer)).indexOf("ff 00 41 42"), "the newest is on top");

  // The plot, of a value that came by.
  const options = await viewer.locator("#plot-what option").allTextContents();
  check(options.some(o => o.startsWith("engine.temperature, json, pump")) && options.some(o => o.startsWith("urn:dev:mill:voltage")) && options.some(o => o.startsWith("value, temperature, fan")), "values are offered: " + options.join(" | "));
  await viewer.selectOption("#plot-what", { label: options.find(o => o.startsWith("value, temperature, fan")) });
  await viewer.waitForSelector("#plot canvas");
  check((await viewer.getAttribute("#plot", "aria-label")).includes("4 values, the last 24"), "what came before it was chosen is plotted");
  say(fan, "temperature", "30");
  await viewer.waitForFunction(() => document.getElementById("plot").getAttribute("aria-label").includes("5 values, the last 30"));
  await look(viewer, "live");

  // Pause, by the keyboard.
  await viewer.focus("#live-pause");
  await viewer.keyboard.press("Enter");
  await state(viewer, "Paused.");
  const before = await viewer.locator("#live-list > li").count();
  say(fan, "temperature", "41.25");
  say(fan, "temperature", "42.25");
  await viewer.waitForFunction(() => document.getElementById("live-count").textContent.includes("2 came meanwhile"));
  check(await viewer.locator("#live-list > li").count() === before, "a paused list stands still");
  await look(viewer, "live-paused");
  await viewer.keyboard.press("Enter");
  await comes(viewer, "42.25");
  check((await list(viewer)).includes("41.25"), "what came meanwhile is shown");

  // A filter is the address, and the server's.
  await viewer.selectOption("select[name=publisher]", fan.id);
  await viewer.fill("input[name=subtopic]", "+/speed");
  await viewer.click("main .filters button");
  await viewer.waitForURL(u => u.searchParams.get("publisher") === fan.id && u.searchParams.get("subtopic") === "+/speed");
  await state(viewer, "Live.");
  say(pump, "a/speed", "of the pump");
  say(fan, "a/other", "another subtopic");
  say(fan, "a/speed", "wanted");
  await comes(viewer, "wanted");
  check(!/of the pump|another subtopic/.test(await list(viewer)), "only what the filter takes comes");
  await viewer.reload();
  check(await viewer.inputValue("input[name=subtopic]") === "+/speed", "the filter outlives loading again");
  await viewer.goBack();
  await state(viewer, "Live.");
  check(await viewer.inputValue("input[name=subtopic]") === "", "going back undoes it");
  await viewer.goto(at + "?subtopic=%23/x");
  await state(viewer, "Ended: ");
  check((await viewer.textContent("#live-state")).includes("# is not the last level"), "a wrong filter is told of: " + await viewer.textContent("#live-state"));
  await look(viewer, "live-wrong");

  // Publishing: the answer, and the message as it comes.
  const editor = await as("editor");
  await editor.goto(at);
  await state(editor, "Live.");
  await editor.fill("#f-subtopic", "a/#");
  await editor.fill("#f-payload", "from a person");
  await editor.click("#publish button");
  await editor.waitForSelector("#f-subtopic[aria-invalid=true]");
  check(await editor.inputValue("#f-payload") === "from a person", "what is wrong stands beside the field, and the rest is kept");
  await editor.fill("#f-subtopic", "hello");
  await editor.selectOption("#f-content_type", "text/plain");
  await editor.click("#publish button");
  await editor.waitForFunction(() => /Stored as number \d+\./.test(document.getElementById("said").textContent));
  await comes(editor, "from a person");
  check((await list(editor)).includes("a person"), "the message says that a person sent it");
  check((await editor.textContent("#live-state")) === "Live.", "the page goes on listening");
  await look(editor, "live-published");
  await editor.selectOption("#f-content_type", "application/senml+json");
  await editor.fill("#f-payload", "[{");
  await editor.click("#publish button");
  await editor.waitForSelector("#f-payload[aria-invalid=true]");

  // Many messages: the page keeps two hundred.
  for (let i = 0; i < 5; i++) await editor.evaluate(([path, i]) => Promise.all([...Array(50).keys()].map(n => fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ payload: "many " + i + " " + n }) }))), ["/api/mill/channels/" + channel.id + "/messages", i]);
  await comes(editor, "many 4");
  await editor.waitForFunction(() => document.querySelectorAll("#live-list > li").length === 200);

  // The end: a channel that is disabled, a person who is demoted.
  await viewer.goto(at);
  await state(viewer, "Live.");
  await api(owner, "POST", "/mill/channels/" + channel.id + "/disable");
  await state(viewer, "Ended: the channel was disabled");
  await api(owner, "POST", "/mill/channels/" + channel.id + "/enable");
  for (const page of [viewer, editor]) {
    await page.click("#live-again");
    await state(page, "Live.");
  }
  const users = await api(owner, "GET", "/users?limit=100");
  const id = users.users.find(u => u.credentials.username === "viewer").id;
  await api(owner, "POST", "/users/" + id + "/disable");
  await state(viewer, "Ended: ");
  say(fan, "secret", "not for the viewer");
  await comes(editor, "not for the viewer");
  check(!(await list(viewer)).includes("not for the viewer"), "who is disabled hears nothing more");
  await api(owner, "POST", "/users/" + id + "/enable");

  // Without a script: the command, and a form that works.
  const plain = await as("editor", { javaScriptEnabled: false });
  await plain.goto(at);
  const text = await plain.textContent("main");
  check(text.includes("needs a script") && text.includes("curl -N"), "without a script the page says how to listen");
  await plain.fill("#f-payload", "plain");
  await plain.click("#publish button");
  check(/Stored as number \d+\./.test(await plain.textContent("#said")), "and publishes");
  void domain;

  // The pure parts, with odd things.
  await owner.goto(at);
  const odd = await owner.evaluate(() => ({
    none: senml([], 0), text: senml(["x"], 0), wrongType: senml([{ n: 1, v: 1 }], 0), foreign: senml([{ a: 1 }], 0), nameless: senml([{ v: 1 }], 0), nothing: senml([{ n: "x" }], 0),
    relative: senml([{ n: "x", v: 1, t: -5 }], 1000)[0].time, base: senml([{ bn: "a:", bv: 10, bt: 2e9 }, { n: "b", v: 2, t: 3 }], 0)[0], sum: senml([{ n: "e", s: 5 }], 0)[0].value,
    zero: senml([{ n: "x", v: 0 }], 0)[0].value, proto: readMessage({ payload: '{"__proto__":{"x":1}}', time: "2026-01-01T00:00:00Z" }).kind,
    deep: numbers({ kind: "json", value: JSON.parse("[".repeat(500) + "1" + "]".repeat(500)) }, 0).length, many: numbers({ kind: "json", value: Array(1000).fill(1) }, 0).length,
    cut: readMessage({ payload: '{"a":', time: "x" }).kind, bytes: readMessage({ payload_base64: "/w==" }).bytes[0], inf: numbers({ kind: "json", value: 1e999 }, 0).length,
    events: serverEvents(": x\n\nevent: end\ndata: {}\n\ndata: 1")
  }));
  check(odd.none === null && odd.text === null && odd.wrongType === null && odd.foreign === null && odd.nameless === null && odd.nothing === null, "what is no pack is none: " + JSON.stringify(odd));
  check(odd.relative === 995 && odd.base.name === "a:b" && odd.base.value === 12 && odd.base.time === 2000000003 && odd.sum === 5 && odd.zero === 0, "SenML is resolved: " + JSON.stringify(odd));
  check(odd.deep === 0 && odd.many === 50 && odd.cut === "text" && odd.bytes === 255 && odd.inf === 0 && odd.proto === "json", "odd payloads are read: " + JSON.stringify(odd));
  check(odd.events[0].length === 1 && odd.events[0][0].name === "end" && odd.events[1] === "data: 1", "events are taken out whole");
});
