// The people of a server: who may do what to whom, by everybody's role.
import { story, base } from "./harness.mjs";

await story(async ({ as, fresh, look, check }) => {
  const list = base + "/settings/workspace/users";
  const script = "<script>alert(1)</script>";
  const nobody = await fresh();
  await nobody.goto(list);
  check(new URL(nobody.url()).pathname === "/sign-in" && new URL(nobody.url()).searchParams.get("return_to") === "/settings/workspace/users", "nobody is sent to sign in, and brought back");
  await look(nobody, "sign-in");
  await nobody.fill("#username", "owner");
  await nobody.fill("#password", "wrong");
  await nobody.click("button:has-text('Sign in')");
  check((await nobody.textContent("[role=alert]")).includes("That did not work"), "a wrong password is told of");
  check(await nobody.inputValue("#username") === "owner", "and the name is kept");
  await look(nobody, "sign-in-wrong");
  await nobody.goto(base + "/sign-in?expired");
  check((await nobody.textContent("[role=status]")).includes("session has ended"), "an ended session says so");
  await nobody.goto(base + "/sign-in?again");
  await look(nobody, "sign-in-again");

  for (const role of ["viewer", "editor"]) {
    const page = await as(role);
    const answer = await page.goto(list);
    check(answer.status() === 403, `${role} is refused the list`);
    if (role === "viewer") await look(page, "people-viewer");
    check((await page.goto(base + "/settings/authentication")).status() === 403, `${role} is refused authentication`);
    check((await page.goto(base + "/settings/audit")).status() === 403, `${role} is refused the audit trail`);
    await page.goto(base + "/settings");
    check(page.url() === base + "/settings/account", `${role} is led to the account`);
    check(await page.locator("nav[aria-label=Settings] a").count() === 1, `${role} sees the tab of the account alone`);
  }

  const owner = await as("owner");
  await owner.goto(list);
  await look(owner, "people");
  await owner.fill("#f-username", "mal@lory");
  await owner.fill("#f-email", "mallory@example.com");
  await owner.fill("#f-first_name", script);
  await owner.check("text=editor: reads");
  await owner.check("text=give one now");
  await owner.click("button:has-text('Add')");
  check(await owner.locator("#f-username[aria-invalid=true]").count() === 1, "what is wrong stands beside the field");
  check(await owner.inputValue("#f-first_name") === script && await owner.isChecked("input[value=editor]"), "what was chosen is kept");
  await look(owner, "people-wrong");
  await owner.fill("#f-username", script);
  await owner.fill("#f-last_name", script);
  await owner.click("button:has-text('Add')");
  const made = await owner.textContent("#secret");
  check(/^[a-z2-7-]{20,}$/.test(made), "a password is made up and shown: " + made);
  await look(owner, "once-password");
  await owner.click("a:text-is('Go on')");
  check((await owner.textContent("h1")) === script, "a script in a name is text");
  await look(owner, "person");
  const person = owner.url();

  // The made-up password opens the door; after a reset another one does, for its change alone.
  const her = await fresh();
  async function signIn(page, name, password) {
    await page.goto(base + "/sign-in");
    await page.fill("#username", name);
    await page.fill("#password", password);
    await page.click("button:has-text('Sign in')");
  }
  await signIn(her, "mallory@example.com", made);
  await her.waitForURL(u => !u.pathname.startsWith("/sign-in"));
  await owner.reload();
  check(await owner.locator("text=this one").count() === 0 && await owner.locator("button:has-text('End')").count() >= 2, "her session is listed");
  await owner.click("button:text-is('End')");
  await owner.waitForURL("**done=ended");
  await her.goto(base + "/settings/account");
  check(new URL(her.url()).pathname === "/sign-in", "an ended session sends to sign in");
  await owner.click("button:text-is('Reset the password')");
  const second = await owner.textContent("#secret");
  await signIn(her, "mallory@example.com", second);
  await her.waitForURL("**/settings/account**");
  check((await her.textContent("main")).includes("Change your password first"), "who was given a password must change it first");
  check(await her.locator("h2").count() === 1, "and sees nothing else");
  await look(her, "account-first");
  await her.fill("#f-old_secret", "wrong");
  await her.fill("#f-password", "seven grey herons at the weir");
  await her.fill("#f-repeat", "seven grey herons at the weir");
  await her.click("button:has-text('Change')");
  check(await her.locator("#f-old_secret[aria-invalid=true]").count() === 1, "a wrong old password is told beside its field");
  await her.fill("#f-old_secret", second);
  await her.fill("#f-password", "seven grey herons at the weir");
  await her.fill("#f-repeat", "seven grey herons at the weir");
  await her.click("button:has-text('Change')");
  await her.waitForURL("**done=saved");
  check(await her.locator("h2").count() > 3, "then everything is open");
  check((await her.inputValue("#f-first_name")) === script, "her own names are text as well");

  // Roles.
  await owner.goto(person);
  await owner.check("input[name=role][value=admin]");
  await owner.click("button:has-text('Give')");
  await owner.waitForURL("**done=saved");
  check((await owner.textContent("main")).includes("admin ·"), "the role is given");
  await owner.goto(list + "?name=owner");
  await owner.click("table a");
  check(await owner.locator("button:text-is('Disable')").isDisabled() && (await owner.textContent("main")).includes("This is the last owner"), "the last owner stays, and is told why");
  check(await owner.locator("button:text-is('Reset the password')").isDisabled(), "nobody resets their own password");
  await look(owner, "person-last-owner");

  const admin = await as("admin");
  await admin.goto(list);
  check(await admin.locator("input[name=role][value=admin]").isDisabled() && await admin.locator("input[name=role][value=owner]").isDisabled(), "an admin gives no role of admin");
  check((await admin.textContent("main")).includes("Only an owner gives this role."), "and reads why");
  check(await admin.locator("input[name=role][value=editor]").isEnabled(), "but that of editor");
  await look(admin, "people-admin");
  await admin.goto(list + "?name=mallory");
  await admin.click("table a");
  check((await admin.textContent("main")).includes("Only an owner changes admins and owners."), "an admin is told that another one is out of reach");
  for (const label of ["Save", "Give", "Reset the password", "Disable"]) check(await admin.locator(`button:text-is('${label}')`).isDisabled(), `an admin cannot ${label} another one`);
  await look(admin, "person-admin");
  // What is disabled is refused as well.
  const forced = await admin.evaluate(async to => (await fetch(to + "/disable", { method: "POST" })).status, new URL(admin.url()).pathname);
  check(forced === 403, "and the server refuses it: " + forced);
  await admin.goto(list + "?name=viewer");
  await admin.click("table a");
  await admin.click("button:text-is('Disable')");
  await admin.waitForURL("**done=disabled");
  await admin.goto(list + "?status=disabled");
  check(await admin.locator("tbody tr").count() === 1, "the disabled are found by their state");
  await admin.click("table a");
  await admin.click("button:text-is('Enable')");
  await admin.waitForURL("**done=enabled");
  await admin.goto(list);
  await admin.selectOption("select[name=min_role]", "admin");
  await admin.waitForURL("**min_role=admin**");
  check(await admin.locator("tbody tr").count() === 3, "and people by their role: " + await admin.locator("tbody tr").count());
  await admin.fill("input[name=name]", "nobody like this");
  await admin.waitForSelector("text=Nobody is like that");

  // Second factors and deletion ask for the name.
  await owner.goto(person);
  await owner.click("summary:has-text('Delete')");
  await owner.fill("#f-confirm-delete", "somebody else");
  await owner.click("button:text-is('Delete')");
  check(await owner.locator("#f-confirm-delete[aria-invalid=true]").count() === 1, "a wrong name deletes nobody");
  await look(owner, "person-delete");
  await owner.fill("#f-confirm-delete", script);
  await owner.click("button:text-is('Delete')");
  await owner.waitForURL("**done=deleted");
  await owner.goto(person);
  check((await owner.textContent("main")).includes("deleted ·"), "the person is gone");

  // Authentication and audit.
  await owner.goto(base + "/settings/authentication");
  check(await owner.locator(".waycards li:has(a:text-is('JWT')) .status.enabled").count() === 1, "the page says which way is on");
  await owner.goto(base + "/settings/audit");
  await look(owner, "audit");
  await owner.fill("input[name=action]", "user.");
  await owner.waitForURL("**action=user.**");
  await owner.waitForFunction(() => [...document.querySelectorAll("tbody code")].length > 0 && ![...document.querySelectorAll("tbody tr td:nth-child(3)")].some(c => !c.textContent.startsWith("user.")));
  check((await owner.textContent("tbody")).includes("user.delete"), "what was done is in the trail");
  await owner.goto(base + "/settings/audit?outcome=refused");
  check((await owner.textContent("tbody")).includes("refused"), "and what was refused");
  await owner.goto(base + "/settings/audit?from=2020-01-01&to=2020-01-02");
  check((await owner.textContent("main")).includes("Nothing like that"), "a day of long ago is empty");
  await owner.goto(base + "/settings/audit?domain=" + encodeURIComponent("not an id"));
  await owner.goto(base + "/settings/audit?action=user.delete");
  await owner.click("tbody a");
  check((await owner.textContent("h1")) === "user.delete" && (await owner.textContent("main")).includes("owner"), "an event tells all");
  await look(owner, "event");
  check((await owner.goto(base + "/settings/audit/00000000-0000-4000-8000-000000000000")).status() === 404, "an event that there is not");
  check((await owner.goto(list + "/00000000-0000-4000-8000-000000000000")).status() === 404, "a person that there is not");
});
