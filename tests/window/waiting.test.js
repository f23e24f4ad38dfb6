// Somebody opens an invite while nobody who has it is there.

import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import { Desk } from "./desk.js";
import { makeFile } from "./files.js";
import { Person } from "./person.js";

let desk, ana, ben;

before(async () => {
  desk = await Desk.open();
  ana = await Person.arrive(desk, "Ana", { side: "left" });
  ben = await Person.arrive(desk, "Ben", { side: "right" });
});

after(() => desk?.close());

/** Longer than it takes until a search is called a wait. */
const PATIENT = 40_000;

test("an invite whose people are away waits, is waited for after a restart, and starts by itself", async () => {
  const file = await makeFile(desk.folder, "plan.pdf");
  await ana.drop([file], () => ana.seen("drop-state"));
  const { link } = await ana.seen("share-link");
  await ana.leave();

  await ben.type("paste-field", link);
  await ben.click("get-button");
  await ben.seen("transfer-state", ({ state }) => state === "waiting", PATIENT);
  const { text } = await ben.seen("transfer-sentence");
  assert.equal(text, "Waiting for somebody who has it: starts by itself.");
  assert.deepEqual(await ben.look("reply-code"), [], "no code is made unasked");
  await ben.click("reply-button");
  await ben.seen("reply-code", (code) => code.text.startsWith("passalong-reply:"));
  await ben.picture("waiting");

  await ben.click("check-button");
  const summary = await ben.seen("check-summary", () => true, PATIENT);
  assert.match(summary.text, /\.$/);
  await ben.picture("waiting-checked");

  await ben.leave();
  await ben.open();
  await ben.seen("transfer-row");
  await ana.open();
  await ben.offered(PATIENT);
  await ben.click("accept-button");
  await ben.seen("transfer-state", ({ state }) => state === "done", PATIENT);
  assert.deepEqual(await readdir(ben.downloads), ["plan.pdf"]);
});
