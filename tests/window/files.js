// Files to hand over, and the comparison of what arrived with what was sent.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, readdir, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Makes a folder with everything in it that is easily lost on the way. */
export async function makeHoliday(parent) {
  const folder = join(parent, "Holiday photos");
  await mkdir(join(folder, "2024", "Île d'Yeu"), { recursive: true });
  await mkdir(join(folder, "nothing in here"));
  await writeFile(join(folder, "empty.txt"), "");
  await writeFile(join(folder, "notes.txt"), "Bring the big towel.\n");
  await writeFile(join(folder, "2024", "Île d'Yeu", "日本語 🏖 résumé.jpg"), randomBytes(3 * 1024 * 1024 + 17));
  await writeFile(join(folder, "2024", "exactly a piece.raw"), randomBytes(1024 * 1024));
  const then = new Date("2001-02-03T04:05:06Z");
  await utimes(join(folder, "notes.txt"), then, then);
  return folder;
}

/** Makes one file. */
export async function makeFile(parent, name, content = "Just a note.\n") {
  const file = join(parent, name);
  await writeFile(file, content);
  return file;
}

/** Makes a folder of small files, a hundred to a folder. */
export async function makeManyFiles(parent, files) {
  const folder = join(parent, "Very many");
  for (let made = 0; made < files; made += 100) {
    const inner = join(folder, `folder ${made / 100}`);
    await mkdir(inner, { recursive: true });
    const names = Array.from({ length: Math.min(100, files - made) }, (_, at) => join(inner, `file ${at}.bin`));
    await Promise.all(names.map((name, at) => writeFile(name, Buffer.alloc(4096, `${made + at} `))));
  }
  return folder;
}

/** Makes a file too large to pass within a moment; it takes no room on disk. */
export async function makeLargeFile(parent, name, bytes = 1_000_000_000) {
  const path = join(parent, name);
  const file = await open(path, "w");
  await file.truncate(bytes);
  await file.close();
  return path;
}

/** Fails unless both folders hold the same names, bytes and modified times. */
export async function assertSame(sent, received) {
  const [wanted, got] = [await contents(sent), await contents(received)];
  assert.deepEqual([...got.keys()], [...wanted.keys()]);
  for (const [path, entry] of wanted) assert.deepEqual(got.get(path), entry, path);
}

/** What is under a folder, by relative path; hidden partial files too. */
async function contents(folder) {
  const found = new Map();
  for (const path of (await readdir(folder, { recursive: true })).sort()) {
    const full = join(folder, path);
    const { mtime, ...about } = await stat(full);
    const isFolder = (about.mode & 0o170000) === 0o040000;
    const modified = Math.floor(mtime.getTime() / 1000);
    found.set(path, isFolder ? "folder" : { modified, content: (await readFile(full)).toString("base64") });
  }
  return found;
}
