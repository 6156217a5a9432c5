// Whom a domain lets in: by claim tokens.
import { story, base } from "./harness.mjs";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const evil = "<script>alert(1)</script>";
const dir = mkdtempSync(path.join(tmpdir(), "postern-trust-"));

await story(async ({ as, look, check }) => {
  const owner = await as("owner");
  const at = base + "/domains/foundry";
  const main = page => page.textContent("main");
  const press = (page, name, within = "main") => page.click(`${within} button:has-text("${name}")`);
  const section = (page, title) => page.locator("section.card", { has: page.locator(`h2:text-is("${title}")`) });
  const row = (page, name) => page.locator("table tr", { has: page.locator("th", { hasText: name }) });
  const api = (page, method, path, body) => page.evaluate(async ([method, path, body]) => {
    const r = await fetch("/api" + path, { method, headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
    const text = await r.text();
    return { status: r.status, body: text && JSON.parse(text) };
  }, [method, path, body]);
  // sh runs what a page shows, as it is shown, in a directory of its own. curl
  // is told of the server's root by the environment.
  const sh = line => {
    try {
      return execFileSync("/bin/sh", ["-c", line], { cwd: dir, encoding: "utf8", stdio: "pipe", timeout: 20000, env: { ...process.env, CURL_CA_BUNDLE: path.join(dir, "root.crt") } });
    } catch (e) { check(false, `${line}: ${e}: ${e.stderr}`); return ""; }
  };
  writeFileSync(path.join(dir, "root.crt"), await (await owner.request.get(base + "/pki/ca.crt")).body());
  const domain = (await api(owner, "POST", "/domains", { name: "Foundry", route: "foundry" })).body.id;
  await api(owner, "POST", `/${domain}/channels`, { name: "Heat " + evil, route: "heat" });
  await api(owner, "POST", `/${domain}/channels`, { name: "Orders", route: "orders" });

  // Claim tokens: from the devices, with what is wrong beside its field.
  await owner.goto(at + "/devices");
  await owner.click(".more a:has-text('Claim tokens')");
  await owner.waitForURL("**/devices/claims");
  check((await main(owner)).includes("There is no claim token"), "an empty list teaches the next step");
  await look(owner, "claims-empty");
  await owner.fill("#f-name", "ladle " + evil);
  await owner.fill("#f-tags", "north, " + evil);
  await owner.fill("#f-life", "soon");
  await owner.locator("select[name=channel]").nth(0).selectOption({ label: "Heat " + evil });
  await owner.locator("select[name=may]").nth(0).selectOption("publish");
  check(await owner.locator("select[name=channel]").count() === 3, "there are some lines for channels");
  await press(owner, "Add a line");
  await owner.locator("select[name=channel]").nth(3).selectOption({ label: "Orders" });
  check(await owner.locator("select[name=channel]").nth(2).inputValue() === "", "a line that is added is another one");
  await press(owner, "Make");
  check(await owner.locator("#f-life[aria-invalid=true]").count() === 1, "what is wrong stands beside the field");
  check(await owner.inputValue("#f-name") === "ladle " + evil && await owner.locator("select[name=channel]").nth(1).locator("option:checked").textContent() === "Orders", "and what was typed is kept");
  await look(owner, "claims-wrong");
  await owner.fill("#f-life", "30d");
  await press(owner, "Make");
  await owner.waitForSelector("#tokens");
  const token = await owner.inputValue("#tokens");
  check(/^pct_[\w-]{43}$/.test(token), "the token is shown: " + token);
  check(new URL(owner.url()).pathname.endsWith("/devices/claims"), "loading the page again makes no other");
  await owner.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await owner.click("[data-copy=tokens]");
  await owner.waitForSelector("text=Copied");
  check(await owner.evaluate(() => navigator.clipboard.readText()) === token, "it can be copied");
  const [saved] = await Promise.all([owner.waitForEvent("download"), press(owner, "Save as a file")]);
  const file = readFileSync(await saved.path(), "utf8").trim().split(/\r?\n/);
  check(/^claims-.*\.csv$/.test(saved.suggestedFilename()) && file[0] === "claim,token" && file[1].endsWith("," + token) && file.length === 2, "and saved: " + file);
  await look(owner, "claims-new");

  // It is used as the page says, for a secret.
  const made = JSON.parse(sh(await owner.inputValue("#claim")) || "{}");
  check(/^[\w-]{43}$/.test(made.secret), "curl claims a secret as shown: " + JSON.stringify(made));
  await owner.goto(owner.url());
  check(await owner.locator("#tokens").count() === 0 && !(await owner.content()).includes(token), "the token is not shown again");
  check(await row(owner, "ladle").locator(".status").textContent() === "used", "it is marked as used");
  await row(owner, "ladle").locator("a").click();
  await owner.waitForURL("**/devices/" + made.client_id);
  check((await owner.textContent("h1")).includes("ladle " + evil), "the list leads to the device, whose name is text");
  const rights = await section(owner, "Channels").locator("tbody").textContent();
  check(rights.includes("Heat " + evil) && rights.includes("Orders"), "it is connected as was decided: " + rights);

  // Many at once, and one of them used by EST for a certificate.
  await owner.goto(at + "/devices/claims");
  await owner.fill("#f-count", "1000");
  await owner.fill("#f-name", "ingot");
  await press(owner, "Make");
  await owner.waitForSelector("#tokens");
  check(new Set((await owner.inputValue("#tokens")).split("\n")).size === 1000, "a thousand tokens are made at once");
  check((await main(owner)).includes("of 1001"), "and listed");
  await look(owner, "claims-many");
  sh(await owner.inputValue("#est"));
  check(/CN ?= ?[0-9a-f-]{36}/.test(sh("openssl x509 -in device.crt -noout -subject")), "EST gives a certificate as shown");
  await owner.goto(at + "/devices/claims?status=used");
  check(await row(owner, "ingot").count() === 1 && await row(owner, "ladle").count() === 1, "the used ones are found by their state");
  await owner.selectOption("select[name=status]", "open");
  await owner.waitForURL("**status=open");
  check((await main(owner)).includes("of 999"), "and the open ones");
  await owner.goto(at + "/devices/claims?status=open");
  await row(owner, "ingot").first().locator("summary").click();
  await row(owner, "ingot").first().locator("button:has-text('Delete it')").click();
  await owner.waitForURL("**done=deleted");
  check((await main(owner)).includes("of 1000"), "one is deleted");

  const viewer = await as("viewer");
  await viewer.goto(at + "/devices/claims");
  check(await viewer.locator("main button:has-text('Make')").isDisabled() && await viewer.locator("table form").count() === 0, "a viewer makes and deletes none");
  check((await main(viewer)).includes("You need the role editor here; you are viewer."), "and reads why");
  await look(viewer, "claims-viewer");
});
