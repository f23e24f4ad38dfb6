// The connection check in the window's words: which light it is, and which of
// its findings matters. What was found is worded by the engine. Pure.

import type { Checkup } from "../bindings/Checkup";
import type { Finding } from "../bindings/Finding";
import type { FindingLevel } from "../bindings/FindingLevel";
import type { Topic } from "../bindings/Topic";
import type { Tone } from "./said";

/** A light by name, so that nobody has to tell colours apart, and its tone. */
export function light(level: FindingLevel): { name: string; tone: Tone } {
  switch (level) {
    case "good":
      return { name: "Green", tone: "good" };
    case "notice":
      return { name: "Yellow", tone: "warn" };
    case "bad":
      return { name: "Red", tone: "bad" };
  }
}

/** The finding that a light that is not green rests on. */
export function causeOf({ cause, findings }: Checkup): Finding | null {
  if (cause === null) return null;
  return findings.find(({ topic, level }) => topic === cause && level !== "good") ?? null;
}

const SERVERS: ReadonlySet<Topic> = new Set(["stunServer", "turnServer"]);

/** The findings about the network, and apart from them those about single servers. */
export function sorted({ findings }: Checkup): { network: readonly Finding[]; servers: readonly Finding[] } {
  return {
    network: findings.filter(({ topic }) => !SERVERS.has(topic)),
    servers: findings.filter(({ topic }) => SERVERS.has(topic)),
  };
}
