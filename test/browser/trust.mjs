// Whom a domain lets in: by claim tokens, and by authorities of somebody else.
import { story, base, api, press, row, section } from "./harness.mjs";
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
  // sh runs what a page shows, as it is shown, in a directory of its own. curl
  // is told of the server's root by the environment.
  const sh = line => {
    try {
      return execFileSync("/bin/sh", ["-c", line], { cwd: dir, encoding: "utf8", stdio: "pipe", timeout: 20000, env: { ...process.env, CURL_CA_BUNDLE: path.join(dir, "root.crt") } });
    } catch (e) { check(false, `${line}: ${e}: ${e.stderr}`); return ""; }
  };
  writeFileSync(path.join(dir, "root.crt"), await (await owner.request.get(base + "/pki/ca.crt")).body());
  const domain = (await api(owner, "POST", "/domains", { name: "Foundry", route: "foundry" })).id;
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
  await owner.reload();
  check(await row(owner, "ladle").count() === 1, "loading the page again makes no other");
  check(await owner.locator("#tokens").count() === 0 && !(await owner.content()).includes(token), "nor shows the token again");
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

  // An authority of somebody else, from the settings of the domain.
  const acme = "Acme " + evil;
  sh(`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 30 -subj '/CN=Acme <script>alert(1)<\\/script>' -addext keyUsage=critical,keyCertSign,cRLSign`);
  await owner.goto(at + "/settings");
  await owner.click("main a:has-text('imported authorities')");
  await owner.waitForURL("**/authorities");
  check((await main(owner)).includes("No authority is imported"), "an empty list teaches the next step");
  await look(owner, "authorities-empty");
  await owner.fill("#f-certificate", "mine");
  await owner.fill("#f-longest_life", "90d");
  await owner.check("input[name=register][value='1']");
  await owner.fill("#f-approve", "ingot-*");
  await owner.fill("#f-tags", "cast");
  await owner.locator("select[name=channel]").nth(0).selectOption({ label: "Heat " + evil });
  await owner.locator("select[name=may]").nth(0).selectOption("publish");
  await press(owner, "Import");
  check(await owner.locator("#f-certificate[aria-invalid=true]").count() === 1, "what is no certificate is told of beside the field");
  check(await owner.inputValue("#f-longest_life") === "90d" && await owner.isChecked("input[name=register][value='1']") && await owner.locator("select[name=channel]").nth(0).locator("option:checked").textContent() === "Heat " + evil, "and what was typed is kept");
  await look(owner, "authorities-wrong");
  await owner.setInputFiles("#f-file", path.join(dir, "ca.crt"));
  await press(owner, "Import");
  await owner.waitForURL("**done=created");
  const page = owner.url().split("?")[0];
  check((await owner.textContent("h1")).startsWith(acme) && (await owner.textContent("h1")).includes("unproved"), "its name is text, and it is unproved");
  check(await section(owner, "Names").count() === 0 && await section(owner, "List of revocations").count() === 0, "before the proof it is asked for that alone");
  await look(owner, "authority-unproved");

  // The proof, by the commands of the page.
  await owner.fill("#f-certificate", readFileSync(path.join(dir, "ca.crt"), "utf8"));
  await press(owner, "Check the proof");
  check(await owner.locator("#f-certificate[aria-invalid=true]").count() === 1 && (await main(owner)).includes("must have the nonce"), "another certificate proves nothing");
  const proof = sh(await owner.inputValue("#challenge"));
  await owner.fill("#f-certificate", proof);
  await press(owner, "Check the proof");
  await owner.waitForURL("**done=proved");
  check((await owner.textContent("h1")).includes("enabled"), "the commands of the page answer the challenge");
  check((await main(owner)).includes("One is made of each name that comes first"), "and the page says who comes now");
  await look(owner, "authority-proved");

  // Devices come with its certificates.
  writeFileSync(path.join(dir, "ext.cnf"), "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n");
  const signed = (name, days = 30) => sh(`openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout device.key -subj /CN=${name} -out device.csr && openssl x509 -req -in device.csr -CA ca.crt -CAkey ca.key -set_serial 0x$(openssl rand -hex 8) -days ${days} -extfile ext.cnf -out device.crt`);
  const enter = (await owner.inputValue("#enter")).replace("CHANNEL", "heat");
  const answers = () => {
    try { return execFileSync("/bin/sh", ["-c", enter], { cwd: dir, encoding: "utf8", stdio: "pipe", timeout: 20000, env: { ...process.env, CURL_CA_BUNDLE: path.join(dir, "root.crt") } }); } catch (e) { return String(e.stderr); }
  };
  const lets = () => /^HTTP\/\S+ 202/m.test(answers());
  signed("ingot-8", 100);
  check(!lets(), "a certificate that lasts too long is refused");
  signed("valve-1");
  check(!lets(), "a name that no pattern approves waits");
  signed("ingot-7");
  check(lets(), "a device comes in with its certificate as shown: " + answers());
  await owner.goto(page);
  check(await row(owner, "ingot-7").count() === 1 && await row(owner, "valve-1").count() === 1 && await row(owner, "ingot-8").count() === 0, "who came is listed");
  await look(owner, "authority");
  await row(owner, "ingot-7").locator("a").click();
  await owner.waitForURL("**/devices/*");
  check((await main(owner)).includes("cast") && (await section(owner, "Channels").textContent()).includes("Heat " + evil), "the device has what the rules give");
  await section(owner, "Certificates").locator("a:has-text('imported authorities')").click();
  await owner.waitForURL("**/authorities");
  check(await row(owner, "Acme").locator(".status").textContent() === "enabled", "a device leads to the authorities");
  await look(owner, "authorities");

  // Off and on; a list of revocations.
  await owner.goto(page);
  await press(owner, "Disable");
  await owner.waitForURL("**done=disabled");
  check(!lets(), "nobody comes in by an authority that is disabled");
  await press(owner, "Enable");
  await owner.waitForURL("**done=enabled");
  check(lets(), "and again when it is enabled");
  await owner.fill("#f-crl", "none");
  await press(owner, "Hand it in");
  check(await owner.locator("#f-crl[aria-invalid=true]").count() === 1, "what is no list is told of beside the field");
  writeFileSync(path.join(dir, "ca.cnf"), "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=30\n");
  sh("touch index.txt && echo 07 > number && openssl ca -config ca.cnf -cert ca.crt -keyfile ca.key -revoke device.crt && openssl ca -config ca.cnf -cert ca.crt -keyfile ca.key -gencrl | openssl crl -outform DER -out list.der");
  await owner.setInputFiles("#f-file", path.join(dir, "list.der"));
  await press(owner, "Hand it in");
  await owner.waitForURL("**done=listed");
  check((await section(owner, "List of revocations").textContent()).includes("Certificates on it: 1"), "a list in DER is taken, and told of");
  check(!lets(), "who is on the list is refused");
  await look(owner, "authority-list");

  // Names that a person binds.
  await owner.fill("#f-principal", "crane " + evil);
  await owner.fill("#f-device", "no such device");
  await press(owner, "Bind", "form[action$='/bind']");
  check(await owner.locator("#f-device[aria-invalid=true]").count() === 1 && await owner.inputValue("#f-principal") === "crane " + evil, "a device that is not there is told of beside the field");
  await owner.fill("#f-device", made.client_id);
  await press(owner, "Bind", "form[action$='/bind']");
  await owner.waitForURL("**done=bound");
  check((await row(owner, "crane").textContent()).includes("crane " + evil) && (await row(owner, "crane").textContent()).includes("ladle " + evil), "a name is bound to a device, and both are text");
  await row(owner, "crane").locator("summary").click();
  await row(owner, "crane").locator("button:has-text('Unbind it')").click();
  await owner.waitForURL("**done=unbound");
  check(await row(owner, "crane").count() === 0, "and unbound");

  // The rules, and their end.
  await owner.fill("#f-name", "");
  await press(owner, "Save", "form[action$='/edit']");
  check(await owner.locator("#f-name[aria-invalid=true]").count() === 1, "an authority has a name");
  await owner.fill("#f-name", acme + "!");
  await owner.check("input[name=register][value='']");
  await press(owner, "Save", "form[action$='/edit']");
  await owner.waitForURL("**done=saved");
  check(await owner.inputValue("#f-approve") === "" && await owner.inputValue("#f-longest_life") === "90d", "the rules are what was saved");
  signed("ingot-9");
  check(!lets(), "a new name is refused when none is registered");

  // One on somebody's word.
  sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout old.key -out old.crt -days 30 -subj /CN=Forgotten -addext keyUsage=critical,keyCertSign");
  await owner.goto(at + "/authorities");
  await owner.fill("#f-certificate", readFileSync(path.join(dir, "old.crt"), "utf8"));
  await owner.check("input[name=source][value=cn_id]");
  await press(owner, "Import");
  await owner.waitForURL("**done=created");
  const old = owner.url().split("?")[0];

  for (const [who, least] of [["viewer", "editor"], ["editor", "admin"]]) {
    const person = who === "viewer" ? viewer : await as(who);
    await person.goto(at + "/authorities");
    check(await person.locator("main button:has-text('Import')").isDisabled() && (await main(person)).includes(`You need the role admin here; you are ${who}.`), `a ${who} imports none, and reads why`);
    check(await person.locator("#f-crl_url").isDisabled() && (await main(person)).includes("the platform decides. You need the role admin; you are " + who), `nor says where the server goes`);
    await person.goto(old);
    await person.click("summary:has-text('Let it in')");
    check(await person.locator("button:has-text('Check the proof')").isDisabled() && await person.locator("button:text-is('Let it in')").isDisabled(), `a ${who} proves none`);
    await look(person, "authority-unproved-" + who);
    await person.goto(page);
    const may = await person.locator("main form[method=post] button:not([disabled]):not([data-copy]):not([data-add-row]):not([data-remove-row])").allTextContents();
    check(who === "viewer" ? may.join() === "Save as a file" : may.includes("Bind") && may.includes("Unbind it") && !may.includes("Save") && !may.includes("Disable") && !may.includes("Delete this authority"), `a ${who} may: ${may}`);
    check((await main(person)).includes(`You need the role ${least} here; you are ${who}.`), `a ${who} reads why`);
    await look(person, "authority-" + who);
  }

  await owner.click("summary:has-text('Let it in')");
  await owner.fill("#f-reason", "its key was lost " + evil);
  await press(owner, "Let it in", "details[open]");
  await owner.waitForURL("**done=let-in");
  check((await main(owner)).includes("its key was lost " + evil), "the reason stays with it, as text");
  await owner.click("summary:has-text('Delete this authority')");
  await owner.fill("#f-confirm-delete", "forgotten");
  await press(owner, "Delete this authority", "details[open]");
  check(await owner.locator("#f-confirm-delete[aria-invalid=true]").count() === 1, "another name deletes nothing");
  await look(owner, "authority-delete");
  await owner.fill("#f-confirm-delete", "Forgotten");
  await press(owner, "Delete this authority", "details[open]");
  await owner.waitForURL("**done=deleted");
  check((await owner.goto(old)).status() === 404 && (await owner.goto(page)).ok(), "it is gone, and the other stays");

  // Without a script both work too.
  const bare = await as("admin", { javaScriptEnabled: false });
  await bare.goto(at + "/devices/claims");
  await bare.locator("select[name=channel]").nth(1).selectOption({ label: "Orders" });
  await press(bare, "Make");
  check(/^pct_[\w-]{43}$/.test(await bare.inputValue("#tokens")), "a token is made without a script");
  await bare.goto(at + "/authorities");
  await bare.setInputFiles("#f-file", path.join(dir, "old.crt"));
  await press(bare, "Import");
  await bare.waitForURL("**done=created");
  await bare.context().close();
});
