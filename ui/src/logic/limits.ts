// Limits on sending and fetching, as people write them: "5 MB/s", "800 kB/s",
// "20 Mbit/s". Pure.

/** What somebody wrote: a limit in bytes a second, none, or why it is neither. */
export type Limit = { type: "limit"; bytes: number } | { type: "none" } | { type: "wrong"; why: string };

const LEAST = 1000;
const MOST = 1e12;
const EXAMPLE = "for example 5 MB/s or 800 kB/s. Leave it empty for no limit.";

const UNITS: Record<string, number> = { k: 1e3, m: 1e6, g: 1e9 };

/** Reads a limit. Bytes or bits, in decimal units; a comma counts as a point. */
export function readLimit(text: string): Limit {
  const wanted = text.trim().replace(/\s+/g, " ");
  if (wanted === "" || /^(no limit|none|off)$/i.test(wanted)) return { type: "none" };
  const match = /^(\d+(?:[.,]\d+)?) ?(?:([kmg])(b|byte|bytes|bit)(?: ?(?:\/|per )? ?(?:s|sec|second))?|([kmg])(bps))?$/i.exec(wanted);
  if (!match) return { type: "wrong", why: `Write a number and a unit, ${EXAMPLE}` };
  const [, digits = "", prefix = match[4], kind = match[5]] = match;
  if (prefix === undefined || kind === undefined) return { type: "wrong", why: `${digits} of what? Add a unit, ${EXAMPLE}` };
  const bits = kind.toLowerCase().startsWith("bit") || kind.toLowerCase() === "bps";
  const bytes = Math.round((Number(digits.replace(",", ".")) * (UNITS[prefix.toLowerCase()] ?? 1)) / (bits ? 8 : 1));
  if (bytes < LEAST) return { type: "wrong", why: "That is too little to get anywhere: 1 kB/s is the least. To stop for a while, pause instead." };
  if (bytes > MOST) return { type: "wrong", why: "That is more than any line carries. Leave it empty for no limit." };
  return { type: "limit", bytes };
}

/** A limit as somebody would write it, to the digit; empty when there is none. */
export function limitText(bytes: number | null): string {
  if (bytes === null) return "";
  const power = bytes >= 1e9 ? 3 : bytes >= 1e6 ? 2 : 1;
  return `${Number((bytes / 1000 ** power).toFixed(3))} ${["", "kB", "MB", "GB"][power]}/s`;
}

/** Reads how many people to send to at once. */
export function readSlots(text: string): { type: "slots"; slots: number } | { type: "wrong"; why: string } {
  const wanted = text.trim();
  const slots = /^\d{1,4}$/.test(wanted) ? Number(wanted) : 0;
  return slots >= 1 && slots <= 100 ? { type: "slots", slots } : { type: "wrong", why: "Write a number from 1 to 100." };
}
