// Devices: the list, many at once, files, a device's page, and explain.
import { story, base, press, section } from "./harness.mjs";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

const evil = "<script>alert(1)</script>";

await story(async ({ as, fresh, look, check }) => {
  const owner = await as("owner");
  const at = base + "/domains/works/devices";
  const text = page => page.textContent("main");
  const file = async (page, click) => {
    const [saved] = await Promise.all([page.waitForEvent("download"), click()]);
    return { name: saved.suggestedFilename(), text: readFileSync(await saved.path(), "utf8") };
  };

  await owner.goto(base + "/domains");
  await owner.fill("#f-name", "Works");
  await press(owner, "Create");
  await owner.waitForURL("**/domains/works/channels**");
  await owner.goto(base + "/domains/works");
  check(await owner.locator("h1").textContent() === "Overview", "a domain leads to its overview");
  await owner.goto(at);
  check((await text(owner)).includes("Create the first one below"), "an empty list teaches the next step");
  await look(owner, "devices-empty");
  await owner.goto(base + "/domains/works/channels");
  await owner.fill("#f-name", "Readings " + evil);
  await owner.fill("#f-route", "readings");
  await press(owner, "Create");
  await owner.waitForURL("**done=created");

  // Create: the secret once, and commands that work.
  await owner.goto(at);
  await owner.fill("#f-name", "x".repeat(255));
  await press(owner, "Create");
  check(await owner.locator("#f-name[aria-invalid=true]").count() === 1, "a name that is too long is told of beside the field");
  await owner.fill("#f-name", "pump " + evil);
  await owner.fill("#f-tags", "north, " + evil);
  await owner.selectOption("#new-channel", { index: 1 });
  await press(owner, "Create");
  await owner.waitForSelector("#secret");
  const secret = await owner.inputValue("#secret");
  check(/^[\w-]{43}$/.test(secret), "the secret is shown");
  const page = owner.url();
  check(/devices\/[0-9a-f-]{36}$/.test(page), "the address is the device's: loading it again makes no other");
  const id = page.split("/").pop();
  await owner.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await owner.click("[data-copy=secret]");
  await owner.waitForSelector("text=Copied");
  check(await owner.evaluate(() => navigator.clipboard.readText()) === secret, "the secret can be copied");
  const sh = line => { try { return execFileSync("/bin/sh", ["-c", line], { encoding: "utf8", stdio: "pipe", timeout: 20000, env: { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: "0" } }); } catch (e) { check(false, `${e}: ${e.stderr}`); return ""; } };
  sh(await owner.inputValue("#mqtt"));
  check(/^HTTP\/\S+ 202/m.test(sh((await owner.inputValue("#http")).replace("curl ", "curl -sSk "))), "curl publishes as shown");
  const socket = await owner.inputValue("#ws");
  check(!/ECONN|401|403|Unexpected/.test(sh(socket.replace('ws.send("21.5")', 'ws.send("21.5"), setTimeout(() => ws.close(), 300)'))), "node publishes as shown");
  await look(owner, "device-new");
  await owner.reload();
  check(await owner.locator("#secret").count() === 0, "loading the page again does not show the secret");
  check(!(await owner.content()).includes(secret), "nor hold it");
  check((await text(owner)).includes("pump " + evil), "a name is text");

  // Rotate, with the old one valid for a while.
  await owner.fill("#f-overlap", "soon");
  await press(owner, "Make a new secret");
  check(await owner.locator("#f-overlap[aria-invalid=true]").count() === 1, "a wrong overlap is told of beside the field");
  check(await owner.inputValue("#f-name") === "pump " + evil, "and the other forms keep what they had");
  await owner.fill("#f-overlap", "90m");
  await press(owner, "Make a new secret");
  const next = await owner.inputValue("#secret");
  check(next !== secret && (await text(owner)).includes("stays valid for 90m"), "a new secret is shown, and what becomes of the old one");
  sh((await owner.inputValue("#mqtt")).replace(next, secret));
  const used = () => section(owner, "Secrets").locator("tbody tr");
  check(await used().count() === 2 && /never/.test(await used().nth(0).textContent()), "both secrets are listed; the new one was never used, and has no end");

  // Sessions: seen, and ended.
  const ws = await owner.evaluateHandle(([url]) => new Promise((done, failed) => {
    const s = new WebSocket(url); s.onopen = () => done(s); s.onerror = failed; window.ended = new Promise(e => s.onclose = x => e(x.code));
  }), [base.replace("http", "ws") + "/ws/m/works/c/readings?authorization=" + next]);
  void ws;
  const other = await owner.context().newPage();
  await other.goto(page);
  check((await section(other, "Connected now").textContent()).includes("ws"), "who is connected is shown by door");
  await look(other, "device-connected");
  await section(other, "Connected now").locator("tr:has(th:text-is('ws')) button:has-text('Disconnect')").click();
  await other.waitForURL("**done=disconnected");
  check(await owner.evaluate(() => window.ended) === 4401, "a session is ended");
  check(await other.locator("th:text-is('ws')").count() === 0, "and gone from the page");
  await other.close();

  // A secret that is on its way out is ended now.
  await owner.goto(page);
  await used().nth(1).locator("summary").click();
  await used().nth(1).locator("button:has-text('End it now')").click();
  await owner.waitForURL("**done=secret-ended");
  check(await used().count() === 1 && (await text(owner)).includes("The secret has ended"), "the old secret is gone, and the page says so");

  // Certificates.
  await owner.click("summary:has-text('Issue a certificate')");
  await owner.fill("#f-password", "short");
  await press(owner, "Issue");
  check(await owner.locator("#f-password[aria-invalid=true]").count() === 1 && await owner.inputValue("#f-password") === "", "a short password is told of, and not shown again");
  await owner.fill("#f-password", "");
  await press(owner, "Issue");
  const bundle = await file(owner, () => press(owner, "Save as a file"));
  check(bundle.name.endsWith(".pem") && bundle.text.includes("PRIVATE KEY") && bundle.text.includes("BEGIN CERTIFICATE") && !bundle.text.includes("\r"), "key and certificate are saved as PEM");
  await owner.mouse.move(0, 0);
  await look(owner, "device-certificate");
  const one = await file(owner, () => owner.click("a:text-is('Certificate')"));
  check(one.text.startsWith("-----BEGIN CERTIFICATE") && !one.text.includes("PRIVATE"), "a certificate is downloaded without its key");
  await owner.goto(page);
  const hold = async word => {
    await owner.click("summary:text-is('Revoke')");
    await owner.selectOption("select[name=reason]", word);
    await press(owner, "Revoke", "td");
    await owner.waitForURL("**done=saved");
  };
  await hold("certificateHold");
  check(await owner.locator(".status.held").count() === 1, "a certificate is held");
  await press(owner, "Release");
  await owner.waitForSelector(".status.valid");
  await hold("keyCompromise");
  check(await owner.locator(".status.revoked").count() === 1 && (await text(owner)).includes("keyCompromise"), "a certificate is revoked, with the reason");
  await owner.click("summary:has-text('Issue a certificate')");
  await owner.fill("#f-password", "a password of some length");
  await press(owner, "Issue");
  const p12 = await file(owner, () => press(owner, "Save as a file"));
  check(p12.name.endsWith(".p12"), "PKCS#12 is saved");
  await owner.goto(page);
  await owner.click("summary:has-text('Issue a certificate')");
  await owner.fill("#f-csr", "no request");
  await press(owner, "Issue");
  check((await section(owner, "Certificates").textContent()).includes("PEM") && await owner.locator("#f-csr[aria-invalid=true], section .problem").count() > 0, "what is no signing request is told of");

  // Description, connections, state.
  await owner.goto(page);
  await owner.fill("#f-metadata", "{");
  await press(owner, "Save", "form[action$=edit]");
  check(await owner.locator("#f-metadata[aria-invalid=true]").count() === 1 && await owner.inputValue("#f-metadata") === "{", "metadata that are no JSON are told of and kept");
  await look(owner, "device-wrong");
  await owner.fill("#f-metadata", JSON.stringify({ note: "</textarea>" + evil }));
  await owner.fill("#f-tags", "south, " + evil);
  await press(owner, "Save", "form[action$=edit]");
  await owner.waitForURL("**done=saved");
  check((await owner.inputValue("#f-metadata")).includes("</textarea>" + evil), "metadata are text");
  await press(owner, "No publishing");
  await owner.waitForURL("**done=disconnected");
  check((await section(owner, "Channels").locator("td").nth(1).textContent()) === "subscribe", "one right is taken");
  await section(owner, "Channels").locator("td button:has-text('Disconnect')").click();
  await owner.waitForSelector("text=It is connected to no channel");
  await press(owner, "Connect", "form[action$='/connect']");
  check((await text(owner)).includes("Choose a channel."), "connecting wants a channel");
  await owner.selectOption("#connect-channel", { index: 1 });
  await press(owner, "Connect", "form[action$='/connect']");
  await owner.waitForURL("**done=connected");
  await press(owner, "Disable");
  await owner.waitForURL("**done=disabled");

  // Explain.
  await owner.click("a:text-is('Why was it refused?')");
  check(await owner.inputValue("#f-client_id") === id, "explain knows which device");
  await owner.fill("#f-topic", "m/works/c/readings");
  await press(owner, "Explain");
  check((await text(owner)).includes("device_disabled") || /Refused.*disabled/s.test(await text(owner)), "a disabled device is refused, and why is told");
  await look(owner, "explain");
  await owner.fill("#f-client_id", "");
  await press(owner, "Explain");
  check(await owner.locator("#f-client_id[aria-invalid=true]").count() === 1, "explain wants a device or a credential");
  await owner.fill("#f-secret", next);
  await owner.fill("#f-username", id);
  await press(owner, "Explain");
  check(await owner.locator(".answer li").count() > 0, "the steps are shown");
  check(!(await owner.content()).includes(next), "the secret that was shown is not in the page");
  await owner.goto(page);
  await press(owner, "Enable");
  await owner.waitForURL("**done=enabled");

  // Import: progress, bad rows, secrets; export.
  const rows = ["name,tags,metadata"];
  for (let i = 0; i < 1200; i++) rows.push(`pump-${i},north;row${i % 7},"{""n"":${i}}"`);
  rows[600] = "x".repeat(255) + ",,"; rows[700] = `${evil},,[`; rows[701] = "=1+1,,";
  const upload = { name: "d.csv", mimeType: "text/csv", buffer: Buffer.from(rows.join("\n")) };
  await owner.goto(at);
  await owner.click("a:text-is('Import')");
  await look(owner, "import");
  const wrong = { name: "d.csv", mimeType: "text/csv", buffer: Buffer.from("colour\nred\n") };
  await owner.setInputFiles("#f-file", wrong);
  await press(owner, "Import");
  await owner.waitForSelector("#f-file[aria-invalid=true]");
  check((await text(owner)).includes("no column name"), "a file without names is refused beside the field");
  await owner.setInputFiles("#f-file", upload);
  await owner.evaluate(() => { window.seen = []; new MutationObserver(() => window.seen.push(document.querySelector("progress").value)).observe(document.querySelector("progress"), { attributes: true }); });
  await press(owner, "Import");
  await owner.waitForSelector("text=1198 of 1200 devices made");
  const seen = await owner.evaluate(() => window.seen);
  check(new Set(seen.filter(v => v > 0)).size >= 3, "the bar moves: " + seen);
  const report = await text(owner);
  check(report.includes("2 rows are wrong") && report.includes(evil), "bad rows are told of, as text");
  await look(owner, "import-report");
  const secrets = await file(owner, () => press(owner, "Save as a file"));
  check(secrets.text.trim().split(/\r?\n/).length === 1199 && secrets.text.includes("'=1+1"), "the secrets are saved");
  const bad = await file(owner, () => press(owner, "Save the wrong rows as a file"));
  check(/^601,/m.test(bad.text) && /^701,/m.test(bad.text), "the bad rows are saved with their lines");
  await owner.goto(at);
  const all = await file(owner, () => owner.click("a:text-is('Export all')"));
  check(all.text.trim().split(/\r?\n/).length >= 1200 && /,'=1\+1,/.test(all.text) && !/(^|,)=/m.test(all.text), "the export has all, and no formula");

  // Search, and many at once.
  await owner.goto(at);
  await look(owner, "devices");
  await owner.fill("input[name=name][type=search]", "pump-11");
  await owner.waitForSelector("text=of 111");
  await owner.fill("input[name=tag]", "row3");
  await owner.waitForURL("**tag=row3**");
  await owner.waitForSelector("text=/of 1[0-9]$/");
  await owner.check("[data-all=device]");
  const chosen = await owner.locator("input[name=device]:checked").count();
  await owner.click("summary:has-text('Do something')");
  await press(owner, "Do it");
  check((await text(owner)).includes("Choose what to do."), "many at once wants a deed");
  await owner.goto(at + "?name=pump-11&tag=row3");
  const many = async (deed, fill) => {
    await owner.check("[data-all=device]");
    await owner.click("summary:has-text('Do something')");
    await owner.check(`input[name=do][value=${deed}]`);
    await fill?.();
    if (deed === "tag") await look(owner, "devices-bulk");
    await press(owner, "Do it");
  };
  await many("tag", () => owner.fill("#f-add", "hot"));
  check((await text(owner)).includes("of " + chosen + " tagged") || /\d+ of \d+ tagged/.test(await text(owner)), "many are tagged");
  await owner.goto(at + "?tag=hot");
  check(await owner.locator("input[name=device]").count() === chosen, "and can be found by it");
  await many("disable");
  await owner.goto(at + "?status=disabled");
  check(await owner.locator("input[name=device]").count() === chosen, "many are disabled");
  await many("connect", () => owner.selectOption("#bulk-channel", { index: 1 }));
  check((await text(owner)).includes(`${chosen} of ${chosen} connected`), "many are connected");
  await owner.goto(at + "?status=disabled");
  await many("delete", () => owner.fill("#f-confirm", "Works"));
  check(await owner.locator("#f-confirm[aria-invalid=true]").count() === 1, "many are not deleted by another name");
  await owner.goto(at + "?status=disabled");
  await many("delete", () => owner.fill("#f-confirm", "works"));
  check((await text(owner)).includes(`${chosen} of ${chosen} deleted`), "many are deleted by the route");

  // Another site may not change anything.
  const cross = execFileSync("curl", ["-sk", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Sec-Fetch-Site: cross-site", "-b", (await owner.context().cookies()).map(c => c.name + "=" + c.value).join("; "), "-d", "disable=1", page + "/state"], { encoding: "utf8" });
  check(cross === "403", "a POST of another site is refused: " + cross);

  // By role.
  const viewer = await as("viewer");
  await viewer.goto(page);
  const enabled = await viewer.locator("main form[method=post] button:not([disabled]):not([data-copy])").count();
  check(enabled === 0, "a viewer can press nothing: " + enabled);
  check((await text(viewer)).includes("You need the role editor here; you are viewer."), "and reads why");
  await look(viewer, "device-viewer");
  await viewer.goto(at);
  await look(viewer, "devices-viewer");
  await viewer.goto(base + "/domains/works/explain");
  check(await viewer.locator("main button:has-text('Explain')").isDisabled(), "a viewer cannot ask why");

  // Without a script everything works too.
  const editor = await as("editor", { javaScriptEnabled: true });
  const state = await editor.context().storageState();
  await editor.context().close();
  const bare = await fresh({ javaScriptEnabled: false, storageState: state });
  await bare.goto(at);
  await bare.fill("input[name=name][type=search]", "pump <script");
  await press(bare, "Search");
  await bare.click(`a[href$="${id}"]`);
  check((await text(bare)).includes("pump " + evil), "search and page work without a script");
  await bare.goto(at + "/import");
  await bare.setInputFiles("#f-file", { name: "d.csv", mimeType: "text/csv", buffer: Buffer.from("name\nbare\n\"x\"y\n") });
  await press(bare, "Import");
  check((await text(bare)).includes("1 of 2 devices made"), "an import works without a script");
  check((await file(bare, () => press(bare, "Save as a file"))).text.includes("bare"), "and so does saving the secrets");
  await bare.goto(page);
  await bare.click("summary:has-text('Delete this device')");
  await bare.fill("#f-confirm", "pump");
  await press(bare, "Delete");
  check(await bare.locator("#f-confirm[aria-invalid=true]").count() === 1, "a device is not deleted by another name");
  await bare.fill("#f-confirm", "pump " + evil);
  await press(bare, "Delete");
  await bare.waitForURL("**done=deleted");
  check((await bare.goto(page)).status() === 404, "a deleted device is gone");
  await bare.context().close();
});
