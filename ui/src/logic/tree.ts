// A share's list as a tree of folders, with what is open and what is chosen.
// Made for 100,000 entries: a folder sorts its children when it first opens,
// and choosing a folder walks only what is below it. Invariant: a folder's
// mark is always what its children's marks say. Pure.

import type { EntryView } from "../bindings/EntryView";
import type { Selection } from "../bindings/Selection";

/** Whether nothing, everything, or a part of a node is chosen. */
export type Mark = "none" | "all" | "some";

/** A file or folder in the tree. */
export interface Node {
  /** Its place in `Tree.nodes`. */
  id: number;
  name: string;
  /** The folder it is in, or -1 at the top. */
  parent: number;
  /** 1 at the top. */
  level: number;
  folder: boolean;
  executable: boolean;
  /** Bytes, for a folder of everything below it. */
  size: number;
  /** Files, for a folder of everything below it. */
  files: number;
  /** Its index in the manifest, or -1 for a folder that only paths name. */
  entry: number;
  children: number[];
  /** Its place among its siblings, from 1; known once they are sorted. */
  position: number;
  sorted: boolean;
  open: boolean;
  mark: Mark;
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

export class Tree {
  readonly nodes: Node[] = [];
  private readonly top: number[] = [];
  private topSorted = false;
  private shown: Node[] | null = null;
  private readonly folders = new Map<string, number>();

  constructor(entries: readonly EntryView[]) {
    for (const entry of entries) this.insert(entry);
    this.openSingleFolders();
  }

  /** The tree of a list that comes in parts: whatever else is to be done is done in between. */
  static async of(parts: AsyncIterable<readonly EntryView[]>): Promise<Tree> {
    const tree = new Tree([]);
    for await (const part of parts) for (const entry of part) tree.insert(entry);
    tree.openSingleFolders();
    return tree;
  }

  private at(id: number): Node {
    const node = this.nodes[id];
    if (!node) throw new RangeError(`no node ${id} in a tree of ${this.nodes.length}`);
    return node;
  }

  private insert(entry: EntryView): void {
    const path = entry.folder ? entry.path.replace(/\/+$/, "") : entry.path;
    const known = entry.folder ? this.folders.get(path) : undefined;
    if (known !== undefined) {
      this.at(known).entry = entry.index;
      return;
    }
    const cut = path.lastIndexOf("/");
    const parent = cut < 0 ? -1 : this.folderAt(path.slice(0, cut));
    const id = this.push(path.slice(cut + 1), parent, entry.folder);
    const node = this.at(id);
    node.entry = entry.index;
    node.executable = entry.executable;
    if (entry.folder) {
      this.folders.set(path, id);
      return;
    }
    for (let up: Node | undefined = node; up; up = this.nodes[up.parent]) {
      up.size += entry.size;
      up.files += 1;
    }
  }

  private folderAt(path: string): number {
    const known = this.folders.get(path);
    if (known !== undefined) return known;
    const cut = path.lastIndexOf("/");
    const parent = cut < 0 ? -1 : this.folderAt(path.slice(0, cut));
    const id = this.push(path.slice(cut + 1), parent, true);
    this.folders.set(path, id);
    return id;
  }

  private push(name: string, parent: number, folder: boolean): number {
    const id = this.nodes.length;
    const above = this.nodes[parent];
    this.nodes.push({
      id,
      name,
      parent,
      level: above ? above.level + 1 : 1,
      folder,
      executable: false,
      size: 0,
      files: 0,
      entry: -1,
      children: [],
      position: 0,
      sorted: false,
      open: false,
      mark: "all",
    });
    (above ? above.children : this.top).push(id);
    return id;
  }

  private openSingleFolders(): void {
    let level: readonly number[] = this.top;
    while (level.length === 1) {
      const only = this.nodes[level[0] ?? -1];
      if (!only?.folder) return;
      only.open = true;
      level = only.children;
    }
  }

  private sort(ids: number[]): void {
    ids.sort((a, b) => {
      const left = this.at(a);
      const right = this.at(b);
      if (left.folder !== right.folder) return left.folder ? -1 : 1;
      return collator.compare(left.name, right.name);
    });
    ids.forEach((id, at) => {
      this.at(id).position = at + 1;
    });
  }

  /** The ids in a folder, or at the top for -1, folders first, by name. */
  childrenOf(id: number): readonly number[] {
    if (id < 0) {
      if (!this.topSorted) this.sort(this.top);
      this.topSorted = true;
      return this.top;
    }
    const node = this.at(id);
    if (!node.sorted) this.sort(node.children);
    node.sorted = true;
    return node.children;
  }

  /** The rows to show, top to bottom. The same array until a folder opens or shuts. */
  visible(): readonly Node[] {
    if (this.shown) return this.shown;
    const rows: Node[] = [];
    const pending = [...this.childrenOf(-1)].reverse();
    for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
      const node = this.at(id);
      rows.push(node);
      if (node.open) {
        const children = this.childrenOf(id);
        for (let at = children.length - 1; at >= 0; at -= 1) pending.push(children[at] ?? 0);
      }
    }
    this.shown = rows;
    return rows;
  }

  setOpen(id: number, open: boolean): void {
    const node = this.at(id);
    if (!node.folder || node.open === open) return;
    node.open = open;
    this.shown = null;
  }

  /** Chooses a node with everything below it, or takes it out. */
  choose(id: number, chosen: boolean): void {
    const pending = [id];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const node = this.at(next);
      node.mark = chosen ? "all" : "none";
      for (const child of node.children) pending.push(child);
    }
    for (let up = this.at(id).parent; up >= 0; up = this.at(up).parent) {
      this.at(up).mark = this.markFrom(this.at(up).children);
    }
  }

  chooseAll(chosen: boolean): void {
    for (const node of this.nodes) node.mark = chosen ? "all" : "none";
  }

  private markFrom(children: readonly number[]): Mark {
    let all = true;
    let none = true;
    for (const child of children) {
      const { mark } = this.at(child);
      if (mark !== "all") all = false;
      if (mark !== "none") none = false;
      if (!all && !none) return "some";
    }
    return all ? "all" : "none";
  }

  /** The mark of the whole tree. */
  get mark(): Mark {
    return this.markFrom(this.top);
  }

  /** What is chosen: entries, files and bytes. */
  chosen(): { entries: number; files: number; bytes: number } {
    let entries = 0;
    let files = 0;
    let bytes = 0;
    for (const node of this.nodes) {
      if (node.mark !== "all") continue;
      if (node.entry >= 0) entries += 1;
      if (!node.folder) {
        files += 1;
        bytes += node.size;
      }
    }
    return { entries, files, bytes };
  }

  /** What to ask the engine for. */
  selection(): Selection {
    if (this.nodes.every((node) => node.mark === "all")) return { type: "all" };
    const entries: number[] = [];
    for (const node of this.nodes) {
      if (node.mark === "all" && node.entry >= 0) entries.push(node.entry);
    }
    return { type: "only", entries: entries.sort((a, b) => a - b) };
  }

  /** How many files would run a program when opened. */
  get executables(): number {
    let found = 0;
    for (const node of this.nodes) if (node.executable) found += 1;
    return found;
  }

  /** How many siblings a node has, itself included. */
  siblings(id: number): number {
    return this.childrenOf(this.at(id).parent).length;
  }
}
