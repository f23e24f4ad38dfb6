// A share of very many files: the window stays quick at both ends. How many is
// PASSALONG_TEST_FILES, by default as many as a test may take.

import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import { Desk } from "./desk.js";
import { makeManyFiles } from "./files.js";
import { Person } from "./person.js";
import { until } from "./wait.js";

const FILES = Number(process.env.PASSALONG_TEST_FILES ?? 40_000);
/** From accepting to the first file on disk, milliseconds. */
const FIRST_FILE = 10_000;
/** A window that does nothing for longer is frozen, on a busy computer, too, milliseconds. */
const FROZEN = 1000;
/** Reading, sending and writing all files takes less than this, milliseconds. */
const PATIENT = 60_000 + FILES * 6;

let desk;

before(async () => {
  desk = await Desk.open();
});

after(() => desk?.close());

test("a share of very many files starts soon and never holds a window up", async (t) => {
  const folder = await makeManyFiles(desk.folder, FILES);
  const ana = await Person.arrive(desk, "Ana", { side: "left" });
  const ben = await Person.arrive(desk, "Ben", { side: "right" });
  const tell = async (what, person) => {
    const stall = await person.longestStall();
    t.diagnostic(`${what}: held up for ${Math.round(stall)} ms at most`);
    assert.ok(stall < FROZEN, `${what} holds the window up for ${stall} ms`);
  };

  await ana.watchStalls();
  await ana.drop([folder]);
  await ana.seen("share-state", ({ state }) => state === "ready", PATIENT);
  await tell("reading the files", ana);
  await ana.click("details-button");
  await ana.seen("tree-row", () => true, PATIENT);
  await tell("the list at the sharer", ana);

  const { link } = await ana.seen("share-link");
  await ben.watchStalls();
  await ben.type("paste-field", link);
  await ben.click("get-button");
  await ben.offered(PATIENT);
  await tell("the list on offer", ben);
  await ben.click("choose-all");
  await ben.click("choose-all");
  await tell("choosing", ben);
  await ben.click("accept-button");
  const accepted = Date.now();
  const files = async () => (await readdir(ben.downloads, { recursive: true })).filter((path) => path.endsWith(".bin"));
  await until("the first file", async () => (await files()).length > 0, PATIENT);
  const waited = Date.now() - accepted;
  t.diagnostic(`the first file after ${waited} ms`);
  assert.ok(waited < FIRST_FILE, `the first file took ${waited} ms`);
  await ben.click("details-button");
  await ben.seen("tree-row", () => true, PATIENT);
  await ben.seen("transfer-state", ({ state }) => state === "done", PATIENT);
  t.diagnostic(`all files after ${Date.now() - accepted} ms`);
  await tell("receiving", ben);
  await tell("sending", ana);
  assert.equal((await files()).length, FILES);
});
