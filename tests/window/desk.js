// A desktop of its own for each test file: a display, a window manager, a
// session bus, a mouse and a keyboard. Nothing of the person's desktop is
// touched, and everything started here ends here.

import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { Lines, until } from "./wait.js";

const run = promisify(execFile);
const here = fileURLToPath(new URL(".", import.meta.url));

/** The system's own Python is the one that has GTK. */
const PYTHON = "/usr/bin/python3";
/** Where the drag source shows: below the windows, which are 800 high. */
const SOURCE = { x: 900, y: 960 };

export class Desk {
  #processes = [];
  /** A folder for everything the test makes. */
  folder;
  /** The environment of everything that runs on this desk. */
  env;

  static async open() {
    const desk = new Desk();
    desk.folder = await mkdtemp(join(tmpdir(), "passalong-window-"));
    const bare = { ...process.env, GDK_BACKEND: "x11", NO_AT_BRIDGE: "1", LIBGL_ALWAYS_SOFTWARE: "1" };
    delete bare.WAYLAND_DISPLAY;
    delete bare.GTK_THEME;
    desk.env = bare;
    try {
      const screen = ["-displayfd", "1", "-screen", "0", "1920x1080x24", "-nolisten", "tcp", "-noreset"];
      const display = await desk.start("Xvfb", screen).lines.next("the display");
      const bus = desk.start("dbus-daemon", ["--session", "--nofork", "--print-address=1"]);
      const address = await bus.lines.next("the session bus");
      desk.env = { ...bare, DISPLAY: `:${display}`, DBUS_SESSION_BUS_ADDRESS: address };
      desk.start("openbox", []);
      await until("the window manager", async () =>
        (await desk.#output("xprop", ["-root", "_NET_SUPPORTING_WM_CHECK"])).includes("window id"),
      );
    } catch (error) {
      await desk.close();
      throw error;
    }
    return desk;
  }

  /** Starts a program that runs until the desk closes; its output comes as lines. */
  start(program, args, env = {}) {
    const child = spawn(program, args, {
      env: { ...this.env, ...env },
      stdio: ["ignore", "pipe", process.env.PASSALONG_TEST_LOG ? "inherit" : "ignore"],
    });
    const ended = new Promise((resolve) => {
      child.once("exit", resolve);
      child.once("error", resolve);
    });
    const process_ = { child, ended, lines: new Lines(child.stdout) };
    this.#processes.push(process_);
    return process_;
  }

  /** Ends everything that was started, the latest first. */
  async close() {
    for (const process_ of this.#processes.reverse()) await stop(process_);
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  /** The id of the window with this title, once it shows. */
  async window(title) {
    const found = await until(`the window "${title}"`, () =>
      this.#output("xdotool", ["search", "--onlyvisible", "--name", title]),
    );
    return found.trim().split("\n").at(-1);
  }

  /** Whether a window with this title shows. */
  async shows(title) {
    return (await this.#output("xdotool", ["search", "--onlyvisible", "--name", title])) !== "";
  }

  /** Presses keys, named as X names them ("ctrl+v"), in a window. */
  async press(window, ...keys) {
    await this.xdotool("windowactivate", "--sync", window);
    await this.xdotool("key", "--clearmodifiers", ...keys);
  }

  /** Gives a path to a file dialog of the system and confirms it. */
  async fillDialog(title, path) {
    const dialog = await this.window(title);
    await this.press(dialog, "ctrl+l");
    await this.xdotool("type", "--delay", "2", path);
    // The button takes nothing until the dialog has looked the path up, and
    // its key means nothing to the window behind.
    await until(`the dialog "${title}" to close`, async () => {
      if (!(await this.shows(title))) return true;
      await this.xdotool("key", "alt+o");
      return false;
    });
  }

  /** Drags files from a window of their own onto the middle of another. */
  async drag(paths, window, over = async () => {}) {
    const { x, y } = SOURCE;
    const source = this.start(PYTHON, [join(here, "drag_source.py"), `${x}`, `${y}`, ...paths.map(address)]);
    const heard = (word) => source.lines.next(`the drag source saying "${word}"`, (line) => line === word);
    await heard("shown");
    await this.xdotool("mousemove", "--sync", `${x + 60}`, `${y + 30}`);
    await this.xdotool("mousedown", "1");
    for (const step of [10, 20, 30]) await this.xdotool("mousemove", "--sync", `${x + 60 + step}`, `${y + 30}`);
    await heard("begun");
    const middle = await this.#middle(window);
    await this.xdotool("mousemove", "--sync", `${middle.x - 20}`, `${middle.y}`);
    await this.xdotool("mousemove", "--sync", `${middle.x}`, `${middle.y}`);
    await heard("accepted");
    await over();
    await this.xdotool("mouseup", "1");
    await heard("finished");
    await stop(source);
  }

  /** Writes a picture of a window, as the screen shows it. */
  async picture(window, file) {
    await run("import", ["-window", window, `png:${file}`], { env: this.env });
  }

  /** Starts a notification daemon and a file manager that only say what they are asked. */
  async services() {
    const services = this.start(PYTHON, [join(here, "session_services.py")]);
    await services.lines.next("the session's services", (line) => line === "ready");
    return services.lines;
  }

  /** Puts files on the clipboard, as a file manager would. */
  async copyFiles(...paths) {
    const source = this.start(PYTHON, [join(here, "clipboard_source.py"), ...paths.map(address)]);
    await source.lines.next("the files to be on the clipboard", (line) => line === "copied");
  }

  /** What xdotool does with the mouse, the keyboard and the windows. */
  async xdotool(...args) {
    await run("xdotool", args, { env: this.env });
  }

  async #middle(window) {
    const shell = await this.#output("xdotool", ["getwindowgeometry", "--shell", window]);
    const { X, Y, WIDTH, HEIGHT } = Object.fromEntries(shell.trim().split("\n").map((line) => line.split("=")));
    return { x: Math.round(+X + WIDTH / 2), y: Math.round(+Y + HEIGHT / 2) };
  }

  /** What a program prints; nothing if it fails. */
  async #output(program, args) {
    try {
      return (await run(program, args, { env: this.env })).stdout;
    } catch {
      return "";
    }
  }
}

/** The file: address of a path. */
const address = (path) => pathToFileURL(path).href;

/** Ends a process that this desk started. */
export async function stop({ child, ended }) {
  if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
  const hard = setTimeout(() => child.kill("SIGKILL"), 5000);
  await ended;
  clearTimeout(hard);
}

/** A TCP port that nobody uses. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
