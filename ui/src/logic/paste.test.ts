import { describe, expect, it } from "vitest";
import { looksLikeFiles } from "./paste";

describe("a paste", () => {
  it("without text, or with files, is files", () => {
    expect(looksLikeFiles([], "")).toBe(true);
    expect(looksLikeFiles(["text/plain", "Files"], "photo.jpg")).toBe(true);
    expect(looksLikeFiles(["text/plain", "text/uri-list"], "file:///home/heron/a.txt")).toBe(true);
    expect(looksLikeFiles(["text/plain"], "/home/heron/a.txt\n/home/heron/b.txt")).toBe(true);
    expect(looksLikeFiles(["text/plain"], "C:\\Users\\heron\\a.txt")).toBe(true);
  });

  it("with an invite is an invite, however messy", () => {
    expect(looksLikeFiles(["text/plain"], "  qk7m2 9xht4\nw8dpn-3rcva ")).toBe(false);
    expect(looksLikeFiles(["text/plain"], "passalong:QK7M29XHT4W8DPN3RCVA?a=192.0.2.1:47011")).toBe(false);
  });
});
