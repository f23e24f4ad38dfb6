// Everything can be done without a mouse.

import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import { Desk } from "./desk.js";
import { makeFile } from "./files.js";
import { Person } from "./person.js";

let desk, ana, ben;

before(async () => {
  desk = await Desk.open();
  const file = await makeFile(desk.folder, "recipe.txt");
  ana = await Person.arrive(desk, "Ana", { side: "left", given: [file] });
  ben = await Person.arrive(desk, "Ben", { side: "right" });
});

after(() => desk?.close());

/** Presses Tab until something has the focus, and returns it. */
async function tabTo(person, testid) {
  const passed = [];
  for (let presses = 0; presses < 40; presses += 1) {
    const [reached] = (await person.look(testid)).filter(({ focused }) => focused);
    if (reached) return reached;
    passed.push(await person.evaluate(() => document.activeElement?.dataset.testid ?? document.activeElement?.tagName));
    await person.press("Tab");
  }
  return assert.fail(`Tab does not reach ${testid}; it passes ${passed.join(", ")}`);
}

test("files named at start are shared, and Tab and Enter copy their invite", async () => {
  await ana.seen("share-state", ({ state }) => state === "ready");
  await tabTo(ana, "copy-invite");
  await ana.press("Return");
  await ana.seen("status-line", ({ text }) => text.includes("Invite copied"));
});

test("Ctrl+V anywhere opens the offer, and Esc declines it", async () => {
  await tabTo(ben, "choose-folder");
  await ben.press("ctrl+v");
  await ben.offered();
  await ben.press("Escape");
  await ben.gone("accept-sheet");
  await ben.seen("transfer-state", ({ state }) => state === "declined");
  assert.deepEqual(await readdir(ben.downloads), []);
});

test("pasting again and Enter accepts it", async () => {
  await ben.press("ctrl+v");
  await ben.offered();
  await ben.seen("accept-button", ({ focused }) => focused);
  await ben.press("Return");
  await ben.seen("transfer-state", ({ state }) => state === "done");
  assert.deepEqual(await readdir(ben.downloads), ["recipe.txt"]);
});

test("the settings open with Enter and close with Esc", async () => {
  await tabTo(ben, "settings-button");
  await ben.press("Return");
  await ben.seen("settings-page");
  await ben.press("Escape");
  await ben.gone("settings-page");
});

test("Tab and Space stop a share", async () => {
  await tabTo(ana, "stop-sharing");
  await ana.press("space");
  await ana.seen("share-state", ({ state }) => state === "stopped");
});
