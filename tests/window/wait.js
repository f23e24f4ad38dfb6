// Waiting for something to become true, and for a process to say something.

import { setTimeout as pause } from "node:timers/promises";

/** Milliseconds after which a test gives up on something that should be quick. */
export const SOON = 15_000;

/**
 * Asks again and again until the answer is truthy, and returns it.
 * @param {string} what what is waited for, for the message
 * @param {() => unknown} ask
 */
export async function until(what, ask, ms = SOON) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited ${ms / 1000} s in vain for ${what}`);
    await pause(30);
  }
}

/** The lines that a process writes, one at a time and none lost. */
export class Lines {
  #lines = [];
  #rest = "";
  #arrived = () => {};
  #ended = false;

  /** @param {import("node:stream").Readable} stream */
  constructor(stream) {
    stream.setEncoding("utf8");
    stream.on("data", (text) => {
      const parts = (this.#rest + text).split("\n");
      this.#rest = parts.pop();
      this.#lines.push(...parts);
      this.#arrived();
    });
    stream.on("close", () => {
      this.#ended = true;
      this.#arrived();
    });
  }

  /** Drops lines until one satisfies `wanted`, and returns that one. */
  async next(what, wanted = () => true, ms = SOON) {
    const end = Date.now() + ms;
    for (;;) {
      while (this.#lines.length > 0) {
        const line = this.#lines.shift();
        if (wanted(line)) return line;
      }
      if (this.#ended) throw new Error(`the process ended before it gave ${what}`);
      const left = end - Date.now();
      if (left <= 0) throw new Error(`waited ${ms / 1000} s in vain for ${what}`);
      const arrival = new Promise((resolve) => (this.#arrived = resolve));
      await Promise.race([arrival, pause(left, undefined, { ref: false })]);
    }
  }
}
