// Pictures of the main states, light and dark, under target/screenshots: what
// the window looks like is looked at by people.

import { test } from "node:test";
import { Desk } from "./desk.js";
import { makeFile, makeHoliday, makeLargeFile } from "./files.js";
import { Person } from "./person.js";

for (const [sharing, receiving] of [
  ["light", "dark"],
  ["dark", "light"],
]) {
  test(`a whole transfer, ${sharing} at the sharer and ${receiving} at the receiver`, async () => {
    const desk = await Desk.open();
    try {
      await tell(desk, sharing, receiving);
    } finally {
      await desk.close();
    }
  });
}

async function tell(desk, sharing, receiving) {
  const ana = await Person.arrive(desk, "Ana", { side: "left", theme: sharing });
  const ben = await Person.arrive(desk, "Ben", { side: "right", theme: receiving });
  await ana.picture("empty");

  const holiday = await makeHoliday(desk.folder);
  await ana.drop([holiday], async () => {
    await ana.seen("drop-state");
    await ana.picture("dropping");
  });
  await ana.seen("share-state", ({ state }) => state === "ready");
  await ana.picture("shared");
  await ana.click("qr-button");
  await ana.seen("qr-picture");
  await ana.picture("qr");
  await ana.click("qr-button");

  await ben.type("paste-field", "QK7M2-9XHT4-00000-00000");
  await ben.click("get-button");
  await ben.seen("problem-message");
  await ben.picture("typo");

  await ben.press("ctrl+a", "ctrl+v");
  await ben.offered();
  await ben.picture("offered");
  await ben.click("accept-button");
  await ben.seen("transfer-state", ({ state }) => state === "done");
  await ben.picture("received");
  await ana.click("details-button");
  await ana.seen("person-row", ({ state }) => state === "complete");
  await ana.picture("delivered");

  await ana.drop([await makeLargeFile(desk.folder, "film.mkv"), await makeFile(desk.folder, "read me.txt")]);
  await ben.press("ctrl+v");
  await ben.offered(60_000);
  await ben.click("accept-button");
  await ben.seen("transfer-state", ({ state }) => state === "receiving");
  await ben.seen("transfer-progress", ({ text }) => /left/.test(text));
  await ben.picture("receiving");
  await ana.picture("sending");
  await ana.press("alt+F4");
  await ana.seen("closing-sheet");
  await ana.picture("closing");
  await ana.press("shift+Tab", "Return");
  await ben.seen("transfer-state", ({ state }) => state === "stalled");
  await ben.picture("stalled");

  await ben.click("settings-button");
  await ben.seen("settings-page");
  await ben.picture("settings");
}
