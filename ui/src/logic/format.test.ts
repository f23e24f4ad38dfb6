import { describe, expect, it } from "vitest";
import { count, elapsed, folderName, names, percent, rate, size, sizeOf, timeLeft } from "./format";

describe("sizes", () => {
  it("uses decimal units with few digits", () => {
    expect(size(0)).toBe("0 bytes");
    expect(size(1)).toBe("1 byte");
    expect(size(999)).toBe("999 bytes");
    expect(size(1000)).toBe("1.0 kB");
    expect(size(4_200_000_000)).toBe("4.2 GB");
    expect(size(12_640_000_000)).toBe("12.6 GB");
    expect(size(182_400_000_000)).toBe("182 GB");
  });

  it("moves to the next unit rather than print a thousand", () => {
    expect(size(999_499)).toBe("999 kB");
    expect(size(999_500)).toBe("1.0 MB");
    expect(size(999_999_999)).toBe("1.0 GB");
  });

  it("says how much of how much in the unit of the whole, or smaller", () => {
    expect(sizeOf(12e9, 40e9)).toBe("12.0 of 40 GB");
    expect(sizeOf(300e6, 4.2e9)).toBe("300 MB of 4.2 GB");
    expect(sizeOf(700, 900)).toBe("700 of 900 bytes");
    expect(sizeOf(0, 4.2e9)).toBe("0 of 4.2 GB");
  });

  it("never claims more than the whole", () => {
    expect(sizeOf(5e9, 4.2e9)).toBe("4.2 of 4.2 GB");
  });
});

describe("rates", () => {
  it("are whole from ten up", () => {
    expect(rate(84_300_000)).toBe("84 MB/s");
    expect(rate(9_940_000)).toBe("9.9 MB/s");
    expect(rate(9_960_000)).toBe("10 MB/s");
  });

  it("never go below kB/s", () => {
    expect(rate(0)).toBe("0 kB/s");
    expect(rate(420)).toBe("0.4 kB/s");
  });
});

describe("per cent", () => {
  it("is 100 only when everything is there", () => {
    expect(percent(999_999, 1_000_000)).toBe(99);
    expect(percent(1_000_000, 1_000_000)).toBe(100);
  });

  it("takes nothing to fetch as done", () => {
    expect(percent(0, 0)).toBe(100);
  });
});

describe("time", () => {
  it("left is rounded as somebody would say it", () => {
    expect(timeLeft(3)).toBe("a few seconds");
    expect(timeLeft(12)).toBe("about 10 seconds");
    expect(timeLeft(62)).toBe("about a minute");
    expect(timeLeft(130)).toBe("about 2 minutes");
    expect(timeLeft(1700)).toBe("about 30 minutes");
    expect(timeLeft(3599)).toBe("about an hour");
    expect(timeLeft(12_400)).toBe("about 3 hours");
    expect(timeLeft(200_000)).toBe("more than a day");
  });

  it("never says sixty seconds or sixty minutes", () => {
    for (let seconds = 0; seconds < 4000; seconds += 1) {
      expect(timeLeft(seconds)).not.toMatch(/\b60\b/);
    }
  });

  it("gone by is exact where it matters", () => {
    expect(elapsed(0)).toBe("0.1 s");
    expect(elapsed(0.72)).toBe("0.7 s");
    expect(elapsed(59.6)).toBe("1 min");
    expect(elapsed(154.2)).toBe("2 min 34 s");
    expect(elapsed(7500)).toBe("2 h 5 min");
  });
});

describe("words", () => {
  it("count things", () => {
    expect(count(1, "file")).toBe("1 file");
    expect(count(100_000, "file")).toBe("100,000 files");
    expect(count(2, "person", "people")).toBe("2 people");
  });

  it("list names", () => {
    expect(names(["Ben"])).toBe("Ben");
    expect(names(["Ben", "Cleo"])).toBe("Ben and Cleo");
    expect(names(["Ben", "Cleo", "Dan"])).toBe("Ben, Cleo and Dan");
    expect(names(["Ben", "Cleo", "Dan", "Eve", "Fay"])).toBe("Ben, Cleo and 3 others");
  });

  it("call a folder by its last part", () => {
    expect(folderName("/home/heron/Downloads")).toBe("Downloads");
    expect(folderName("C:\\Users\\heron\\Downloads\\")).toBe("Downloads");
    expect(folderName("/")).toBe("/");
  });
});
