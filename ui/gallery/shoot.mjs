// Takes the pictures of every scene: node ui/gallery/shoot.mjs OUT [SCENE...]
// Needs a Chromium on the machine (CHROMIUM names it when it is not on the path).

import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";
import { createServer } from "vite";

const [out = "pictures", ...wanted] = process.argv.slice(2);
const ui = resolve(import.meta.dirname, "..");
const browserPath = process.env.CHROMIUM ?? execFileSync("which", ["chromium"], { encoding: "utf8" }).trim();

const LOOKS = [
  { name: "light", width: 1100, height: 760, colorScheme: "light" },
  { name: "dark", width: 1100, height: 760, colorScheme: "dark" },
  { name: "small", width: 720, height: 520, colorScheme: "light" },
  { name: "large-text", width: 720, height: 520, colorScheme: "dark", zoom: 200 },
  // The same, scrolled all the way: one picture of what is above and below.
  { name: "large-text-all", width: 720, height: 2400, colorScheme: "light", zoom: 200 },
];

/** Opens the row and brings who has what to the top. */
async function lookAtPeople(page) {
  await page.getByTestId("details-button").first().click();
  await page.getByTestId("who-has-what").first().evaluate((section) => section.scrollIntoView({ block: "start" }));
}

async function lookAtNetwork(page) {
  await page.getByTestId("check-button").click();
}

/** Opens the connection check from the settings. */
async function openCheck(page) {
  await page.getByTestId("settings-button").click();
  await page.getByTestId("open-check").click();
}

async function checkNow(page) {
  await openCheck(page);
  await page.getByTestId("check-now").click();
  await page.getByTestId("check-summary").waitFor();
}

/** What a person would have done to get to where the picture is taken. */
const STEPS = {
  async typo(page) {
    await page.getByTestId("paste-field").fill("QK7M2-9XHT4-W8DPN-3RCVB");
    await page.getByTestId("get-button").click();
  },
  async "share-people"(page) {
    await page.getByTestId("details-button").click();
  },
  async "share-ready"(page) {
    await page.getByTestId("qr-button").click();
    await page.getByTestId("copy-invite").click();
  },
  async done(page) {
    await page.getByTestId("details-button").click();
  },
  async receiving(page) {
    await page.evaluate(() => {
      const [transfer] = window.bridge.scene.snapshot.transfers;
      let step = 0;
      setInterval(() => {
        const rate = 84e6 + Math.sin(step++ / 3) * 16e6;
        window.bridge.send({ type: "transfer", transfer: { ...transfer, state: { ...transfer.state, progress: { ...transfer.state.progress, rate } } } });
      }, 100);
    });
    await page.getByTestId("details-button").click();
    await page.clock.runFor(60_000);
  },
  async "offered-many"(page) {
    await page.getByTestId("tree-row").nth(1).locator("[data-part=twist]").click();
    await page.getByTestId("tree-check").nth(3).click();
  },
  async reply(page) {
    await page.getByTestId("paste-field").fill("passalong-reply:1:AG4T");
    await page.getByTestId("get-button").click();
  },
  async "waiting-reply"(page) {
    await page.getByTestId("reply-button").click();
  },
  "waiting-checking": lookAtNetwork,
  async "waiting-red"(page) {
    await lookAtNetwork(page);
    await page.getByTestId("reply-button").click();
  },
  "waiting-yellow": lookAtNetwork,
  "waiting-green": lookAtNetwork,
  "no-way-through": lookAtNetwork,
  check: checkNow,
  "check-green": checkNow,
  "check-silent-dht": checkNow,
  "check-new": openCheck,
  async closing(page) {
    await page.evaluate(() => window.bridge.window.closing(window.bridge.scene.atStake));
  },
  async settings(page) {
    await page.getByTestId("settings-button").click();
  },
  "who-solo": lookAtPeople,
  "who-one": lookAtPeople,
  "who-two": lookAtPeople,
  "who-twelve": lookAtPeople,
  "who-fifty": lookAtPeople,
  "who-crowd": lookAtPeople,
  async "who-table"(page) {
    await lookAtPeople(page);
    await page.getByTestId("as-table").click();
  },
  "pieces-ten": lookAtPeople,
  "only-you": lookAtPeople,
  async history(page) {
    await page.getByTestId("history-button").click();
  },
  async "history-clear"(page) {
    await page.getByTestId("history-button").click();
    await page.getByTestId("clear-history").click();
  },
  async "history-empty"(page) {
    await page.getByTestId("history-button").click();
  },
  async "settings-limits"(page) {
    await page.getByTestId("settings-button").click();
    await page.getByTestId("upload-limit").fill("5 MB/s");
    await page.getByTestId("download-limit").fill("20");
    await page.getByTestId("upload-slots").focus();
    await page.getByTestId("upload-limit").evaluate((field) => field.closest(".group").scrollIntoView({ block: "center" }));
  },
  async drop(page) {
    await page.evaluate(() => window.bridge.window.hover(true));
  },
};

/** Pictures of a scene in which more has been done. */
const SAME_AS = { drop: "busy", "who-table": "who-twelve", "history-clear": "history", "settings-limits": "settings" };

const server = await createServer({ root: ui, configFile: join(ui, "vite.config.ts"), logLevel: "error", server: { port: 0, strictPort: false } });
await server.listen();
const { port } = server.httpServer.address();
const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
mkdirSync(out, { recursive: true });

const index = await browser.newPage();
await index.goto(`http://127.0.0.1:${port}/gallery/`);
const scenes = [...(await index.locator("a").allTextContents()), ...Object.keys(SAME_AS)];
await index.close();

for (const look of LOOKS) {
  const context = await browser.newContext({ viewport: { width: look.width, height: look.height }, colorScheme: look.colorScheme });
  for (const scene of wanted.length > 0 ? wanted : scenes) {
    const page = await context.newPage();
    page.on("pageerror", (error) => console.error(`${scene}: ${error.message}`));
    if (scene === "receiving") await page.clock.install();
    if (scene.startsWith("history")) await page.clock.setFixedTime(Date.UTC(2026, 8, 12, 18, 0));
    await page.goto(`http://127.0.0.1:${port}/gallery/?scene=${SAME_AS[scene] ?? scene}`);
    if (look.zoom) await page.evaluate((zoom) => (document.documentElement.style.fontSize = `${zoom}%`), look.zoom);
    await page.getByTestId("status-line").waitFor();
    await STEPS[scene]?.(page);
    await page.evaluate(() => Promise.allSettled(document.getAnimations().filter((each) => each.effect.getTiming().iterations === 1).map((each) => each.finished)));
    await page.screenshot({ path: join(out, `${scene}-${look.name}.png`) });
    await page.close();
  }
  await context.close();
}
await browser.close();
await server.close();
