// What a paste means: text to open, or files to share. Pure.

/** Whether the clipboard holds files rather than an invite. File managers put
 * the files' addresses in as text too, so text alone does not settle it. */
export function looksLikeFiles(types: readonly string[], text: string): boolean {
  if (text.trim() === "") return true;
  if (types.includes("Files") || types.includes("text/uri-list") || types.includes("x-special/gnome-copied-files")) {
    return true;
  }
  const lines = text.trim().split(/\r?\n/);
  return lines.every((line) => /^(file:\/\/|\/[^/]|[A-Za-z]:\\)/.test(line));
}
