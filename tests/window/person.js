// Somebody with Passalong open: an app with a data folder of its own, driven
// through its page and through the keyboard and mouse of the desk.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort, stop } from "./desk.js";
import { until } from "./wait.js";
import { Page, answers } from "./webdriver.js";

const top = fileURLToPath(new URL("../..", import.meta.url));
/** The app under test. */
export const app = join(top, "target/debug/passalong-app");
const driver = join(top, "target/tools/bin/tauri-driver");
export const screenshots = join(top, "target/screenshots");

/** The selector of an element by its test id. */
export const by = (testid) => `[data-testid="${testid}"]`;

export class Person {
  /** Where received files go. */
  downloads;
  #desk;
  #name;
  #side;
  #theme;
  #home;
  #server;
  #driver;
  #page;
  #window;

  /**
   * Opens the app for somebody new.
   * @param {import("./desk.js").Desk} desk
   * @param {{ side?: "left" | "right", theme?: "light" | "dark", given?: string[] }} how
   */
  static async arrive(desk, name, { side = "left", theme = "light", given = [] } = {}) {
    const person = new Person();
    person.#desk = desk;
    person.#name = name;
    person.#side = side;
    person.#theme = theme;
    person.#home = join(desk.folder, name);
    person.downloads = join(person.#home, "Downloads");
    await mkdir(person.downloads, { recursive: true });
    await person.open(...given);
    return person;
  }

  /** The app's own arguments, without what it is to share or open. */
  get args() {
    const data = join(this.#home, "data");
    return [
      ...["--data-dir", data, "--download-dir", this.downloads, "--name", this.#name],
      ...["--bind", "127.0.0.1", "--no-lan", "--no-dht", "--place", this.#side],
    ];
  }

  /** The title of the window. */
  get title() {
    return `${this.#name} · Passalong`;
  }

  /** Opens the app, with the data of last time. */
  async open(...given) {
    const [port, native] = [await freePort(), await freePort()];
    this.#server = `http://127.0.0.1:${port}`;
    this.#driver = this.#desk.start(driver, ["--port", `${port}`, "--native-port", `${native}`], {
      HOME: this.#home,
      GTK_THEME: this.#theme === "dark" ? "Adwaita:dark" : "Adwaita",
    });
    await until("tauri-driver", () => answers(this.#server));
    this.#page = await Page.open(this.#server, app, [...this.args, ...given]);
    this.#window = await this.#desk.window(this.title);
    await this.seen("paste-field");
  }

  /** Closes the window the way people do, and waits until it is gone. */
  async leave() {
    await this.press("alt+F4");
    await until(`${this.#name}'s window to close`, async () => !(await this.#desk.shows(this.title)));
    await this.letGo();
  }

  /** Ends the automation, and the app if it still runs. */
  async letGo() {
    await this.#page.close().catch(() => {});
    await stop(this.#driver);
  }

  /** Starts the app once more with the same data folder; `ended` is its exit code. */
  startAgain(given = [], env = {}) {
    return this.#desk.start(app, [...this.args, ...given], { HOME: this.#home, ...env });
  }

  /** Drags files onto the window. */
  drop(paths, over) {
    return this.#desk.drag(paths, this.#window, over);
  }

  /** Brings the window to the front, and the focus away from the others. */
  raise() {
    return this.#desk.xdotool("windowactivate", "--sync", this.#window);
  }

  /** Presses keys in the window. */
  press(...keys) {
    return this.#desk.press(this.#window, ...keys);
  }

  click(selector) {
    return this.#page.click(selector.startsWith("[") ? selector : by(selector));
  }

  /** Clicks every button of a kind that goes away when it was clicked. */
  async clickAway(testid) {
    for (let { length } = await this.look(testid); length > 0; length -= 1) {
      await this.click(testid);
      await until(`one ${testid} less`, async () => (await this.look(testid)).length < length);
    }
  }

  type(testid, text) {
    return this.#page.type(by(testid), text);
  }

  evaluate(run, ...args) {
    return this.#page.evaluate(run, ...args);
  }

  /** Begins to watch for how long the page does nothing else than what it is at. */
  watchStalls() {
    return this.#page.evaluate(() => {
      const stalls = { longest: 0, since: performance.now() };
      window.endStall = () => {
        const now = performance.now();
        stalls.longest = Math.max(stalls.longest, now - stalls.since);
        stalls.since = now;
        return stalls;
      };
      setInterval(window.endStall, 5);
    });
  }

  /** The longest time that a person's click would have waited since this was last asked, milliseconds. */
  longestStall() {
    return this.#page.evaluate(() => {
      const stalls = window.endStall();
      const { longest } = stalls;
      stalls.longest = 0;
      return longest;
    });
  }

  /** What shows under a test id right now, topmost first. */
  look(testid) {
    return this.#page.evaluate((selector) => {
      const shown = [...document.querySelectorAll(selector)].filter((element) => element.checkVisibility());
      return shown.map((element) => ({
        text: element.textContent.trim().replace(/\s+/g, " "),
        value: element.value,
        focused: element.contains(document.activeElement),
        disabled: element.disabled === true || element.ariaDisabled === "true",
        ...element.dataset,
      }));
    }, by(testid));
  }

  /** Waits until something under a test id satisfies `wanted`, and returns it. */
  async seen(testid, wanted = () => true, ms) {
    let last = [];
    try {
      return await until(testid, async () => (last = await this.look(testid)).find(wanted), ms);
    } catch (error) {
      await this.picture(`failed-${testid}`).catch(() => {});
      const page = await this.#page.evaluate(() => document.body.innerText).catch(() => "?");
      const found = JSON.stringify(last, null, 2);
      error.message += ` in ${this.#name}'s window, where ${testid} is ${found} and the page says:\n${page}`;
      throw error;
    }
  }

  /** Waits until nothing shows under a test id. */
  gone(testid, ms) {
    return until(`no ${testid} in ${this.#name}'s window`, async () => (await this.look(testid)).length === 0, ms);
  }

  /** Waits until an offer can be accepted, and returns the sheet. */
  async offered(ms) {
    await this.seen("accept-button", ({ disabled }) => !disabled, ms);
    return this.seen("accept-sheet");
  }

  /** Keeps a picture of the page among the build's results. */
  async picture(name) {
    await this.#page.evaluate(async () => {
      const passing = document.getAnimations().filter((each) => each.effect.getComputedTiming().endTime < Infinity);
      await Promise.allSettled(passing.map((each) => each.finished));
      for (let frames = 0; frames < 3; frames += 1) await new Promise(requestAnimationFrame);
    });
    await mkdir(screenshots, { recursive: true });
    await this.#desk.picture(this.#window, join(screenshots, `${name}-${this.#theme}.png`));
  }
}
