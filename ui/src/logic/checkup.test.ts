import { describe, expect, it } from "vitest";
import type { Finding } from "../bindings/Finding";
import type { FindingLevel } from "../bindings/FindingLevel";
import type { Topic } from "../bindings/Topic";
import { causeOf, light, sorted } from "./checkup";

const finding = (topic: Topic, level: FindingLevel): Finding => ({
  topic,
  level,
  title: `${topic} is ${level}.`,
  detail: "That was tried.",
  remedy: level === "good" ? null : "Mend it.",
});

const checkup = (cause: Topic | null, ...findings: Finding[]) => ({ level: "bad" as const, summary: "So it is.", cause, findings });

describe("the connection check", () => {
  it("names every light, so that colour alone says nothing", () => {
    const all = (["good", "notice", "bad"] as const).map(light);
    expect(all.map(({ name }) => name)).toEqual(["Green", "Yellow", "Red"]);
    expect(new Set(all.map(({ tone }) => tone)).size).toBe(3);
  });

  it("shows the finding that the light rests on, whatever else was found", () => {
    const found = checkup("internet", finding("port", "good"), finding("stunServer", "notice"), finding("internet", "bad"));
    expect(causeOf(found)?.title).toBe("internet is bad.");
    expect(causeOf(checkup(null, finding("stunServer", "notice")))).toBeNull();
    expect(causeOf(checkup("internet", finding("internet", "good")))).toBeNull();
  });

  it("keeps what is about single servers apart from what is about the network", () => {
    const found = sorted(checkup("internet", finding("internet", "bad"), finding("stunServer", "good"), finding("vpn", "notice"), finding("turnServer", "bad")));
    expect(found.network.map(({ topic }) => topic)).toEqual(["internet", "vpn"]);
    expect(found.servers.map(({ topic }) => topic)).toEqual(["stunServer", "turnServer"]);
  });
});
