// What the app is to the rest of the desktop: one window for each data
// folder, dialogs of the system, state that survives, an honest end.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Desk } from "./desk.js";
import { makeFile } from "./files.js";
import { Person, app } from "./person.js";

let desk, ana;

before(async () => {
  desk = await Desk.open();
  ana = await Person.arrive(desk, "Ana");
});

after(() => desk?.close());

test("settings survive a restart", async () => {
  await ana.click("settings-button");
  const was = await ana.evaluate(() => document.querySelector('[data-testid="copy-at-once"]').checked);
  assert.equal(was, true);
  await ana.click("copy-at-once");
  await ana.seen("status-line", ({ text }) => text.includes("Saved"));
  await ana.leave();
  await ana.open();
  await ana.click("settings-button");
  await ana.seen("settings-page");
  const is = await ana.evaluate(() => document.querySelector('[data-testid="copy-at-once"]').checked);
  assert.equal(is, false);
  await ana.click("copy-at-once");
  await ana.seen("status-line", ({ text }) => text.includes("Saved"));
  await ana.click("settings-button");
  await ana.gone("settings-page");
});

test("a second start hands its files to the window that is open", async () => {
  const file = await makeFile(desk.folder, "handed over.txt");
  assert.equal(await ana.startAgain([file]).ended, 0);
  await ana.seen("share-row", ({ text }) => text.includes("handed over.txt"));
});

test("a second start hands its link over too, and a bad one is explained", async () => {
  assert.equal(await ana.startAgain(["passalong:NOT-AN-INVITE"]).ended, 0);
  const message = await ana.seen("problem-message");
  assert.equal(message.code, "notAnInvite");
});

test("files chosen in the system's dialog are shared", async () => {
  const file = await makeFile(desk.folder, "chosen.txt");
  await ana.click("choose-files");
  await desk.fillDialog("Share files", file);
  await ana.seen("share-row", ({ text }) => text.includes("chosen.txt"));
});

test("a folder chosen in the system's dialog is shared", async () => {
  await mkdir(join(desk.folder, "chosen folder"));
  await ana.click("choose-folder");
  await desk.fillDialog("Share a folder", join(desk.folder, "chosen folder"));
  await ana.seen("share-row", ({ text }) => text.includes("chosen folder"));
});

test("files copied in a file manager are shared with Ctrl+V", async () => {
  await desk.copyFiles(await makeFile(desk.folder, "copied.txt"), await makeFile(desk.folder, "copied too.txt"));
  await ana.press("ctrl+v");
  await ana.seen("share-row", ({ text }) => text.includes("2 items"));
});

test("a share goes on after a restart, with the same code", async () => {
  const before = (await ana.look("share-code")).map(({ text }) => text);
  await ana.leave();
  await ana.open();
  await ana.seen("share-code");
  assert.deepEqual((await ana.look("share-code")).map(({ text }) => text), before);
});

test("the QR picture of an invite opens in place", async () => {
  await ana.click("qr-button");
  await ana.seen("qr-picture");
  const drawn = await ana.evaluate(() => document.querySelector('[data-testid="qr-picture"]').decode().then(() => true));
  assert.equal(drawn, true);
});

test("without a session bus, a second start says which folder is in use", async () => {
  const again = ana.startAgain([], { DBUS_SESSION_BUS_ADDRESS: "unix:path=/nonexistent" });
  const dialog = await desk.window("Passalong cannot start");
  await desk.press(dialog, "Return");
  assert.equal(await again.ended, 1);
});

test("asked to end by the system, it ends in order", async () => {
  const ben = desk.start(app, ["--data-dir", join(desk.folder, "ben"), "--bind", "127.0.0.1", "--no-lan", "--no-dht", "--name", "Ben"]);
  await desk.window("Ben · Passalong");
  ben.child.kill("SIGTERM");
  assert.equal(await ben.ended, 0);
});
