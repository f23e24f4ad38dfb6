import { describe, expect, it } from "vitest";
import { colour, initials } from "./people";

describe("people", () => {
  it("get initials from any alphabet", () => {
    expect(initials("Quiet Heron")).toBe("QH");
    expect(initials("ben")).toBe("B");
    expect(initials("Ana’s laptop")).toBe("AL");
    expect(initials("Łukasz Żuraw")).toBe("ŁŻ");
    expect(initials("  ")).toBe("?");
    expect(initials("🦩")).toBe("?");
  });

  it("keep their colour, and do not all have the same", () => {
    expect(colour("5f0e7c1a22d94b01")).toBe(colour("5f0e7c1a22d94b01"));
    const ids = Array.from({ length: 40 }, (_, at) => (at * 7919).toString(16).padStart(16, "0"));
    expect(new Set(ids.map(colour)).size).toBeGreaterThan(4);
  });

  it("are readable: white on every colour has a contrast of 4.5 or more", () => {
    const ids = Array.from({ length: 200 }, (_, at) => `${at}`);
    for (const hex of new Set(ids.map(colour))) {
      const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
        const part = parseInt(hex.slice(at, at + 2), 16) / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
      });
      const contrast = 1.05 / (0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05);
      expect(contrast, hex).toBeGreaterThanOrEqual(4.5);
    }
  });
});
