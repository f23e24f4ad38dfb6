// The main job, from one real window to another: drop, invite, paste, receive.

import assert from "node:assert/strict";
import { mkdir, readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { Desk } from "./desk.js";
import { assertSame, makeFile, makeHoliday, makeLargeFile } from "./files.js";
import { Person } from "./person.js";

let desk, ana, ben;

before(async () => {
  desk = await Desk.open();
  ana = await Person.arrive(desk, "Ana", { side: "left" });
  ben = await Person.arrive(desk, "Ben", { side: "right" });
});

after(() => desk?.close());

/** The state of the newest transfer in Ben's window, once it is this one. */
const benIs = (state, ms) => ben.seen("transfer-state", (shown) => shown.state === state, ms);

/** Ben has the whole share, and Ana's window has said the last it has to say: no button in it moves any more. */
async function benHasIt() {
  await benIs("done");
  await ana.seen("safety", ({ safety }) => safety === "safe");
}

/** Ana drops these; resolves with the link once its row shows. */
async function anaOffers(...paths) {
  const before = (await ana.look("share-link")).map(({ link }) => link);
  await ana.drop(paths, () => ana.seen("drop-state"));
  const { link } = await ana.seen("share-link", ({ link }) => !before.includes(link));
  return link;
}

/** Removes what is over from both windows, so that the next test sees its own rows only. */
async function clear(...people) {
  for (const person of people) {
    await person.clickAway("stop-sharing");
    await person.clickAway("forget-button");
    await person.gone("share-row");
    await person.gone("transfer-row");
  }
}

test("a folder dropped on one window arrives whole through the other", async () => {
  const folder = await makeHoliday(desk.folder);
  await anaOffers(folder);
  await ana.seen("status-line", ({ text }) => text.includes("Invite copied"));

  await ben.press("ctrl+v");
  const sheet = await ben.offered();
  assert.match(sheet.text, /Ana.*Holiday photos/);
  assert.match(sheet.text, /4 files/);
  assert.deepEqual(await readdir(ben.downloads), [], "nothing is written before it is accepted");
  await ben.click("accept-button");
  await benHasIt();
  await assertSame(folder, join(ben.downloads, basename(folder)));
  assert.deepEqual(await readdir(ben.downloads), [basename(folder)]);

  await ana.click("details-button");
  const ben_ = await ana.seen("person-row", ({ state }) => state === "complete");
  assert.match(ben_.text, /Ben/);
  await ben.seen("show-in-folder");
  await clear(ana, ben);
});

test("several things dropped together arrive together", async () => {
  const [one, two] = [await makeFile(desk.folder, "one.txt"), await makeFile(desk.folder, "two.txt", "2")];
  const link = await anaOffers(one, two);
  await ben.type("paste-field", `  ${link} `);
  await ben.click("get-button");
  await ben.offered();
  await ben.click("accept-button");
  await benHasIt();
  const names = await readdir(ben.downloads, { recursive: true });
  assert.ok(["one.txt", "two.txt"].every((name) => names.some((path) => basename(path) === name)), names.join());
  await clear(ana, ben);
});

test("what arrives unseen is announced, and shown in the file manager", async () => {
  const services = await desk.services();
  await anaOffers(await makeFile(desk.folder, "postcard.txt"));
  await ben.press("ctrl+v");
  await ben.offered();
  await ana.raise();
  await ben.click("accept-button");
  await services.next("a notification", (line) => line === "notify postcard.txt: received");
  await ben.click("show-in-folder");
  const shown = await services.next("the file manager", (line) => line.startsWith("show "));
  assert.equal(shown, `show ${pathToFileURL(join(ben.downloads, "postcard.txt")).href}`);
  await benHasIt();
  await clear(ana, ben);
});

test("only what is chosen is fetched, into the folder that is chosen", async () => {
  const [tea, coffee] = [await makeFile(desk.folder, "tea.txt", "tea"), await makeFile(desk.folder, "coffee.txt")];
  const link = await anaOffers(tea, coffee);
  await ben.type("paste-field", link);
  await ben.click("get-button");
  await ben.seen("tree-row", ({ name }) => name === "coffee.txt");
  await ben.click('[data-name="coffee.txt"]');
  await ben.seen("chosen", ({ text }) => text.includes("1 file"));
  const elsewhere = join(desk.folder, "elsewhere");
  await mkdir(elsewhere);
  await ben.click("change-destination");
  await desk.fillDialog("Save to", elsewhere);
  await ben.seen("destination", ({ text }) => text === elsewhere);
  await ben.click("accept-button");
  await benIs("done");
  await ana.seen("share-sentence", ({ text }) => text === "Ben has everything. Safe to close, if nobody else is coming.");
  const names = (await readdir(elsewhere, { recursive: true })).map((path) => basename(path));
  assert.ok(names.includes("tea.txt") && !names.includes("coffee.txt"), names.join());
  await clear(ana, ben);
});

test("an invite for one person is over once that person has everything", async () => {
  await anaOffers(await makeFile(desk.folder, "secret.txt"));
  await ana.evaluate(() => document.querySelector('[data-testid="audience-onePerson"]').click());
  await ana.seen("audience-sentence", ({ text }) => text.startsWith("The first person"));
  await ben.press("ctrl+v");
  await ben.offered();
  await ben.press("Return");
  await benIs("done");
  await ana.seen("share-state", ({ state }) => state === "delivered");
  await clear(ana, ben);
});

test("declining writes nothing and tells the sharer", async () => {
  const link = await anaOffers(await makeFile(desk.folder, "unwanted.txt"));
  await ben.type("paste-field", link);
  await ben.click("get-button");
  await ben.offered();
  await ben.click("decline-button");
  await benIs("declined");
  await ben.gone("accept-sheet");
  await ana.click("details-button");
  await ana.seen("person-row", ({ state }) => state === "declined");
  assert.ok(!(await readdir(ben.downloads)).includes("unwanted.txt"));
  await clear(ana, ben);
});

test("a share that was stopped says so to whoever comes late", async () => {
  const link = await anaOffers(await makeFile(desk.folder, "gone.txt"));
  await ana.click("stop-sharing");
  await ana.seen("share-state", ({ state }) => state === "stopped");
  await ben.type("paste-field", link);
  await ben.click("get-button");
  await benIs("failed");
  await ben.seen("transfer-sentence", ({ text }) => /stopped/i.test(text));
  await clear(ana, ben);
});

test("closing while somebody still receives asks first, and cancelling leaves nothing visible", async () => {
  const link = await anaOffers(await makeLargeFile(desk.folder, "film.mkv"));
  await ben.type("paste-field", link);
  await ben.click("get-button");
  await ben.offered(60_000);
  await ben.click("accept-button");
  await benIs("receiving");
  await ana.press("alt+F4");
  const question = await ana.seen("closing-sheet");
  assert.match(question.text, /Ben/);
  await ana.press("Escape");
  await ana.gone("closing-sheet");
  await ben.click("cancel-button");
  await benIs("cancelled");
  await ana.click("details-button");
  await ana.seen("person-row", ({ state }) => state === "cancelled");
  assert.ok(!(await readdir(ben.downloads)).includes("film.mkv"));
  await clear(ana, ben);
});
