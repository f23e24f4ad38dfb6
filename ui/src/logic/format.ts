// Numbers as people read them: decimal units, few digits, rounded so that a
// figure that changes ten times a second stays calm. Pure.

const UNITS = ["bytes", "kB", "MB", "GB", "TB", "PB"] as const;

function unitOf(bytes: number): number {
  let unit = 0;
  // 999.5 kB would print as "1000 kB": it is 1.0 MB.
  while (unit < UNITS.length - 1 && bytes >= (unit === 0 ? 1000 : 999.5) * 1000 ** unit) {
    unit += 1;
  }
  return unit;
}

/** One decimal below 100, as in "4.2" and "12.6"; whole numbers above. */
function inUnit(bytes: number, unit: number): string {
  const value = bytes / 1000 ** unit;
  return unit > 0 && value < 99.95 ? value.toFixed(1) : Math.round(value).toString();
}

/** The same, without a decimal that says nothing: "40" for 40.0. */
function settled(bytes: number, unit: number): string {
  return inUnit(bytes, unit).replace(/^(\d\d+)\.0$/, "$1");
}

/** `4_200_000_000` as "4.2 GB". */
export function size(bytes: number): string {
  if (bytes === 1) return "1 byte";
  const unit = unitOf(bytes);
  return `${settled(bytes, unit)} ${UNITS[unit]}`;
}

/** How much of how much: "1.2 of 4.2 GB", and "41.3 MB of 4.2 GB" while it is
 * less than one of the whole's units. */
export function sizeOf(done: number, total: number): string {
  const unit = unitOf(total);
  const part = Math.min(done, total);
  if (part > 0 && unitOf(part) < unit) return `${size(part)} of ${size(total)}`;
  return `${part === 0 ? "0" : inUnit(part, unit)} of ${settled(total, unit)} ${UNITS[unit]}`;
}

/** Bytes a second as "84 MB/s": whole from ten up, so that it stays calm. */
export function rate(bytesPerSecond: number): string {
  if (bytesPerSecond === 0) return "0 kB/s";
  const unit = Math.max(1, unitOf(bytesPerSecond));
  const value = bytesPerSecond / 1000 ** unit;
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}/s`;
}

/** "1 file", "312 files", "100,000 files". */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

/** Whole per cent; 100 only when everything is there. */
export function percent(done: number, total: number): number {
  if (total <= 0) return done >= total ? 100 : 0;
  if (done >= total) return 100;
  return Math.min(99, Math.floor((done / total) * 100));
}

/** Time left, rounded as somebody would say it: "about 2 minutes". */
export function timeLeft(seconds: number): string {
  if (seconds < 8) return "a few seconds";
  if (seconds < 58) return `about ${Math.round(seconds / 5) * 5} seconds`;
  const minutes = Math.round(seconds / 60);
  if (minutes <= 1) return "about a minute";
  if (minutes < 58) return `about ${minutes <= 10 ? minutes : Math.round(minutes / 5) * 5} minutes`;
  const hours = Math.round(seconds / 3600);
  if (hours <= 1) return "about an hour";
  if (hours < 24) return `about ${hours} hours`;
  return "more than a day";
}

/** Time that went by: "0.4 s", "50 s", "4 min 10 s", "2 h 5 min". */
export function elapsed(seconds: number): string {
  if (seconds < 0.95) return `${Math.max(0.1, seconds).toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
}

/** "Ben", "Ben and Cleo", "Ben, Cleo and 3 others". */
export function names(all: readonly string[]): string {
  const [first = "", second = "", third = ""] = all;
  switch (all.length) {
    case 0:
    case 1:
      return first;
    case 2:
      return `${first} and ${second}`;
    case 3:
      return `${first}, ${second} and ${third}`;
    default:
      return `${first}, ${second} and ${all.length - 2} others`;
  }
}

/** The last part of a folder's path, to name it in a sentence. */
export function folderName(path: string): string {
  const parts = path.split(/[\\/]+/).filter((part) => part !== "");
  return parts.at(-1) ?? path;
}
