// What the people of a share do, in words: for the list, for the picture and
// for the table that says the same. Pure.

import type { PersonView } from "../bindings/PersonView";
import type { Presence } from "../bindings/Presence";
import type { Route } from "../bindings/Route";
import { MOST } from "./circle";
import { count, percent, rate, size, sizeOf, timeLeft } from "./format";
import { good, plain, warn, type Said } from "./said";

/** The badge for how somebody is reached, and what it means. `friend` is who helps
 * through, where that is known. */
export function routeWords(route: Route, friend: string = ""): { badge: string; title: string } {
  switch (route) {
    case "sameNetwork":
      return { badge: "Same network", title: "Straight from computer to computer inside one network" };
    case "direct":
      return { badge: "Direct", title: "Straight from computer to computer across the internet" };
    case "relayed":
      return { badge: "Relayed", title: "Through the TURN server in the settings, which sees only sealed data" };
    case "carried":
      return {
        badge: `Through ${friend || "a friend"}`,
        title: "No direct way was found. Somebody in this share passes on sealed data, which only the two of you can open",
      };
  }
}

/** How much of what they want somebody has, from 0 to 1. */
export function held(person: PersonView): number {
  if (person.state === "complete") return 1;
  return person.total > 0 ? Math.min(1, person.bytes / person.total) : 0;
}

function amount(person: PersonView): string {
  if (person.bytes === 0) return "nothing yet";
  return person.bytes >= person.total ? size(person.total) : sizeOf(person.bytes, person.total);
}

const AWAY: Record<Presence, string> = { connected: "", known: "; not connected to you", gone: "; not online now" };

/** What a person does with a share. `alone` is whether they are the only other
 * one, so that what flows from here is all that they get. */
export function personSentence(person: PersonView, alone: boolean): Said {
  const away = AWAY[person.presence];
  switch (person.state) {
    case "connecting":
      return plain("Connecting…");
    case "choosing":
      return plain(`Looking at the list${away}`);
    case "receiving": {
      const left = alone && person.rate > 0 ? `, ${timeLeft((person.total - person.bytes) / person.rate)} left` : "";
      return plain(`Has ${amount(person)}${left}${away}`);
    }
    case "waiting":
      return plain(`Has ${amount(person)}; waits for a turn`);
    case "complete":
      if (person.presence === "gone") return plain(`Has everything${away}`);
      return good(`${person.sharer ? "Has everything" : "Has everything they asked for"}, ${size(person.total)}${away}`);
    case "declined":
      return plain("Declined");
    case "cancelled":
      return plain("Cancelled");
    case "lost":
      return warn(`Out of reach with ${amount(person)}; goes on by itself`);
  }
}

/** What flows between somebody and this device right now. */
export function flowWords(person: PersonView): { gets: string; sends: string } | null {
  if (person.rate === 0 && person.fromRate === 0) return null;
  return { gets: person.rate > 0 ? rate(person.rate) : "", sends: person.fromRate > 0 ? rate(person.fromRate) : "" };
}

/** The two lines at a person in the picture say the name and this. */
export function underName(person: PersonView): string {
  if (person.presence === "gone") return "not online";
  if (person.state === "connecting") return "connecting";
  const has = `${percent(held(person) * 1000, 1000)} %`;
  return person.state === "waiting" ? `${has}, waits` : has;
}

function doing(person: PersonView): string {
  switch (person.state) {
    case "connecting":
      return "Connecting";
    case "choosing":
      return "Looking at the list";
    case "receiving":
      return "Receiving";
    case "waiting":
      return "Waits for a turn";
    case "complete":
      return "Has everything";
    case "declined":
      return "Declined";
    case "cancelled":
      return "Cancelled";
    case "lost":
      return "Out of reach";
  }
}

/** A row of the table: what the picture shows of somebody, in words. */
export interface Facts {
  id: string;
  name: string;
  sharer: boolean;
  has: string;
  state: string;
  route: string;
  sends: string;
  gets: string;
}

export function factsOf(person: PersonView): Facts {
  const reached = person.route ? routeWords(person.route, person.through?.name).badge : "None";
  return {
    id: person.device.id,
    name: person.device.name,
    sharer: person.sharer,
    has: amount(person) === "nothing yet" ? "Nothing yet" : amount(person),
    state: doing(person),
    route: person.presence === "connected" ? reached : person.presence === "known" ? "Not connected to you" : "Not online now",
    sends: person.fromRate > 0 ? rate(person.fromRate) : "–",
    gets: person.rate > 0 ? rate(person.rate) : "–",
  };
}

const ORDER: Record<Presence, number> = { connected: 0, known: 1, gone: 2 };

/** Who is in the picture: everybody while there is room, then first those who
 * are connected, then those who are online; always in the order they came. */
export function inPicture(people: readonly PersonView[]): PersonView[] {
  if (people.length <= MOST) return [...people];
  const nearest = people.map((person, at) => ({ person, at })).sort((a, b) => ORDER[a.person.presence] - ORDER[b.person.presence] || a.at - b.at);
  return nearest
    .slice(0, MOST)
    .sort((a, b) => a.at - b.at)
    .map(({ person }) => person);
}

/** The picture in one sentence, for those who do not see it. */
export function pictureSentence(people: readonly PersonView[], here: number): string {
  const connected = people.filter(({ presence }) => presence === "connected");
  const whole = people.filter(({ state, presence }) => state === "complete" && presence !== "gone").length;
  const senders = connected.filter(({ fromRate }) => fromRate > 0).length;
  const getters = connected.filter(({ rate: to }) => to > 0).length;
  const said = [
    `You have ${percent(here * 1000, 1000)} % of it.`,
    people.length === 0
      ? "Nobody else is here yet."
      : `${count(people.length, "other person", "other people")}, ${connected.length.toLocaleString("en")} connected to you, ${whole.toLocaleString("en")} with all of it.`,
  ];
  if (senders > 0) said.push(`${count(senders, "person sends", "people send")} to you.`);
  if (getters > 0) said.push(`You send to ${count(getters, "person", "people")}.`);
  return said.join(" ");
}
