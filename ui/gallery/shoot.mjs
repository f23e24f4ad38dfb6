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
  async closing(page) {
    await page.evaluate(() => window.bridge.window.closing(window.bridge.scene.atStake));
  },
  async settings(page) {
    await page.getByTestId("settings-button").click();
  },
  async drop(page) {
    await page.evaluate(() => window.bridge.window.hover(true));
  },
};

const server = await createServer({ root: ui, configFile: join(ui, "vite.config.ts"), logLevel: "error", server: { port: 0, strictPort: false } });
await server.listen();
const { port } = server.httpServer.address();
const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
mkdirSync(out, { recursive: true });

const index = await browser.newPage();
await index.goto(`http://127.0.0.1:${port}/gallery/`);
const scenes = [...(await index.locator("a").allTextContents()), "drop"];
await index.close();

for (const look of LOOKS) {
  const context = await browser.newContext({ viewport: { width: look.width, height: look.height }, colorScheme: look.colorScheme });
  for (const scene of wanted.length > 0 ? wanted : scenes) {
    const page = await context.newPage();
    page.on("pageerror", (error) => console.error(`${scene}: ${error.message}`));
    if (scene === "receiving") await page.clock.install();
    await page.goto(`http://127.0.0.1:${port}/gallery/?scene=${scene === "drop" ? "busy" : scene}`);
    if (look.zoom) await page.evaluate((zoom) => (document.documentElement.style.fontSize = `${zoom}%`), look.zoom);
    await page.getByTestId("status-line").waitFor();
    await STEPS[scene]?.(page);
    await page.evaluate(() => Promise.all(document.getAnimations().filter((each) => each.effect.getTiming().iterations === 1).map((each) => each.finished)));
    await page.screenshot({ path: join(out, `${scene}-${look.name}.png`) });
    await page.close();
  }
  await context.close();
}
await browser.close();
await server.close();
