// How people sign in, changed while the server runs: by everybody's role, with
// and without a script.
import { story, base } from "./harness.mjs";

await story(async ({ as, fresh, look, check }) => {
  const list = base + "/settings/authentication", jwt = list + "/jwt";
  const idp = process.env.IDP, secret = process.env.SECRET;
  const tested = page => page.locator("#tested");

  for (const role of ["viewer", "editor"]) {
    const page = await as(role);
    check((await page.goto(list)).status() === 403, `${role} is refused the list`);
    check((await page.goto(jwt)).status() === 403, `${role} is refused a way`);
    if (role === "viewer") await look(page, "authentication-viewer");
  }

  const admin = await as("admin");
  await admin.goto(list);
  check((await admin.textContent("main")).includes("You need the role owner; you are admin."), "an admin is told why nothing can be changed");
  await look(admin, "authentication-admin");
  await admin.click("a:text-is('JWT')");
  check(await admin.locator("form.way input:enabled:not([type=hidden]), form.way select:enabled, form.way button:enabled").count() === 0, "an admin can change nothing");
  await look(admin, "authentication-jwt-admin");

  const owner = await as("owner");
  await owner.goto(list);
  check(await owner.locator(".waycards li").count() === 7, "all ways are there");
  await look(owner, "authentication");
  const late = await as("owner");
  await late.goto(jwt);
  await owner.click("a:text-is('JWT')");
  check(await owner.isDisabled("#f-auth-jwt-attribute-lastname") && (await owner.textContent("#h-auth-jwt-attribute-lastname")).startsWith("Set by POSTERN_AUTH_JWT_ATTRIBUTE_LASTNAME in the environment."), "what the environment sets says so");
  await look(owner, "authentication-jwt");

  // What is wrong stands beside its field, and nothing is saved.
  await owner.check("#f-auth-jwt-enabled");
  await owner.fill("#f-auth-jwt-idp-uri", idp);
  await owner.fill("#f-auth-jwt-shared-secret", "secret");
  await owner.click("button:text-is('Save')");
  check(await owner.locator("#f-auth-jwt-shared-secret[aria-invalid=true]").count() === 1 && (await owner.textContent("#h-auth-jwt-shared-secret")).includes("at least 32 bytes"), "a weak key is told of beside its field");
  check(await owner.inputValue("#f-auth-jwt-idp-uri") === idp && await owner.isChecked("#f-auth-jwt-enabled"), "what was typed is kept");
  check(await owner.inputValue("#f-auth-jwt-shared-secret") === "", "but for the secret");
  await look(owner, "authentication-jwt-wrong");

  // A test saves nothing, and keeps what was typed.
  await owner.fill("#f-auth-jwt-idp-uri", "http://127.0.0.1:9/");
  await owner.fill("#f-auth-jwt-shared-secret", secret);
  await owner.click("button:text-is('Test connection')");
  await tested(owner).locator("text=It does not work.").waitFor();
  check((await tested(owner).textContent()).includes("nothing listens there"), "a test tells what does not work");
  check(await owner.inputValue("#f-auth-jwt-shared-secret") === secret, "and keeps the secret that was typed");
  await look(owner, "authentication-jwt-test-failed");
  await owner.fill("#f-auth-jwt-idp-uri", idp);
  await owner.click("button:text-is('Test connection')");
  await tested(owner).locator("text=It works.").waitFor();
  await look(owner, "authentication-jwt-test");
  const nobody = await fresh();
  await nobody.goto(base + "/sign-in");
  check(await nobody.locator("text=the weir").count() === 0, "nothing is saved by a test");

  // Seed 3's card: attributes, groups, the mapping editor.
  await owner.click("summary:text-is('More settings')");
  await owner.fill("#f-auth-jwt-title", "the weir");
  await owner.check("#f-auth-jwt-group-sync");
  const group = n => owner.locator("[name=auth-jwt-role-map-group]").nth(n), role = n => owner.locator("[name=auth-jwt-role-map-role]").nth(n);
  await group(0).fill("extHR");
  await role(0).selectOption("editor");
  await group(1).fill("nobody");
  await owner.click("button:text-is('Add a line')");
  await group(3).fill("ops");
  await role(3).selectOption("admin");
  await owner.locator("[data-remove-row]").nth(1).click();
  await group(1).fill("extHR");
  await owner.click("button:text-is('Save')");
  check((await owner.textContent("fieldset.map")).includes("names the group extHR twice"), "a group that is named twice is told of");
  await look(owner, "authentication-jwt-twice");
  await group(1).fill("");
  await owner.fill("#f-auth-jwt-shared-secret", secret);
  await owner.click("button:text-is('Save')");
  await owner.waitForURL("**done=saved");
  check(await group(0).inputValue() === "extHR" && await group(1).inputValue() === "ops" && await role(1).inputValue() === "admin", "the mappings are kept");
  check((await owner.textContent("main")).includes("on ·"), "it is on");
  check(!(await owner.content()).includes(secret), "the key is not shown again");
  await look(owner, "authentication-jwt-saved");

  // Who looked before is told.
  await late.fill("#f-auth-jwt-attribute-firstname", "forename");
  await late.click("button:text-is('Save')");
  check((await late.textContent("[role=alert]")).includes("Somebody else changed this meanwhile"), "who is late is told");
  check(await late.inputValue("#f-auth-jwt-idp-uri") === idp && await late.inputValue("#f-auth-jwt-attribute-firstname") === "first_name", "and sees how it is now");
  await look(late, "authentication-jwt-late");

  // Somebody signs in by it, without a restart.
  await nobody.goto(base + "/sign-in");
  await look(nobody, "sign-in-with-jwt");
  await nobody.click("a:has-text('the weir')");
  await nobody.fill("[name=name]", "rene");
  await nobody.fill("[name=password]", "p");
  await nobody.click("button");
  await nobody.waitForURL(u => u.href.startsWith(base) && u.pathname !== "/auth/sso");
  await nobody.goto(base + "/settings/account");
  check((await nobody.textContent("main")).includes("Role on the platform: editor"), "with the role of the group");

  // Passwords are switched off by name, and not while no owner could sign in.
  await owner.goto(list + "/local");
  await look(owner, "authentication-local");
  const off = async name => {
    if (!await owner.isVisible("#f-confirm-off")) await owner.click("summary:has-text('Switch it off')");
    await owner.fill("#f-confirm-off", name);
    await owner.click("button:text-is('Switch it off')");
  };
  await off("Owner");
  check(await owner.locator("#f-confirm-off[aria-invalid=true]").count() === 1, "the name must be typed as it is");
  await off("owner");
  check((await owner.textContent("[role=alert]")).includes("no owner could sign in"), "nobody locks everybody out");
  await look(owner, "authentication-local-refused");
  await owner.goto(jwt);
  await owner.check("#f-auth-jwt-allow-owner-mapping");
  await group(2).fill("roots");
  await role(2).selectOption("owner");
  await owner.click("button:text-is('Save')");
  await owner.waitForURL("**done=saved");
  await owner.goto(list + "/local");
  await off("owner");
  await owner.waitForURL("**done=saved");
  check((await owner.textContent("main")).includes("off ·"), "passwords are off");
  await look(owner, "authentication-local-off");
  const other = await fresh();
  await other.goto(base + "/sign-in");
  check(await other.locator("#password").count() === 0, "the sign-in page asks for no password");
  await look(other, "sign-in-without-password");
  await owner.click("button:text-is('Switch it on')");
  await owner.waitForURL("**done=saved");
  await other.goto(base + "/sign-in");
  check(await other.locator("#password").count() === 1, "passwords are on again");

  // Without a script.
  const plain = await as("owner", { javaScriptEnabled: false });
  await plain.goto(jwt);
  await plain.fill("#f-auth-jwt-attribute-email", "mail");
  await plain.click("button:text-is('Test connection')");
  check((await tested(plain).textContent()).includes("It works."), "a test works without a script");
  check(await plain.inputValue("#f-auth-jwt-attribute-email") === "mail", "and keeps what was typed");
  const empty = plain.locator("[name=auth-jwt-role-map-group]");
  await empty.nth(await empty.count() - 1).fill("last");
  await plain.click("button:text-is('Save with a generated signing key')");
  check(/^[0-9a-f]{64}$/.test(await plain.textContent("#secret")), "a key is made and shown");
  await plain.click("a:text-is('Go on')");
  check(await plain.inputValue("#f-auth-jwt-attribute-email") === "mail" && (await plain.locator("[name=auth-jwt-role-map-group]").evaluateAll(all => all.map(f => f.value)).catch(() => null) || ["last"]).includes("last"), "and the rest is saved with it");

  await owner.goto(jwt);
  await owner.click("button:text-is('Save with a generated signing key')");
  await look(owner, "authentication-jwt-generated");

  for (const way of ["ldap", "oidc", "header"]) {
    await owner.goto(list + "/" + way);
    await look(owner, "authentication-" + way);
  }
  await owner.goto(list + "/ldap");
  await owner.fill("#f-auth-ldap-server", "ldap://directory.example");
  await owner.click("button:text-is('Test connection')");
  await tested(owner).locator("[role=alert]").waitFor();
  check((await tested(owner).textContent()).includes("in the clear"), "a test tells of a setting that will not do");
  await look(owner, "authentication-ldap-test");
  check((await owner.goto(list + "/nothing")).status() === 404, "there is no other way");

  // The trail names the settings, and no value.
  await owner.goto(base + "/settings/audit?action=settings.");
  await owner.click("tbody tr:first-child a");
  check(!(await owner.textContent("main")).includes(secret), "the trail holds no secret");
  await look(owner, "authentication-audit");
});
