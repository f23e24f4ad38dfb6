import { describe, expect, it } from "vitest";
import { isServer } from "./servers";

describe("servers", () => {
  it("are taken when they can be right", () => {
    expect(isServer("stun", "stun:stun.example.org:3478")).toBe(true);
    expect(isServer("stun", "stun:stun.example.org")).toBe(true);
    expect(isServer("turn", "turn:[2001:db8::1]:3478")).toBe(true);
  });

  it("are refused when they cannot", () => {
    expect(isServer("stun", "turn:stun.example.org:3478")).toBe(false);
    expect(isServer("stun", "stun:stun.example.org:99999")).toBe(false);
    expect(isServer("turn", "https://example.org")).toBe(false);
    expect(isServer("turn", "turn:a b")).toBe(false);
  });
});
