// How a person is drawn: one or two initials on a colour of their own that
// stays the same for the same device. Pure.

/** Hues that keep white initials readable (4.5:1) on both grounds. */
const COLOURS = ["#b3432b", "#9a5b00", "#4d7a12", "#0f7a5a", "#0b7285", "#2f63c9", "#7048c6", "#b0357f"] as const;

/** The colour of a device, from its id. */
export function colour(deviceId: string): string {
  let hash = 0;
  for (const char of deviceId) hash = (hash * 31 + char.charCodeAt(0)) >>> 0;
  return COLOURS[hash % COLOURS.length] ?? COLOURS[0];
}

/** "Quiet Heron" as "QH", "ben" as "B", a name without letters as "?". */
export function initials(name: string): string {
  const words = name.match(/[\p{L}\p{N}]+/gu) ?? [];
  const letters = words.filter((word) => word.length > 1 || words.length === 1).map((word) => [...word][0] ?? "");
  return letters.slice(0, 2).join("").toLocaleUpperCase() || "?";
}
