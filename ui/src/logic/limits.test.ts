import { describe, expect, it } from "vitest";
import { limitText, readLimit, readSlots } from "./limits";

describe("a limit", () => {
  it.each([
    ["5 MB/s", 5_000_000],
    ["5MB", 5_000_000],
    ["5 mb/s", 5_000_000],
    ["1,5 MB/s", 1_500_000],
    ["0.5 MB/s", 500_000],
    [" 800  kB / s ", 800_000],
    ["800 KB per second", 800_000],
    ["20 Mbit/s", 2_500_000],
    ["20 Mbps", 2_500_000],
    ["1 GB/s", 1_000_000_000],
    ["1 kB/s", 1000],
  ])("%s is read", (text, bytes) => {
    expect(readLimit(text)).toEqual({ type: "limit", bytes });
  });

  it.each(["", "   ", "no limit", "None", "off"])("%j is none", (text) => {
    expect(readLimit(text)).toEqual({ type: "none" });
  });

  it.each([
    ["20", /^20 of what\? Add a unit/],
    ["fast", /^Write a number and a unit/],
    ["-5 MB/s", /^Write a number and a unit/],
    ["5 MiB/s", /^Write a number and a unit/],
    ["1e6 kB/s", /^Write a number and a unit/],
    ["0 MB/s", /^That is too little/],
    ["0.1 kB/s", /^That is too little/],
    ["9999999 GB/s", /^That is more than any line carries/],
  ])("%s is refused with the reason", (text, why) => {
    const read = readLimit(text);
    expect(read.type === "wrong" && read.why).toMatch(why);
  });

  it("is written so that it reads as the same again", () => {
    for (const bytes of [1000, 2_500_000, 800_000, 5_000_000, 1_000_000_000, 12_345_000]) {
      expect(readLimit(limitText(bytes))).toEqual({ type: "limit", bytes });
    }
    expect(limitText(5_000_000)).toBe("5 MB/s");
    expect(limitText(2_500_000)).toBe("2.5 MB/s");
    expect(limitText(null)).toBe("");
  });
});

it("the people sent to at once are between one and a hundred", () => {
  expect(readSlots(" 8 ")).toEqual({ type: "slots", slots: 8 });
  for (const text of ["0", "101", "", "8.5", "-1", "many"]) {
    expect(readSlots(text), text).toEqual({ type: "wrong", why: "Write a number from 1 to 100." });
  }
});
