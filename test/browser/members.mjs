// Members of a domain, and its settings, by everybody's role.
import { story, base, api, press, row } from "./harness.mjs";

await story(async ({ as, look, check }) => {
  const owner = await as("owner");
  const at = base + "/domains/guild";
  const main = page => page.textContent("main");
  await api(owner, "POST", "/domains", { name: "Guild <b>", route: "guild" });
  for (const name of ["cora", "coral"]) await api(owner, "POST", "/users", { credentials: { username: name, secret: "seven wet pumps hum at noon" }, email: name + "@example.com" });

  // Adding: by the user name, by the address, and what is wrong beside the field.
  await owner.goto(at + "/members");
  check((await owner.textContent("nav.tabs [aria-current=page]")) === "Members", "the tab says where one is");
  check(await row(owner, "owner").count() === 1, "who made the domain is its owner");
  await owner.fill("#f-user", "cor");
  await press(owner, "Add");
  check(await owner.locator("#f-user[aria-invalid=true]").count() === 1 && (await main(owner)).includes("2 have it in their names"), "a part of a name is not enough");
  await look(owner, "members-wrong");
  await owner.fill("#f-user", "cora");
  await owner.check("input[name=role][value=editor]");
  await press(owner, "Add");
  await owner.waitForURL("**done=added");
  check(await row(owner, "cora").locator("select").inputValue() === "editor", "a member by the user name");
  await owner.fill("#f-user", "coral@example.com");
  await press(owner, "Add");
  await owner.waitForURL("**done=added");
  await owner.fill("#f-user", "coral");
  await press(owner, "Add");
  check((await main(owner)).includes("is a member already"), "nobody is added twice");
  await owner.goto(at + "/members");
  await look(owner, "members");

  // Another role; removal, by name where it matters.
  await row(owner, "coral").locator("select").selectOption("admin");
  await row(owner, "coral").locator("button:has-text('Set')").click();
  await owner.waitForURL("**done=saved");
  check(await row(owner, "coral").locator("select").inputValue() === "admin", "a member has another role");
  await owner.locator("tr", { has: owner.locator("th:text-is('cora')") }).locator("button:has-text('Remove')").click();
  await owner.waitForURL("**done=removed");
  check(await owner.locator("th:text-is('cora')").count() === 0, "a member is removed");
  await row(owner, "owner").locator("summary").click();
  check((await row(owner, "owner").textContent()).includes("the only owner"), "the last owner reads what it means");
  await row(owner, "owner").locator("input[name=confirm]").fill("me");
  await row(owner, "owner").locator("button.danger").click();
  check(await row(owner, "owner").locator("[aria-invalid=true]").count() === 1, "and is asked for the name");
  await look(owner, "members-confirm");

  // The admin of the platform may not touch owners; a viewer nobody.
  const admin = await as("admin");
  await admin.goto(at + "/members");
  check((await row(admin, "owner").textContent()).includes("Only an owner changes admins and owners."), "an admin reads why");
  check(await admin.locator("input[name=role][value=owner]").isDisabled() && !await admin.locator("input[name=role][value=editor]").isDisabled(), "and gives the roles below");
  await admin.fill("#f-user", "cora");
  await press(admin, "Add");
  await admin.waitForURL("**done=added");
  const viewer = await as("viewer");
  await viewer.goto(at + "/members");
  check(await viewer.locator("table select").count() === 0 && await viewer.locator("main button:has-text('Add')").isDisabled(), "a viewer changes nothing");
  await look(viewer, "members-viewer");

  // Settings.
  await owner.goto(at + "/settings");
  await owner.fill("#f-route", "No Route");
  await owner.fill("#f-metadata", '{"n": 12345678901234567890}');
  await press(owner, "Save");
  check(await owner.locator("#f-route[aria-invalid=true]").count() === 1 && (await owner.inputValue("#f-metadata")).includes("12345678901234567890"), "what is wrong stands beside the field");
  await owner.fill("#f-route", "guilds");
  await owner.fill("#f-tags", "old, town");
  await press(owner, "Save");
  await owner.waitForURL("**/domains/guilds/settings?done=saved");
  check((await owner.inputValue("#f-metadata")).includes("12345678901234567890") && await owner.inputValue("#f-tags") === "old, town", "all is saved, numbers as they were written");
  await look(owner, "domain-settings");
  const settings = base + "/domains/guilds/settings";
  const danger = async (page, name, typed) => {
    await page.click(`summary:has-text("${name}…")`);
    await page.fill(`#f-confirm-${name.toLowerCase()}`, typed);
    await press(page, name, "details[open]");
  };
  await danger(owner, "Disable", "Guild");
  check(await owner.locator("#f-confirm-disable[aria-invalid=true]").count() === 1, "another name disables nothing");
  await owner.goto(settings);
  await danger(owner, "Disable", "Guild <b>");
  await owner.waitForURL("**done=disabled");
  check((await main(owner)).includes("its devices are kept out"), "a disabled domain says so");
  await press(owner, "Enable");
  await owner.waitForURL("**done=enabled");
  await viewer.goto(settings);
  check((await main(viewer)).includes("You need the role admin here; you are viewer.") && (await main(viewer)).includes("You need the role owner here"), "a viewer reads why nothing can be changed");
  await look(viewer, "domain-settings-viewer");
  await admin.goto(settings);
  await danger(admin, "Freeze", "Guild <b>");
  await admin.waitForURL("**done=frozen");
  await owner.goto(settings);
  check(await owner.locator("main form[action$='/edit'] button").isDisabled() && (await main(owner)).includes("The domain is frozen."), "a frozen domain takes no change");
  await look(owner, "domain-settings-frozen");
  await press(admin, "Enable");
  await admin.waitForURL("**done=enabled");
  await owner.goto(settings);
  await danger(owner, "Delete", "Guild <b>");
  await owner.waitForURL("**/domains?done=deleted");
  check((await owner.goto(settings)).status() === 404, "a domain that is gone has no page");
});
