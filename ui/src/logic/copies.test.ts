import { describe, expect, it } from "vitest";
import type { CopiesView } from "../bindings/CopiesView";
import { copiesSentence, copyStretches, hereStretches, isApart, levelOf, levelsShown } from "./copies";

function copies(cells: number[], mine = cells.map(() => 0), pieces = cells.length): CopiesView {
  return { pieces, cells, mine };
}

const everywhere = (copiesOnline: number, cells = 240) => copies(Array.from({ length: cells }, () => copiesOnline), undefined, 100_000);

describe("the strip", () => {
  it("tells none, one, two and many apart", () => {
    expect([0, 1, 2, 3, 255].map(levelOf)).toEqual(["none", "one", "two", "many", "many"]);
  });

  it("joins neighbours of one kind when there are too many to count", () => {
    expect(copyStretches(everywhere(3))).toEqual([{ from: 0, length: 240, kind: "many" }]);
    expect(copyStretches(copies([...Array<number>(100).fill(1), ...Array<number>(140).fill(5)]))).toEqual([
      { from: 0, length: 100, kind: "one" },
      { from: 100, length: 140, kind: "many" },
    ]);
  });

  it("keeps ten pieces apart, so that they can be counted", () => {
    const ten = copies(Array<number>(10).fill(2));
    expect(isApart(ten)).toBe(true);
    expect(copyStretches(ten)).toHaveLength(10);
  });

  it("shows what is here, whole or in part, and nothing where nothing is", () => {
    expect(hereStretches(copies([1, 1, 1], [100, 0, 40]))).toEqual([
      { from: 0, length: 1, kind: 100 },
      { from: 2, length: 1, kind: 40 },
    ]);
  });

  it("explains only the colours that are on it", () => {
    expect(levelsShown(copies([3, 0, 3, 2]))).toEqual(["none", "two", "many"]);
  });
});

describe("the sentence on copies", () => {
  it.each([
    ["nothing while the pieces are not known", copies([], [], 0), null],
    ["nobody online", copies([0, 0, 0]), "Nobody who is online has any of it yet."],
    ["a piece that is gone", copies([2, 0, 1]), "1 of 3 pieces is with nobody who is online. It comes when somebody who has it is back."],
    ["several that are gone", copies([0, 0, 1]), "2 of 3 pieces are with nobody who is online. It comes when somebody who has it is back."],
    ["the only copy, here", copies([1, 1], [100, 100]), "The only copy online is yours."],
    ["the only copy, elsewhere", copies([1, 1], [100, 40]), "Every piece is online once."],
    ["one rare piece, here", copies([1, 2], [100, 0]), "1 of 2 pieces is online only once, with you."],
    ["one rare piece, elsewhere", copies([1, 2], [0, 100]), "1 of 2 pieces is online only once."],
    ["two everywhere", copies([2, 4, 2]), "Every piece is online at least twice."],
    ["five everywhere", everywhere(5), "Every piece is online at least 5 times."],
    ["more than can be counted", everywhere(255), "Every piece is online at least 255 times."],
  ])("for %s", (_, view, said) => {
    expect(copiesSentence(view)).toBe(said);
  });

  it("speaks of shares of the whole when a cell stands for many pieces", () => {
    const cells = Array.from({ length: 240 }, (_, at) => (at < 96 ? 1 : 2));
    expect(copiesSentence(copies(cells, undefined, 100_000))).toBe("Up to 40 % of it is online only once.");
  });
});
