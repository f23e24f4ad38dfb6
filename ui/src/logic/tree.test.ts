import { describe, expect, it } from "vitest";
import type { EntryView } from "../bindings/EntryView";
import { manyEntries } from "../../gallery/staged-views";
import { Tree } from "./tree";

function file(index: number, path: string, size = 10, executable = false): EntryView {
  return { index, path, size, folder: false, executable };
}

function folder(index: number, path: string): EntryView {
  return { index, path, size: 0, folder: true, executable: false };
}

function names(tree: Tree): string[] {
  return tree.visible().map((node) => node.name);
}

function idOf(tree: Tree, name: string): number {
  const node = tree.nodes.find((each) => each.name === name);
  if (!node) throw new Error(`no ${name} in the tree`);
  return node.id;
}

const sample = () =>
  new Tree([
    file(0, "b.txt", 5),
    file(1, "trip/day 10/x.jpg", 100),
    file(2, "trip/day 2/y.jpg", 20),
    file(3, "trip/day 2/run.sh", 3, true),
    folder(4, "trip/empty"),
    file(5, "a.txt", 7),
  ]);

describe("building", () => {
  it("shows folders first, by name, numbers by value", () => {
    const tree = sample();
    tree.setOpen(idOf(tree, "trip"), true);
    expect(names(tree)).toEqual(["trip", "day 2", "day 10", "empty", "a.txt", "b.txt"]);
  });

  it("adds up sizes and files of folders that no entry names", () => {
    const tree = sample();
    const trip = tree.nodes[idOf(tree, "trip")];
    expect(trip?.size).toBe(123);
    expect(trip?.files).toBe(3);
  });

  it("keeps one node for a folder that is listed after its files", () => {
    const tree = new Tree([file(0, "d/x"), folder(1, "d")]);
    expect(tree.nodes.map((node) => node.name)).toEqual(["d", "x"]);
    expect(tree.nodes[0]?.entry).toBe(1);
  });

  it("opens the folder that holds everything", () => {
    expect(names(new Tree([file(0, "d/e/x"), file(1, "d/e/y")]))).toEqual(["d", "e", "x", "y"]);
  });

  it("knows each row's place among its siblings", () => {
    const tree = sample();
    tree.setOpen(idOf(tree, "trip"), true);
    const row = tree.visible().find((node) => node.name === "day 10");
    expect(row?.position).toBe(2);
    expect(row && tree.siblings(row.id)).toBe(3);
  });
});

describe("choosing", () => {
  it("begins with everything and asks for it all", () => {
    expect(sample().mark).toBe("all");
    expect(sample().selection()).toEqual({ type: "all" });
  });

  it("takes a folder out with everything below it", () => {
    const tree = sample();
    tree.choose(idOf(tree, "day 2"), false);
    expect(tree.nodes[idOf(tree, "run.sh")]?.mark).toBe("none");
    expect(tree.nodes[idOf(tree, "trip")]?.mark).toBe("some");
    expect(tree.selection()).toEqual({ type: "only", entries: [0, 1, 4, 5] });
  });

  it("marks a folder whole again when its last file comes back", () => {
    const tree = sample();
    tree.choose(idOf(tree, "y.jpg"), false);
    tree.choose(idOf(tree, "run.sh"), false);
    expect(tree.nodes[idOf(tree, "day 2")]?.mark).toBe("none");
    tree.choose(idOf(tree, "y.jpg"), true);
    expect(tree.nodes[idOf(tree, "day 2")]?.mark).toBe("some");
    tree.choose(idOf(tree, "run.sh"), true);
    expect(tree.mark).toBe("all");
  });

  it("counts what is chosen", () => {
    const tree = sample();
    tree.chooseAll(false);
    expect(tree.chosen()).toEqual({ entries: 0, files: 0, bytes: 0 });
    tree.choose(idOf(tree, "day 2"), true);
    expect(tree.chosen()).toEqual({ entries: 2, files: 2, bytes: 23 });
    tree.choose(idOf(tree, "empty"), true);
    expect(tree.chosen()).toEqual({ entries: 3, files: 2, bytes: 23 });
  });
});

describe("a hundred thousand entries", () => {
  it("open, choose and count in a fraction of a second", () => {
    const entries = manyEntries();
    const began = performance.now();
    const tree = new Tree(entries);
    for (const node of tree.nodes) if (node.folder) tree.setOpen(node.id, true);
    expect(tree.visible()).toHaveLength(100_401);
    tree.choose(idOf(tree, "box 7"), false);
    expect(tree.chosen().files).toBe(99_750);
    expect(performance.now() - began).toBeLessThan(5000);
  });

  it("are the same tree when they come in parts", async () => {
    const entries = manyEntries();
    async function* parts() {
      for (let from = 0; from < entries.length; from += 5000) yield entries.slice(from, from + 5000);
    }
    const tree = await Tree.of(parts());
    const whole = new Tree(entries);
    expect(tree.nodes).toEqual(whole.nodes);
    expect(tree.visible()).toEqual(whole.visible());
  });
});
