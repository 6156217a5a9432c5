// What every story in a real browser needs. A story is a file beside this one,
// run by a Go test with the server's address and its people in the environment:
//
//   import { story } from "./harness.mjs";
//   await story(async ({ as, look, check }) => { … });
//
// It ends with status 1 when anything is wrong: a check, a page that a checker
// of accessibility finds serious fault with, a breach of the content policy, or
// an error in the console.
import { createRequire } from "node:module";
import { readFileSync, mkdirSync } from "node:fs";
import path from "node:path";

const require = createRequire(path.join(process.env.NODE_PATH, "x.js"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const base = process.env.BASE;
const shots = process.env.SHOTS; // a directory for screenshots; unset: none are kept
const sizes = { wide: { width: 1280, height: 800 }, narrow: { width: 390, height: 844 } };

// press, section and row find what a person sees by its words.
export const press = (page, name, within = "main") => page.click(`${within} button:has-text("${name}")`);
export const section = (page, title) => page.locator("section.card", { has: page.locator(`h2:text-is("${title}")`) });
export const row = (page, name) => page.locator("table tr", { has: page.locator("th", { hasText: name }) });

// api asks the API as the person of a page, and must be answered.
export const api = (page, method, path, body) => page.evaluate(async ([method, path, body]) => {
  const r = await fetch("/api" + path, { method, headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
  const text = await r.text();
  if (!r.ok) throw new Error(`${method} ${path}: ${r.status} ${text}`);
  return text && JSON.parse(text);
}, [method, path, body]);

let wrong = 0;
export function fail(text) { console.error("wrong: " + text); wrong++; }
export function check(that, text) { if (!that) fail(text); }

export async function story(tell) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
  const contexts = [];
  const patience = 15000, minutes = 6;

  // whole makes a click, which ends when the next page begins, wait for all of it.
  function whole(page) {
    const frame = page.mainFrame(), click = frame.click; // locators click here too
    frame.click = async (...how) => {
      await click.apply(frame, how);
      await frame.waitForLoadState();
    };
  }

  // fresh opens a window of its own, of nobody.
  async function fresh(options = {}) {
    const context = await browser.newContext({ viewport: sizes.wide, ignoreHTTPSErrors: true, timezoneId: "Europe/Belgrade", locale: "en-GB", ...options });
    context.setDefaultTimeout(patience);
    context.on("page", whole);
    contexts.push(context);
    // The policy's breaches are events of the page; they must not go unseen.
    await context.addInitScript(() => document.addEventListener("securitypolicyviolation", e => console.error("policy: " + e.violatedDirective + " " + e.blockedURI)));
    const page = await context.newPage();
    page.on("console", m => {
      // A page that answers 4xx is told of in the console; it is what we asked for.
      if (m.type() === "error" && !/Failed to load resource: the server responded with a status of 4\d\d/.test(m.text())) fail(`console of ${page.url()}: ${m.text()}`);
    });
    page.on("pageerror", e => fail(`script of ${page.url()}: ${e}`));
    return page;
  }

  // as signs somebody in: a name of PEOPLE (JSON: name -> password).
  const people = JSON.parse(process.env.PEOPLE || "{}");
  async function as(name, options) {
    const page = await fresh(options);
    await page.goto(base + "/sign-in");
    await page.fill("#username", name);
    await page.fill("#password", people[name]);
    await page.click("button:has-text('Sign in')");
    await page.waitForURL(u => !u.pathname.startsWith("/sign-in"));
    return page;
  }

  // faults are what a checker of accessibility finds serious or worse.
  const faults = page => page.evaluate(axe + ";axe.run({resultTypes:['violations']}).then(r => r.violations.filter(v => v.impact === 'serious' || v.impact === 'critical').map(v => v.id + ': ' + v.nodes.map(n => n.html).slice(0, 3).join(' | ')))");

  // look has axe look at a page in both sizes, in light and dark, and keeps
  // pictures.
  async function look(page, name) {
    for (const [size, viewport] of Object.entries(sizes)) {
      for (const scheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
        await page.setViewportSize(viewport);
        for (const f of await faults(page)) fail(`${name}, ${size}, ${scheme}: ${f}`);
        if (size === "narrow" && await page.evaluate(width => document.documentElement.scrollWidth > width + 1, viewport.width)) fail(`${name} is wider than the screen of a phone`);
        if (shots) {
          mkdirSync(shots, { recursive: true });
          await page.screenshot({ path: path.join(shots, `${name}-${viewport.width}${scheme === "dark" ? "-dark" : ""}.png`), fullPage: true });
        }
      }
    }
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize(sizes.wide);
  }

  // Some waits, such as for a script where none runs, have no end of their own.
  const late = new Promise((_, reject) => setTimeout(reject, minutes * 60000, new Error(`it is not at its end after ${minutes} minutes`)));
  try {
    await Promise.race([tell({ as, fresh, look, check, faults }), late]);
  } catch (e) {
    fail(e.stack || String(e));
  } finally {
    for (const c of contexts) await c.close();
    await browser.close();
  }
  process.exit(wrong ? 1 : 0);
}
