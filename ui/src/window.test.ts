// The whole window on staged data: what it asks the engine for when a person
// does something, and what it shows for what the engine says.

import { flushSync, mount, unmount } from "svelte";
import { afterEach, describe, expect, it } from "vitest";
import { scenes } from "../gallery/scenes";
import { share, snapshot, transfer } from "../gallery/staged-views";
import { StagedBridge, type Scene } from "../gallery/staged-bridge";
import App from "./App.svelte";

let close: (() => void) | undefined;

afterEach(() => {
  close?.();
  close = undefined;
});

/** Lets everything that was promised and everything that changed settle. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 8; turn += 1) await Promise.resolve();
  flushSync();
}

async function open(scene: Scene | undefined): Promise<StagedBridge> {
  if (!scene) throw new Error("no such scene");
  const bridge = new StagedBridge(scene);
  const app = mount(App, { target: document.body, props: { bridge } });
  close = () => void unmount(app);
  flushSync();
  await settle();
  return bridge;
}

function find(testid: string): HTMLElement | null {
  return document.querySelector<HTMLElement>(`[data-testid="${testid}"]`);
}

function get(testid: string): HTMLElement {
  const element = find(testid);
  if (!element) throw new Error(`nothing is marked ${testid}`);
  return element;
}

async function click(testid: string): Promise<void> {
  get(testid).click();
  await settle();
}

async function press(target: Element, key: string, more: KeyboardEventInit = {}): Promise<void> {
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));
  await settle();
}

async function paste(text: string, types = ["text/plain"]): Promise<void> {
  const event = new Event("paste", { bubbles: true, cancelable: true });
  Object.assign(event, { clipboardData: { getData: () => text, types } });
  document.body.dispatchEvent(event);
  await settle();
}

function asked(bridge: StagedBridge, command: string): unknown[][] {
  return bridge.calls.filter(([name]) => name === command).map(([, ...args]) => args);
}

async function type(testid: string, text: string): Promise<void> {
  const field = get(testid) as HTMLInputElement;
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.dispatchEvent(new Event("change", { bubbles: true }));
  await settle();
}

describe("starting", () => {
  it("listens before it asks for the picture, so that nothing is missed", async () => {
    const bridge = await open(scenes.empty);
    expect(bridge.calls.slice(0, 2)).toEqual([["listen"], ["snapshot"]]);
  });

  it("keeps a change that came between the two", async () => {
    const scene = { snapshot: snapshot() };
    const bridge = new StagedBridge(scene);
    bridge.snapshot = () => {
      bridge.send({ type: "share", share: share() });
      return Promise.resolve(scene.snapshot);
    };
    const app = mount(App, { target: document.body, props: { bridge } });
    close = () => void unmount(app);
    await settle();
    expect(get("share-row").dataset.id).toBe(share().id);
  });

  it("shows two ways in and nothing else when there is nothing yet", async () => {
    await open(scenes.empty);
    expect(find("choose-files")).not.toBeNull();
    expect(find("paste-field")).not.toBeNull();
    expect(find("share-row")).toBeNull();
    expect(get("status-line").textContent).toContain("Quiet Heron");
  });
});

describe("pasting", () => {
  it("anywhere opens an invite", async () => {
    const bridge = await open(scenes.busy);
    await paste("  qk7m2 9xht4 w8dpn 3rcva\n");
    expect(asked(bridge, "openInvite")).toEqual([["qk7m2 9xht4 w8dpn 3rcva"]]);
  });

  it("keeps a mistyped code in the field and says what is wrong with it", async () => {
    await open(scenes.typo);
    await paste("QK7M2-9XHT4-W8DPN-3RCVB");
    expect((get("paste-field") as HTMLInputElement).value).toBe("QK7M2-9XHT4-W8DPN-3RCVB");
    expect(get("problem-message").textContent).toMatch(/typo.*copy and paste it whole/);
    expect(get("paste-field").getAttribute("aria-invalid")).toBe("true");
  });

  it("takes the message back once the text changes", async () => {
    await open(scenes.typo);
    await paste("QK7M2-9XHT4-W8DPN-3RCVB");
    await type("paste-field", "QK7M2-9XHT4-W8DPN-3RCVA");
    expect(find("problem-message")).toBeNull();
  });

  it("empties the field once the invite is open", async () => {
    await open({ snapshot: snapshot(), opened: { type: "transfer", id: "x" } });
    await type("paste-field", "QK7M2-9XHT4-W8DPN-3RCVA");
    await click("get-button");
    expect((get("paste-field") as HTMLInputElement).value).toBe("");
  });

  it("files shares them", async () => {
    const bridge = await open({ snapshot: snapshot(), pasted: "9c41f2d07be83a15" });
    await paste("", ["Files"]);
    expect(asked(bridge, "pasteFiles")).toEqual([[]]);
    expect(asked(bridge, "openInvite")).toEqual([]);
  });

  it("text that only looks like files is opened after all", async () => {
    const bridge = await open({ snapshot: snapshot(), pasted: null });
    await paste("/not/a/file");
    expect(asked(bridge, "openInvite")).toEqual([["/not/a/file"]]);
  });

  it("a reply code shows the answer code to send back", async () => {
    const bridge = await open(scenes.reply);
    await paste("a reply code");
    expect(get("reply-sheet").textContent).toContain("Calling Ben");
    await click("copy-answer-code");
    expect(asked(bridge, "copyText")).toEqual([[get("answer-code").textContent]]);
  });
});

describe("an offer", () => {
  it("opens the sheet by itself when it arrives", async () => {
    const bridge = await open(scenes.connecting);
    expect(find("accept-sheet")).toBeNull();
    bridge.send({ type: "transfer", transfer: transfer({ type: "offered" }) });
    await settle();
    expect(get("accept-sheet").textContent).toContain("Conference recordings");
  });

  it("is accepted with Enter, whole", async () => {
    const bridge = await open(scenes.offered);
    await press(get("tree"), "Enter");
    expect(asked(bridge, "accept")).toEqual([["1d6b3fa97c0e8842", { type: "all" }]]);
    expect(find("accept-sheet")).toBeNull();
  });

  it("is not accepted by a key that is merely held down", async () => {
    const bridge = await open(scenes.offered);
    await press(get("accept-button"), "Enter", { repeat: true });
    await press(get("tree"), "Enter", { repeat: true });
    expect(asked(bridge, "accept")).toEqual([]);
  });

  it("is declined with Esc", async () => {
    const bridge = await open(scenes.offered);
    await press(get("accept-button"), "Escape");
    expect(asked(bridge, "decline")).toEqual([["1d6b3fa97c0e8842"]]);
    expect(get("transfer-state").dataset.state).toBe("declined");
  });

  it("asks for what was chosen with the keyboard, and for nothing when nothing is", async () => {
    const bridge = await open({
      snapshot: snapshot({ transfers: [transfer({ type: "offered" })] }),
      entries: {
        "1d6b3fa97c0e8842": [
          { index: 0, path: "a.txt", size: 10, folder: false, executable: false },
          { index: 1, path: "b.exe", size: 10, folder: false, executable: true },
        ],
      },
    });
    await press(get("tree"), " ");
    expect(get("chosen").textContent).toContain("1 file chosen");
    await press(get("tree"), "ArrowDown");
    await press(get("tree"), " ");
    await press(get("tree"), "Enter");
    expect(asked(bridge, "accept")).toEqual([]);
    expect(get("chosen").textContent).toContain("Choose at least one file");
    await press(get("tree"), " ");
    await press(get("tree"), "Enter");
    expect(asked(bridge, "accept")).toEqual([["1d6b3fa97c0e8842", { type: "only", entries: [1] }]]);
  });

  it("can be taken out and put back whole", async () => {
    await open(scenes.offered);
    const marks = () => [...document.querySelectorAll("[role=treeitem]")].map((row) => row.getAttribute("aria-checked"));
    await click("choose-all");
    expect(new Set(marks())).toEqual(new Set(["false"]));
    expect(get("chosen").textContent).toContain("Choose at least one file");
    await click("choose-all");
    expect(new Set(marks())).toEqual(new Set(["true"]));
    expect(get("chosen").textContent).toContain("48 files chosen");
  });

  it("stays open with the reason when it cannot be accepted", async () => {
    const bridge = await open(scenes.offered);
    bridge.accept = () => Promise.reject({ code: "disk", message: "That folder is read-only.", remedy: "Choose another one." });
    await click("accept-button");
    expect(get("accept-sheet").textContent).toContain("That folder is read-only. Choose another one.");
  });

  it("says when it does not fit on the drive", async () => {
    await open(scenes["offered-full"]);
    expect(get("space").textContent).toMatch(/only 7\.6 GB is free/);
  });

  it("draws only the rows in view of a hundred thousand", async () => {
    await open(scenes["offered-many"]);
    const drawn = document.querySelectorAll("[data-testid=tree-row]").length;
    expect(drawn).toBeGreaterThan(0);
    expect(drawn).toBeLessThan(100);
  });
});

describe("a share", () => {
  it("shows its code and carries the whole link", async () => {
    await open(scenes["share-ready"]);
    expect(get("share-code").textContent).toBe(share().code);
    expect(get("share-link").dataset.link).toBe(share().link);
  });

  it("says in words whom the invite lets in, and changes that", async () => {
    const bridge = await open(scenes["share-ready"]);
    expect(get("audience-sentence").textContent).toMatch(/^Anyone who has the code/);
    await click("audience-onePerson");
    expect(asked(bridge, "setAudience")).toEqual([[share().id, "onePerson"]]);
    expect(get("audience-sentence").textContent).toMatch(/^The first person/);
  });

  it("that was stopped shows no invite any more", async () => {
    await open(scenes["share-ready"]);
    await click("stop-sharing");
    expect(get("share-state").dataset.state).toBe("stopped");
    expect(find("share-code")).toBeNull();
  });

  it("lists its people in place, and Esc shuts that again", async () => {
    await open(scenes["share-people"]);
    expect(find("person-row")).toBeNull();
    await click("details-button");
    const states = [...document.querySelectorAll<HTMLElement>("[data-testid=person-row]")].map((row) => row.dataset.state);
    expect(states).toEqual(["complete", "receiving", "choosing"]);
    await press(get("tree"), "Escape");
    expect(find("person-row")).toBeNull();
  });
});

describe("a transfer", () => {
  it("offers a reply code when nobody answers", async () => {
    await open(scenes.unanswered);
    expect(get("reply-code").textContent).toBe(scenes.unanswered?.replyCode);
  });

  it("that failed can be tried again only where that makes sense", async () => {
    const bridge = await open(scenes.ended);
    expect(document.querySelectorAll("[data-testid=retry-button]")).toHaveLength(1);
    await click("retry-button");
    expect(asked(bridge, "retry")).toEqual([["c"]]);
  });

  it("that is done shows its folder", async () => {
    const bridge = await open(scenes.done);
    await click("show-in-folder");
    expect(asked(bridge, "showInFolder")).toEqual([["1d6b3fa97c0e8842"]]);
  });

  it("tells screen readers when its state changes, and not when it only moves on", async () => {
    const bridge = await open(scenes.offered);
    await click("accept-button");
    const live = () => [...document.querySelectorAll("[role=status]")].map((each) => each.textContent).join("|");
    const said = live();
    expect(said).toContain("Coming in from Ana’s laptop");
    const progress = { bytes: 5e9, total: 12.6e9, files: 3, filesTotal: 48, rate: 84e6, secondsLeft: 90 };
    bridge.send({ type: "transfer", transfer: transfer({ type: "receiving", progress }) });
    await settle();
    expect(live()).toBe(said);
  });
});

describe("closing", () => {
  it("asks, says what is at stake, and closes only when told to", async () => {
    const bridge = await open(scenes.closing);
    bridge.window.closing({ sentences: ["Ben still needs 1.2 GB that only you have."] });
    await settle();
    expect(get("closing-sheet").textContent).toContain("Ben still needs 1.2 GB");
    await click("keep-open");
    expect(find("closing-sheet")).toBeNull();
    expect(asked(bridge, "quit")).toEqual([]);
    bridge.window.closing({ sentences: ["x"] });
    await settle();
    await click("close-anyway");
    expect(asked(bridge, "quit")).toEqual([[]]);
  });
});

describe("settings", () => {
  it("are kept as they change", async () => {
    const bridge = await open(scenes.settings);
    await click("settings-button");
    await click("lan");
    expect(asked(bridge, "saveSettings")).toEqual([[{ ...scenes.settings?.snapshot.settings, lan: false }]]);
  });

  it("do not keep a server that cannot be right", async () => {
    const bridge = await open(scenes.settings);
    await click("settings-button");
    await type("stun-url", "example.org");
    expect(asked(bridge, "saveSettings")).toEqual([]);
    expect(get("settings-page").textContent).toContain("Write it as stun:host:port");
  });

  it("rename the device, but never to nothing", async () => {
    const bridge = await open(scenes.settings);
    await click("settings-button");
    await type("device-name", "   ");
    expect(asked(bridge, "renameDevice")).toEqual([]);
    await type("device-name", "Calm Otter");
    expect(asked(bridge, "renameDevice")).toEqual([["Calm Otter"]]);
    expect(get("status-line").textContent).toContain("Calm Otter");
  });

  it("close with Esc", async () => {
    await open(scenes.settings);
    await click("settings-button");
    await press(document.body, "Escape");
    expect(find("settings-page")).toBeNull();
  });
});

it("shows where to drop while files hover over it", async () => {
  const bridge = await open(scenes.busy);
  bridge.window.hover(true);
  await settle();
  expect(find("drop-state")).not.toBeNull();
  bridge.window.hover(false);
  await settle();
  expect(find("drop-state")).toBeNull();
});

it("says a failure of the outside world above the list until it is closed", async () => {
  const bridge = await open(scenes.busy);
  bridge.window.problem({ code: "disk", message: "That folder cannot be read.", remedy: "Check who owns it." });
  await settle();
  expect(get("problem-message").textContent).toContain("Check who owns it.");
});

it("mounts every staged state", async () => {
  for (const scene of Object.values(scenes)) {
    await open(scene);
    expect(find("status-line")).not.toBeNull();
    close?.();
    close = undefined;
  }
});
