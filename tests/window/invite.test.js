// What the window says to invites that cannot work, before anything happens.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Desk } from "./desk.js";
import { makeFile } from "./files.js";
import { Person } from "./person.js";

let desk, ana, code, link;

before(async () => {
  desk = await Desk.open();
  ana = await Person.arrive(desk, "Ana");
  await ana.drop([await makeFile(desk.folder, "letter.txt")]);
  code = (await ana.seen("share-code")).text;
  link = (await ana.seen("share-link")).link;
});

after(() => desk?.close());

/** Types this as an invite and returns what the window says against it. */
async function refused(text) {
  await ana.click("paste-field");
  await ana.press("ctrl+a", "BackSpace");
  await ana.gone("problem-message");
  await ana.type("paste-field", text);
  await ana.click("get-button");
  const message = await ana.seen("problem-message");
  assert.equal((await ana.look("transfer-row")).length, 0, "nothing was begun");
  assert.equal((await ana.seen("paste-field")).value, text, "what was typed stays to be corrected");
  return message;
}

test("the code is four groups of five", () => {
  assert.match(code, /^[0-9A-Z]{5}(-[0-9A-Z]{5}){3}$/);
  assert.ok(link.startsWith("passalong:"));
});

test("a typo in a code is said under the field", async () => {
  const wrong = code.replace(/.$/, (last) => (last === "7" ? "8" : "7"));
  const message = await refused(wrong);
  assert.equal(message.code, "notAnInvite");
});

test("a text that is no invite at all is said to be none", async () => {
  const message = await refused("see you at eight");
  assert.equal(message.code, "notAnInvite");
});

test("one's own code is recognised, however it is written", async () => {
  const messy = ` ${code.toLowerCase().replaceAll("-", "  ")}`;
  const message = await refused(messy);
  assert.equal(message.code, "ownInvite");
});

test("one's own link is recognised", async () => {
  const message = await refused(link);
  assert.equal(message.code, "ownInvite");
});
