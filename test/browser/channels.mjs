// Domains and channels, by everybody's role.
import { story, base } from "./harness.mjs";

await story(async ({ as, fresh, look, check }) => {
  const nobody = await fresh();
  await nobody.goto(base + "/domains");
  check(new URL(nobody.url()).pathname === "/sign-in", "a protected page sends nobody to sign in");
  check(new URL(nobody.url()).searchParams.get("return_to") === "/domains", "and remembers the page");

  const owner = await as("owner");
  await owner.goto(base + "/domains");
  await owner.fill("#f-name", "Plant <script>alert(1)</script>");
  await owner.fill("#f-route", "Not A Route");
  await look(owner, "domains");
  await owner.click("main button:has-text('Create')");
  check(await owner.locator("#f-route[aria-invalid=true]").count() === 1, "what is wrong stands beside the field");
  check(await owner.inputValue("#f-name") === "Plant <script>alert(1)</script>", "what was typed is kept");
  await look(owner, "domains-wrong");
  await owner.fill("#f-route", "plant");
  await owner.click("main button:has-text('Create')");
  await owner.waitForURL("**/domains/plant/channels**");
  await look(owner, "channels-empty");
  await owner.fill("#f-name", "Readings");
  await owner.fill("#f-route", "readings");
  await owner.click("main button:has-text('Create')");
  await owner.waitForURL("**done=created");
  check((await owner.textContent("table")).includes("m/plant/c/readings"), "the list shows the topic");
  await owner.fill("input[name=name][type=search]", "nothing like it");
  await owner.waitForSelector("text=No channel is like that");
  check(owner.url().includes("name=nothing"), "the address says what is looked for");
  await owner.goBack();
  await look(owner, "channels");

  const viewer = await as("viewer");
  await viewer.goto(base + "/domains/plant/channels");
  check(await viewer.locator("main button:has-text('Create')").isDisabled(), "a viewer cannot create");
  check((await viewer.textContent("main")).includes("You need the role editor here; you are viewer."), "and reads why");
  await look(viewer, "channels-viewer");
});
