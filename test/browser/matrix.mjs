// The matrix of devices and channels: pages both ways, search, and cells that
// are changed with and without a script.
import { story, base, api } from "./harness.mjs";

await story(async ({ as, look, check }) => {
  const owner = await as("owner");
  const at = base + "/domains/grid/connections";
  await api(owner, "POST", "/domains", { name: "Grid", route: "grid" });
  await owner.goto(at);
  check((await owner.textContent("main")).includes("nothing to connect yet"), "an empty matrix teaches the next step");
  await look(owner, "matrix-empty");
  const two = n => String(n).padStart(2, "0");
  const devices = await api(owner, "POST", "/grid/clients/bulk", [...Array(30).keys()].map(n => ({ name: "device " + two(n), tags: n % 2 ? ["odd"] : [] })));
  const channels = await api(owner, "POST", "/grid/channels/bulk", [...Array(14).keys()].map(n => ({ name: n ? "channel " + two(n) : "channel 00 <script>alert(1)</script>" })));
  await api(owner, "POST", "/grid/channels/connect", { client_ids: devices.clients.slice(0, 3).map(d => d.id), channel_ids: [channels.channels[1].id], types: ["subscribe"] });
  const types = async (d, c) => (await api(owner, "GET", `/grid/connections?client=${devices.clients[d].id}&channel=${channels.channels[c].id}`)).connections.map(x => x.types.join("+").toLowerCase()).join();

  const editor = await as("editor");
  const cell = (page, d, c) => page.getByLabel(`device ${two(d)} on channel ${two(c)}`);
  const saved = (page, text) => page.waitForFunction(t => document.getElementById("matrix-said").textContent.includes(t), text);
  const answer = await editor.goto(at);
  const size = (await answer.body()).length;
  check(size < 200000, "the page is under 200 KB: " + size);
  check(await editor.locator("table select").count() === 25 * 12, "a page is 25 × 12");
  check(await cell(editor, 2, 1).inputValue() === "subscribe" && await cell(editor, 2, 2).inputValue() === "nothing", "cells show what is there");
  check(await editor.locator("[data-save]").isHidden(), "with a script cells save themselves");
  await cell(editor, 2, 1).selectOption("both");
  await saved(editor, "Saved, device 02 on channel 01: both.");
  await cell(editor, 2, 1).focus(); // by the keyboard
  await editor.keyboard.press("Home");
  await editor.keyboard.press("ArrowDown");
  await saved(editor, "Saved, device 02 on channel 01: publish.");
  await cell(editor, 3, 2).selectOption("subscribe");
  await saved(editor, "Saved, device 03 on channel 02: subscribe.");
  check(await types(2, 1) === "publish" && await types(3, 2) === "subscribe", "it is so: " + await types(2, 1) + " " + await types(3, 2));
  await cell(editor, 3, 2).selectOption("nothing");
  await saved(editor, "Saved, device 03 on channel 02: nothing.");
  check(await types(3, 2) === "", "and taken away");
  await look(editor, "matrix");

  // A change that fails is told of, and the cell says what is.
  await api(owner, "DELETE", "/grid/channels/" + channels.channels[5].id);
  await cell(editor, 1, 5).selectOption("publish");
  await saved(editor, "Not saved, device 01 on channel 05");
  check(await cell(editor, 1, 5).inputValue() === "nothing", "the cell is what it was");

  // Pages both ways, kept in the address.
  await editor.goto(at);
  await editor.click("text=Next channels");
  await editor.waitForURL(u => u.searchParams.get("column") === "12");
  await editor.click("a[rel=next]");
  await editor.waitForURL(u => u.searchParams.get("offset") === "25" && u.searchParams.get("column") === "12");
  check(await editor.locator("table select").count() === 5 * 1, "the last page is what is left");
  await editor.fill("input[name=device]", "device 1");
  await editor.fill("input[name=channel]", "channel 0");
  await editor.waitForURL(u => u.searchParams.get("channel") === "channel 0" && u.searchParams.get("device") === "device 1");
  await editor.waitForFunction(() => document.querySelectorAll("table.matrix tbody tr").length === 10);
  check(await editor.locator("table.matrix thead th").count() === 10, "both sides are searched");
  await editor.fill("input[name=device_tag]", "odd");
  await editor.waitForFunction(() => document.querySelectorAll("table.matrix tbody tr").length === 5);
  await cell(editor, 11, 1).selectOption("both");
  await saved(editor, "Saved, device 11 on channel 01: both.");
  await editor.reload();
  check(await cell(editor, 11, 1).inputValue() === "both" && await editor.inputValue("input[name=device_tag]") === "odd", "loading again shows the same");

  // Without a script: one button for all.
  const plain = await as("editor", { javaScriptEnabled: false });
  await plain.goto(at + "?device=device+0");
  await cell(plain, 7, 3).selectOption("publish");
  await cell(plain, 8, 4).selectOption("both");
  await plain.click("[data-save] button");
  check(plain.url().includes("done=saved") && plain.url().includes("device=device"), "the form comes back to its page");
  check(await cell(plain, 7, 3).inputValue() === "publish" && await cell(plain, 8, 4).inputValue() === "both" && await types(7, 3) === "publish", "and all is saved");

  // All or none: what was chosen beside a device that is gone stays chosen.
  await cell(plain, 6, 3).selectOption("subscribe");
  await cell(plain, 9, 3).selectOption("both");
  await api(owner, "DELETE", "/grid/clients/" + devices.clients[9].id);
  await plain.click("[data-save] button");
  check((await plain.textContent("main")).includes("Nothing was saved") && await types(6, 3) === "", "a form with a device that is gone is not saved by half");
  check(await cell(plain, 6, 3).inputValue() === "subscribe" && await cell(plain, 9, 3).count() === 0, "what was chosen is still chosen");
  await plain.click("[data-save] button");
  check(await types(6, 3) === "subscribe", "and saved when asked again: " + await types(6, 3));

  const viewer = await as("viewer");
  await viewer.goto(at);
  check(await viewer.locator("table select").count() === 0 && (await viewer.textContent("table")).includes("publish and subscribe"), "a viewer reads words");
  check((await viewer.textContent("main")).includes("You need the role editor here"), "and why they cannot be changed");
  await look(viewer, "matrix-viewer");
});
