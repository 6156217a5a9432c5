// The own account: names, second factors, API keys, other ways to sign in.
import { story, base } from "./harness.mjs";
import { createHmac } from "node:crypto";

// totp is RFC 6238 with the defaults of every authenticator app.
function totp(secret, steps = 0) {
  const bits = [...secret].map(c => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map(b => parseInt(b, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000) + steps));
  const mac = createHmac("sha1", key).update(counter).digest();
  const at = mac[19] & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1000000).padStart(6, "0");
}

await story(async ({ as, fresh, look, check }) => {
  const script = "<script>alert(2)</script>";
  const people = JSON.parse(process.env.PEOPLE);
  const page = await as("editor");
  const account = base + "/settings/account";
  await page.goto(account);
  await look(page, "account");
  await page.fill("#f-first_name", script);
  await page.click("button:text-is('Save')");
  await page.waitForURL("**done=saved");
  check(await page.inputValue("#f-first_name") === script, "a script in a name is text");
  await page.fill("#f-email", "no address");
  await page.evaluate(() => document.querySelector("#f-email").form.noValidate = true);
  await page.click("button:text-is('Save')");
  check(await page.locator("#f-email[aria-invalid=true]").count() === 1, "a wrong address is told beside its field");

  // An authenticator app.
  await page.goto(account);
  await page.click("button:text-is('Add an authenticator app')");
  const secret = await page.textContent("#secret");
  check(await page.locator("svg.qr").isVisible(), "there is a QR code");
  await look(page, "totp");
  await page.fill("#f-code", "000000");
  await page.click("button:text-is('Add it')");
  check(await page.locator("#f-code[aria-invalid=true]").count() === 1 && await page.textContent("#secret") === secret, "after a wrong code the secret is still there");
  await page.fill("#f-code", totp(secret));
  await page.click("button:text-is('Add it')");
  const codes = await page.locator(".codes li").allTextContents();
  check(codes.length === 10, "ten recovery codes are shown");
  await look(page, "recovery-codes");
  await page.click("a:text-is('Go on')");
  check((await page.textContent("main")).includes("Recovery codes left: 10"), "and counted");

  // A passkey, with Chromium's own authenticator.
  async function authenticator(p) {
    const cdp = await p.context().newCDPSession(p);
    await cdp.send("WebAuthn.enable");
    await cdp.send("WebAuthn.addVirtualAuthenticator", { options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true } });
  }
  await authenticator(page);
  await page.fill("#f-passkey_name", script);
  await page.click("button:text-is('Add a passkey')");
  await page.waitForSelector("h1:has-text('Second factor added')");
  await page.click("a:text-is('Go on')");
  check((await page.textContent("main")).includes(script), "the passkey is listed by its name, which is text");
  await look(page, "account-factors");

  // An API key.
  await page.fill("#f-name", script);
  await page.check("input[name=role][value=viewer]");
  await page.click("button:text-is('Create a key')");
  const key = await page.textContent("#secret");
  await look(page, "api-key");
  await page.click("a:text-is('Go on')");
  check(!(await page.content()).includes(key), "the key is shown once");
  const ask = k => page.request.fetch(base + "/api/users/profile", { headers: { Authorization: "Bearer " + k, Cookie: "" } }).then(r => r.status());
  check(await ask(key) === 200, "the key opens the API");
  await page.click("button:text-is('Revoke')");
  await page.waitForURL("**done=revoked");
  check(await ask(key) === 401, "a revoked one does not");

  // The second factor at the door: another browser, then the one with the passkey.
  const other = await fresh();
  async function password(p) {
    await p.goto(base + "/sign-in?return_to=/settings/account");
    await p.fill("#username", "editor");
    await p.fill("#password", people.editor);
    await p.click("button:has-text('Sign in')");
    await p.waitForURL("**/sign-in/second-factor**");
  }
  await password(other);
  await look(other, "second-factor");
  await other.fill("#code", "000000");
  await other.click("button:text-is('Go on')");
  check((await other.textContent("[role=alert]")).includes("second factor is wrong"), "a wrong code is told of, and may be tried again");
  await other.fill("#code", totp(secret, 1));
  await other.click("button:text-is('Go on')");
  await other.waitForURL(account);
  await other.click("details.dropdown summary");
  await other.click("text=Sign out");
  await other.waitForURL("**/sign-in?signed_out**");
  check((await other.textContent("[role=status]")).includes("signed out"), "who has signed out is told so");
  await look(other, "signed-out");
  await password(other);
  await other.fill("#recovery", codes[0]);
  await other.click("button:text-is('Go on')");
  await other.waitForURL(account);
  check((await other.textContent("main")).includes("Recovery codes left: 9"), "a recovery code is good once");
  await page.click("details.dropdown summary");
  await page.click("text=Sign out");
  await password(page);
  await page.click("button:text-is('Use a passkey')");
  await page.waitForURL(account);

  // End the others, link, remove.
  await page.click("button:text-is('End all others')");
  await page.waitForURL("**done=ended");
  await other.goto(account);
  check(new URL(other.url()).pathname === "/sign-in", "the others have ended");
  await page.route("https://idp.example/**", r => r.fulfill({ contentType: "text/html", body: "<!doctype html><title>idp</title>" }));
  await page.click("button:has-text('Link with')");
  await page.waitForURL("https://idp.example/**");
  await page.goto(account);
  await page.click("button:text-is('Make new recovery codes')");
  check(await page.locator(".codes li").count() === 10, "new recovery codes");
  await page.click("a:text-is('Go on')");
  await page.click("button:text-is('Remove')");
  await page.waitForURL("**done=removed");
  await page.click("button:text-is('Remove the app')");
  await page.waitForURL("**done=removed");
  check((await page.textContent("main")).includes("Your password alone opens this account"), "and nothing is left");

  // Without a script, a form works as well.
  const plain = await as("viewer", { javaScriptEnabled: false });
  await plain.goto(account);
  await plain.fill("#f-last_name", "Plain");
  await plain.click("button:text-is('Save')");
  check(await plain.inputValue("#f-last_name") === "Plain", "it works without a script");
});
