// What was shared and received, and how it ended, in words and by day. Pure.

import type { HistoryEntry } from "../bindings/HistoryEntry";
import { names } from "./format";
import { inSentence } from "./sentences";

/** The entries of one day, newest first. */
export interface Day {
  /** "Today", "Yesterday" or "12 September 2026". */
  title: string;
  entries: HistoryEntry[];
}

function dayNumber(at: number): number {
  const date = new Date(at);
  return Math.round(new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime() / 86_400_000);
}

function dayTitle(at: number, now: number): string {
  const ago = dayNumber(now) - dayNumber(at);
  if (ago === 0) return "Today";
  if (ago === 1) return "Yesterday";
  return new Date(at).toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric" });
}

/** "16:30", in the time of this place. */
export function timeOfDay(at: number): string {
  return new Date(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

/** The entries by day, newest first. */
export function byDay(entries: readonly HistoryEntry[], now: number): Day[] {
  const days: Day[] = [];
  for (const entry of [...entries].sort((a, b) => b.at - a.at)) {
    const title = dayTitle(entry.at, now);
    const last = days.at(-1);
    if (last?.title === title) last.entries.push(entry);
    else days.push({ title, entries: [entry] });
  }
  return days;
}

/** With whom, and how it ended. */
export function historySentence(entry: HistoryEntry): string {
  const people = entry.people.map(inSentence);
  const who = people.length > 0 ? names(people) : null;
  if (entry.direction === "received") return receivedSentence(entry, who);
  switch (entry.outcome) {
    case "delivered":
      return who ? `Sent to ${who} alone, and complete.` : "Sent to one person, and complete.";
    case "stopped":
      return who ? `${who} got it. You stopped sharing it.` : "Nobody got it before you stopped sharing it.";
    case "complete":
      return who ? `${who} got it.` : "Shared.";
    case "cancelled":
      return who ? `${who} did not take it.` : "Nobody took it.";
  }
}

function receivedSentence(entry: HistoryEntry, who: string | null): string {
  const from = who ?? "somebody";
  switch (entry.outcome) {
    case "complete":
    case "delivered":
      return `Received from ${from}, complete.`;
    case "stopped":
      return `From ${from}, who stopped sharing it before you had it all.`;
    case "cancelled":
      return `From ${from}. You did not take it all.`;
  }
}
