// Without a mouse: from the door to a device that is let in, and out again.
import { story, base } from "./harness.mjs";

const password = JSON.parse(process.env.PEOPLE).owner;

await story(async ({ fresh, check }) => {
  const page = await fresh({ reducedMotion: "reduce" }); // the focus does not fade in
  const key = name => page.keyboard.press(name);

  // to tabs until something that matches has the focus, and sees that it shows.
  async function to(selector) {
    for (let n = 0; n < 120; n++) {
      await key("Tab");
      if (await page.evaluate(selector => document.activeElement.matches(selector), selector)) {
        check(await page.evaluate(() => {
          const e = document.activeElement, on = getComputedStyle(e), look = s => [s.outlineStyle, s.outlineWidth, s.boxShadow, s.borderColor, s.backgroundColor, s.textDecorationLine, s.left].join();
          const focused = look(on);
          e.blur();
          const blurred = look(getComputedStyle(e));
          e.focus();
          return focused !== blurred;
        }), `the focus shows on ${selector} of ${page.url()}`);
        return;
      }
    }
    throw new Error(`no way by Tab to ${selector} of ${page.url()}`);
  }
  const onward = async (pattern, press) => { await Promise.all([page.waitForURL(pattern), key(press)]); };

  await page.goto(base + "/domains");
  check(new URL(page.url()).pathname === "/sign-in", "who is not signed in is sent to the door");
  await to("#username");
  await page.keyboard.type("owner");
  await to("#password");
  await page.keyboard.type(password);
  await onward("**/domains", "Enter");

  await to(".skip");
  await key("Enter");
  check(new URL(page.url()).hash === "#main", "the content is one key away");
  await to("#f-name");
  await page.keyboard.type("By hand");
  await onward("**/domains/by-hand/**", "Enter");

  await page.goto(base + "/domains/by-hand/devices");
  await to("#f-name");
  await page.keyboard.type("pump");
  await key("Enter");
  await page.waitForSelector("#secret");
  check((await page.inputValue("#secret")).length === 43, "a device is made");

  await to("header summary"); // the menu
  await key("Enter");
  await to("header a[href='/settings/account']");
  await onward("**/settings/account", "Enter");
  await to("header summary");
  await key("Space");
  await to("header form button");
  await onward("**/sign-in**", "Enter");
  await page.goto(base + "/domains/by-hand/devices");
  check(new URL(page.url()).pathname === "/sign-in", "and out");
});
