// The first owner of a new server.
import { story, base } from "./harness.mjs";

await story(async ({ fresh, look, check }) => {
  const page = await fresh();
  const sent = [];
  page.on("request", r => sent.push(r.url() + " " + (r.headers().referer || "")));
  await page.goto(base + "/setup");
  await look(page, "setup");
  const made = await fresh();
  made.on("request", r => sent.push(r.url() + " " + (r.headers().referer || "")));
  await made.goto(base + "/setup#token=" + process.env.TOKEN);
  check(made.url() === base + "/setup", "the token leaves the address");
  check(await made.locator("#f-token").isHidden(), "and need not be seen");
  await made.fill("#f-username", "own@er");
  await made.fill("#f-password", process.env.PASSWORD);
  await made.fill("#f-repeat", process.env.PASSWORD);
  await made.click("button:has-text('Make the owner')");
  check(await made.locator("#f-username[aria-invalid=true]").count() === 1, "what is wrong stands beside the field");
  await look(made, "setup-wrong");
  await made.fill("#f-username", "owner");
  await made.fill("#f-password", process.env.PASSWORD);
  await made.fill("#f-repeat", process.env.PASSWORD);
  await made.click("button:has-text('Make the owner')");
  await made.waitForURL("**/sign-in?done=account");
  check(!sent.some(u => u.includes(process.env.TOKEN)), "no request carried the token in its address or referer");
  await made.fill("#username", "owner");
  await made.fill("#password", process.env.PASSWORD);
  await made.click("button:has-text('Sign in')");
  await made.waitForURL("**/domains");
  await page.goto(base + "/setup");
  await page.fill("#f-token", process.env.TOKEN);
  await page.fill("#f-username", "second");
  await page.fill("#f-password", process.env.PASSWORD);
  await page.fill("#f-repeat", process.env.PASSWORD);
  await page.click("button:has-text('Make the owner')");
  check((await page.textContent("main")).includes("wrong, used or too old"), "the token is good once");
});
