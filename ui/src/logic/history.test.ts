import { describe, expect, it } from "vitest";
import type { HistoryEntry } from "../bindings/HistoryEntry";
import { byDay, historySentence, timeOfDay } from "./history";

const entry: HistoryEntry = { id: "h", name: "Scans", direction: "shared", outcome: "stopped", people: [], files: 1, bytes: 10, at: 0 };

describe("what a history entry says", () => {
  it.each([
    ["shared", "stopped", ["Ben", "Cleo"], "Ben and Cleo got it. You stopped sharing it."],
    ["shared", "stopped", [], "Nobody got it before you stopped sharing it."],
    ["shared", "delivered", ["Ben"], "Sent to Ben alone, and complete."],
    ["shared", "delivered", [], "Sent to one person, and complete."],
    ["shared", "complete", ["Ben"], "Ben got it."],
    ["shared", "complete", [], "Shared."],
    ["shared", "cancelled", ["Ben"], "Ben did not take it."],
    ["shared", "cancelled", [], "Nobody took it."],
    ["received", "complete", ["Ana"], "Received from Ana, complete."],
    ["received", "delivered", ["Ana"], "Received from Ana, complete."],
    ["received", "complete", [], "Received from somebody, complete."],
    ["received", "stopped", ["Ana"], "From Ana, who stopped sharing it before you had it all."],
    ["received", "cancelled", ["Ana"], "From Ana. You did not take it all."],
  ] as const)("%s, %s, with %j", (direction, outcome, people, said) => {
    expect(historySentence({ ...entry, direction, outcome, people: [...people] })).toBe(said);
  });

  it("fences off a name that runs from right to left", () => {
    expect(historySentence({ ...entry, people: ["أحمد"] })).toContain("\u2068أحمد\u2069");
  });
});

describe("the history by day", () => {
  const now = new Date(2026, 8, 12, 18, 0).getTime();
  const at = (...when: [number, number, number, number?]) => ({ ...entry, at: new Date(when[0], when[1], when[2], when[3] ?? 12).getTime() });

  it("is newest first, and names today and yesterday", () => {
    const days = byDay([at(2026, 7, 30), at(2026, 8, 11, 23), at(2026, 8, 12, 9), at(2026, 8, 12, 16)], now);
    expect(days.map(({ title, entries }) => [title, entries.length])).toEqual([
      ["Today", 2],
      ["Yesterday", 1],
      ["30 August 2026", 1],
    ]);
    expect(days[0]?.entries.map((each) => timeOfDay(each.at))).toEqual(["16:00", "09:00"]);
  });

  it("counts days of this place, not hours", () => {
    const [midnight] = byDay([at(2026, 8, 11, 23)], new Date(2026, 8, 12, 0, 5).getTime());
    expect(midnight?.title).toBe("Yesterday");
  });
});
