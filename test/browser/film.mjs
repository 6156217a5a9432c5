// The pictures of the README: a fleet at work, as its owner sees it. They go on
// one strip, FILM. The charts show STEPS steps of traffic.
import { story, base } from "./harness.mjs";
import { mkdirSync } from "node:fs";
import path from "node:path";

const { channel, device } = JSON.parse(process.env.FLEET);
const steps = Number(process.env.STEPS || 1);

await story(async ({ as, fresh, check }) => {
  const frames = [];
  const take = async (page, title) => {
    const picture = await page.screenshot({ type: "png" });
    check(picture.length > 8000, `${title}: there is something to see`);
    const { width } = page.viewportSize();
    frames.push({ title, width, picture: "data:image/png;base64," + picture.toString("base64") });
  };
  const says = async page => {
    await page.waitForFunction(() => document.querySelectorAll("#plot-what option").length > 1);
    await page.selectOption("#plot-what", { index: 1 });
    await page.waitForFunction(least => parseInt(document.querySelector("#plot").getAttribute("aria-label").match(/(\d+) values/)[1]) >= least, steps > 1 ? 10 : 2);
  };
  const at = base + "/domains/riverside";

  const page = await as("owner");
  await page.goto(at);
  // Each step that comes moves the charts by one point.
  await page.evaluate(steps => new Promise(done => {
    new MutationObserver(() => { if (--steps <= 0) done(); }).observe(document.querySelector(".chart .plot"), { attributeFilter: ["aria-label"] });
  }), steps);
  await take(page, "A domain, live");
  await page.goto(`${at}/devices`);
  await take(page, "Its devices");
  await page.goto(`${at}/devices/${device}`);
  await take(page, "One of them");
  await page.goto(`${at}/channels/${channel}/live`);
  await says(page);
  await take(page, "What a channel says");
  await page.goto(`${at}/connections`);
  await take(page, "Who may do what");
  await page.goto(base + "/settings/authentication");
  await take(page, "How people sign in");

  const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 1 };
  const door = await fresh(phone);
  await door.goto(base + "/sign-in");
  await take(door, "On a phone");
  const dark = await as("owner", { ...phone, colorScheme: "dark" });
  await dark.goto(at);
  await dark.waitForSelector(".uplot canvas");
  await take(dark, "In the dark");
  await dark.goto(`${at}/channels/${channel}/live`);
  await says(dark);
  await take(dark, "On the way");

  const strip = await fresh({ viewport: { width: 1280, height: 800 } });
  await strip.setContent(`<style>body{margin:0;padding:16px;display:flex;flex-wrap:wrap;gap:16px;background:#e7eaf0;font:16px sans-serif;width:1248px}
    figure{margin:0} img{display:block;border:1px solid #c0c8d4;border-radius:6px} figcaption{padding:4px 2px;color:#373c44}</style>` +
    frames.map(f => `<figure><img src="${f.picture}" width="${f.width > 400 ? 614 : 400}"><figcaption>${f.title}</figcaption></figure>`).join(""));
  await strip.waitForFunction(() => [...document.images].every(i => i.complete));
  mkdirSync(path.dirname(process.env.FILM), { recursive: true });
  await strip.screenshot({ path: process.env.FILM, fullPage: true });
  check(frames.length === 9, "nine pictures are on the strip");
});
