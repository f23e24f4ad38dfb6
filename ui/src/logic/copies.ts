// How many copies of a share's pieces are online: as stretches to draw, as a
// legend, and in one sentence. Pure.

import type { CopiesView } from "../bindings/CopiesView";

/** How often a piece is online. */
export type Level = "none" | "one" | "two" | "many";

/** Neighbouring cells of one kind. */
export interface Stretch<T> {
  from: number;
  length: number;
  kind: T;
}

export const LEVELS: readonly Level[] = ["none", "one", "two", "many"];

/** What a level is called in the legend. */
export const LEVEL_WORDS: Record<Level, string> = {
  none: "No copy online",
  one: "One copy",
  two: "Two copies",
  many: "Three or more",
};

/** Up to this many pieces are drawn apart, so that they can be counted. */
const APART = 60;
/** The engine's word for "at least this many". */
const COUNTED = 255;

export function levelOf(copies: number): Level {
  if (copies <= 0) return "none";
  if (copies === 1) return "one";
  return copies === 2 ? "two" : "many";
}

function stretches<T>(kinds: readonly T[], apart: boolean): Stretch<T>[] {
  const all: Stretch<T>[] = [];
  kinds.forEach((kind, at) => {
    const last = all.at(-1);
    if (last && last.kind === kind && !apart) last.length += 1;
    else all.push({ from: at, length: 1, kind });
  });
  return all;
}

/** Whether each piece is drawn on its own. */
export function isApart(copies: CopiesView): boolean {
  return copies.cells.length <= APART;
}

/** The strip of copies, left to right. */
export function copyStretches(copies: CopiesView): Stretch<Level>[] {
  return stretches(copies.cells.map(levelOf), isApart(copies));
}

/** What of it is here, left to right: stretches that are whole, and cells that
 * are here in part, in percent. */
export function hereStretches(copies: CopiesView): Stretch<number>[] {
  return stretches(copies.mine, isApart(copies)).filter(({ kind }) => kind > 0);
}

/** The levels that are on the strip, for its legend. */
export function levelsShown(copies: CopiesView): Level[] {
  const shown = new Set(copies.cells.map(levelOf));
  return LEVELS.filter((level) => shown.has(level));
}

/** How much of it satisfies `wanted`, as the start of a sentence. A cell of
 * several pieces counts whole, hence "up to". */
function howMuch(copies: CopiesView, wanted: (cell: number) => boolean): string {
  const found = copies.cells.filter(wanted).length;
  if (copies.pieces === copies.cells.length) {
    return `${found.toLocaleString("en")} of ${copies.pieces.toLocaleString("en")} pieces ${found === 1 ? "is" : "are"}`;
  }
  return `Up to ${Math.ceil((found / copies.cells.length) * 100)} % of it is`;
}

/** The strip in one sentence; nothing while the pieces are not known. */
export function copiesSentence(copies: CopiesView): string | null {
  const { cells, mine } = copies;
  if (copies.pieces === 0 || cells.length === 0) return null;
  const fewest = Math.min(...cells);
  if (fewest === 0) {
    if (cells.every((cell) => cell === 0)) return "Nobody who is online has any of it yet.";
    return `${howMuch(copies, (cell) => cell === 0)} with nobody who is online. It comes when somebody who has it is back.`;
  }
  if (fewest === 1) {
    const yours = cells.every((cell, at) => cell !== 1 || mine[at] === 100);
    if (cells.every((cell) => cell === 1)) return yours ? "The only copy online is yours." : "Every piece is online once.";
    return `${howMuch(copies, (cell) => cell === 1)} online only once${yours ? ", with you" : ""}.`;
  }
  if (fewest === 2) return "Every piece is online at least twice.";
  return `Every piece is online at least ${fewest >= COUNTED ? "255" : fewest} times.`;
}
