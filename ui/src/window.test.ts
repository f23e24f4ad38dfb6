// The whole window on staged data: what it asks the engine for when a person
// does something, and what it shows for what the engine says.

import { flushSync, mount, unmount } from "svelte";
import { afterEach, describe, expect, it } from "vitest";
import { scenes } from "../gallery/scenes";
import { share, snapshot, transfer, trying } from "../gallery/staged-views";
import { green, red } from "../gallery/waiting-scenes";
import { StagedBridge, type Scene } from "../gallery/staged-bridge";
import App from "./App.svelte";

let close: (() => void) | undefined;

afterEach(() => {
  close?.();
  close = undefined;
});

/** Lets everything that was promised and everything that changed settle. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 32; turn += 1) await Promise.resolve();
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

  it("is accepted with Enter after a click beside everything, which gives the dialog the focus", async () => {
    const bridge = await open(scenes.offered);
    await press(get("accept-sheet"), "Enter");
    expect(asked(bridge, "accept")).toHaveLength(1);
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
  it("that waits makes a reply code when it is asked for, and no sooner", async () => {
    const bridge = await open(scenes.waiting);
    expect(get("transfer-sentence").textContent).toBe("Waiting for somebody who has it: starts by itself.");
    expect(asked(bridge, "replyCode")).toEqual([]);
    await click("reply-button");
    expect(get("reply-code").textContent).toBe(scenes.waiting?.replyCode);
    expect(asked(bridge, "replyCode")).toHaveLength(1);
  });

  it("makes a new reply code when the last one does not work any more", async () => {
    const bridge = await open(scenes["waiting-reply"]);
    await click("reply-button");
    expect(find("reply-renewed")).toBeNull();
    const [shown] = bridge.scene.snapshot.transfers;
    if (!shown) throw new Error("no transfer");
    bridge.send({ type: "transfer", transfer: { ...shown, state: { type: "waiting", carriers: trying, seconds: 90 } } });
    await settle();
    expect(asked(bridge, "replyCode")).toHaveLength(2);
    get("reply-renewed");
  });

  it("that waits shows what the connection check found and the reply code beside it", async () => {
    const bridge = await open(scenes["waiting-red"]);
    expect(asked(bridge, "checkConnection"), "it looks only when asked").toEqual([]);
    await click("check-button");
    expect(asked(bridge, "checkConnection")).toHaveLength(1);
    expect(get("light").dataset.level).toBe("bad");
    expect(get("finding").dataset.topic).toBe("internet");
    expect(get("finding").textContent).toContain("What to do:");
    get("reply-button");
    await click("check-more");
    expect(document.querySelectorAll("[data-testid=finding]")).toHaveLength(red.findings.length);
    await press(document.body, "Escape");
    get("transfer-row");
  });

  it("offers the check also where somebody answered and no connection comes up", async () => {
    await open(scenes["no-way-through"]);
    await click("check-button");
    expect(get("check-summary").textContent).toBe(red.summary);
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

describe("the connection check", () => {
  it("looks when asked, says its light in words, and goes back to where it was opened", async () => {
    const bridge = await open(scenes["check-green"]);
    await click("settings-button");
    await click("open-check");
    expect(asked(bridge, "checkConnection")).toEqual([]);
    await click("check-now");
    expect(get("check-summary").textContent).toBe(`Green ${green.summary}`);
    expect(document.querySelectorAll("[data-testid=finding]")).toHaveLength(green.findings.length);
    await click("check-back");
    get("settings-page");
  });

  it("cannot be asked for twice at once", async () => {
    const bridge = await open(scenes["check-new"]);
    await click("settings-button");
    await click("open-check");
    await click("check-now");
    get("check-running");
    expect((get("check-now") as HTMLButtonElement).disabled).toBe(true);
    await click("check-now");
    expect(asked(bridge, "checkConnection")).toHaveLength(1);
  });
});

describe("who has what", () => {
  const rows = () => [...document.querySelectorAll("[data-testid=who-row]")].map((row) => [...row.children].map((cell) => cell.textContent));

  it("is drawn with everybody in it, and lines only to those who are connected", async () => {
    await open(scenes["who-fifty"]);
    await click("details-button");
    expect(document.querySelectorAll("[data-testid=circle-person]")).toHaveLength(50);
    const people = scenes["who-fifty"]?.snapshot.transfers[0]?.people ?? [];
    const connected = people.filter(({ presence }) => presence === "connected");
    const lines = (kind: string) => document.querySelectorAll(`[data-kind=${kind}]`).length;
    expect(lines("from")).toBe(connected.filter(({ fromRate }) => fromRate > 0).length);
    expect(lines("to")).toBe(connected.filter(({ rate }) => rate > 0).length);
    expect(lines("idle")).toBe(connected.filter(({ rate, fromRate }) => rate + fromRate === 0).length);
    expect(get("circle").getAttribute("aria-label")).toMatch(/^You have 62 % of it\. 50 other people/);
  });

  it("is there as a table with the same facts, and back again", async () => {
    await open(scenes["pieces-ten"]);
    await click("details-button");
    await click("as-table");
    expect(find("circle")).toBeNull();
    expect(rows()).toEqual([
      ["You", "50 %", "Has part of it", "This computer", "–", "–"],
      ["Ana’s laptop, who shares it", "12.6 GB", "Has everything", "Same network", "84 MB/s", "–"],
      ["Ben", "3.8 of 12.6 GB", "Receiving", "Direct", "–", "6.0 MB/s"],
    ]);
    await click("as-table");
    expect(find("circle")).not.toBeNull();
  });

  it("keeps everybody in the table when there are more than can be drawn", async () => {
    await open(scenes["who-crowd"]);
    await click("details-button");
    expect(document.querySelectorAll("[data-testid=circle-person]")).toHaveLength(60);
    expect(get("not-drawn").textContent).toBe("80 more are in the table");
    await click("as-table");
    expect(rows()).toHaveLength(141);
  });

  it("draws ten pieces one by one and a hundred thousand as stretches", async () => {
    await open(scenes["pieces-ten"]);
    await click("details-button");
    expect(document.querySelectorAll("[data-level]")).toHaveLength(10);
    expect(get("copies-sentence").textContent).toMatch(/^1 of 10 pieces is with nobody/);
    close?.();
    await open(scenes["who-fifty"]);
    await click("details-button");
    const stretches = document.querySelectorAll("[data-level]").length;
    expect(stretches).toBeGreaterThan(1);
    expect(stretches).toBeLessThanOrEqual(240);
    expect(get("strip").textContent).toContain("100,000 pieces");
  });

  it("lists people with what flows each way and who waits", async () => {
    await open(scenes["passing-on"]);
    await click("details-button");
    const people = [...document.querySelectorAll<HTMLElement>("[data-testid=person-row]")];
    expect(people.map((row) => [row.dataset.state, row.dataset.presence])).toEqual([
      ["complete", "gone"],
      ["receiving", "connected"],
      ["waiting", "connected"],
    ]);
    expect(people[0]?.textContent).toContain("Shares it");
    expect(people[1]?.textContent).toMatch(/Gets from you\s+9\.0 MB\/s/);
    expect(people[2]?.textContent).toContain("waits for a turn");
  });
});

describe("what closing would mean", () => {
  it("stands on the row, and nothing does while nobody wants anything", async () => {
    await open(scenes.safe);
    expect(get("safety").textContent.trim()).toBe("Safe to close: Ben and Cleo’s desktop have complete copies.");
    close?.();
    await open(scenes["who-solo"]);
    expect(find("safety")).toBeNull();
  });

  it("is told to screen readers when it turns, and not with every byte", async () => {
    const bridge = await open(scenes["only-you"]);
    const live = () => [...document.querySelectorAll("[role=status]")].map((each) => each.textContent).join("|");
    const view = bridge.scene.snapshot.shares[0];
    if (!view) throw new Error("nothing is shared");
    bridge.send({ type: "share", share: { ...view, safety: { type: "onlyYou", bytes: 1e9, percent: 24 } } });
    await settle();
    expect(live()).not.toContain("Keep open");
    bridge.send({ type: "share", share: { ...view, safety: { type: "safeTogether" } } });
    await settle();
    expect(live()).toContain("Safe to close: the others have every piece between them.");
  });

  it("is safe for the others is not said while one's own files are on their way", async () => {
    await open(scenes["who-twelve"]);
    expect(scenes["who-twelve"]?.snapshot.transfers[0]?.safety.type).toBe("safeTogether");
    expect(find("safety")).toBeNull();
    close?.();
    await open(scenes["passing-on"]);
    expect(get("safety").textContent).toContain("Keep open: you are the only one with 20 % of it");
  });

  it("is told of what is being received, too", async () => {
    const bridge = await open(scenes["who-twelve"]);
    const view = bridge.scene.snapshot.transfers[0];
    if (!view) throw new Error("nothing is received");
    bridge.send({ type: "transfer", transfer: { ...view, safety: { type: "onlyYou", bytes: 1e9, percent: 8 } } });
    await settle();
    const live = [...document.querySelectorAll("[role=status]")].map((each) => each.textContent).join("|");
    expect(live).toContain("Conference recordings: Keep open: you are the only one with 8 % of it (1.0 GB).");
  });
});

describe("pausing", () => {
  it("one share and letting it go on", async () => {
    const bridge = await open(scenes["share-people"]);
    expect(get("pause-button").getAttribute("aria-label")).toBe("Pause Holiday photos");
    await click("pause-button");
    expect(get("share-sentence").textContent).toMatch(/^You paused this/);
    await click("resume-button");
    expect([asked(bridge, "pause"), asked(bridge, "resume")]).toEqual([[[share().id]], [[share().id]]]);
    expect(find("pause-button")).not.toBeNull();
  });

  it("one transfer keeps its progress in view", async () => {
    const bridge = await open(scenes.receiving);
    await click("pause-button");
    expect(asked(bridge, "pause")).toEqual([[transfer({ type: "offered" }).id]]);
    expect(get("transfer-state").dataset.state).toBe("paused");
    expect(get("transfer-progress").textContent).toContain("62 %");
    expect(get("transfer-progress").textContent).not.toContain("MB/s");
  });

  it("everything is said in the status line and on the rows, and one button ends it", async () => {
    const bridge = await open(scenes.busy);
    await click("pause-all");
    expect(asked(bridge, "saveSettings")).toEqual([[{ ...scenes.busy?.snapshot.settings, paused: true }]]);
    expect(get("resume-all").textContent).toContain("Everything is paused: resume");
    expect(get("share-sentence").textContent).toMatch(/^Everything is paused/);
    expect(find("pause-button")).toBeNull();
    await click("resume-all");
    expect(asked(bridge, "saveSettings")[1]).toEqual([scenes.busy?.snapshot.settings]);
    expect(find("pause-button")).not.toBeNull();
  });

  it("is not offered for what does not move", async () => {
    await open(scenes.ended);
    expect(find("pause-button")).toBeNull();
    close?.();
    await open({ snapshot: snapshot({ shares: [share({ state: { type: "stopped" } })] }) });
    expect(find("pause-button")).toBeNull();
  });
});

describe("passing on", () => {
  const one = (passingOn: boolean): Scene => ({
    snapshot: snapshot({ transfers: [transfer({ type: "done", files: 1, bytes: 1, alreadyHere: 0, seconds: 1 }, { passingOn })] }),
  });

  it("is said of what arrived, and can be ended and begun again", async () => {
    const bridge = await open(one(true));
    expect(get("passing").textContent).toBe("Passed on to whoever has the invite while Passalong is open.");
    await click("stop-passing");
    expect(get("passing").dataset.passing).toBe("false");
    expect(find("copy-link")).toBeNull();
    await click("pass-on");
    expect(get("passing").dataset.passing).toBe("true");
    expect([asked(bridge, "stopPassing"), asked(bridge, "passOn")]).toEqual([[["1d6b3fa97c0e8842"]], [["1d6b3fa97c0e8842"]]]);
  });

  it("is over once the sharer stopped the share", async () => {
    await open(scenes["passing-stopped"]);
    expect(get("passing").textContent).toMatch(/^Ana’s laptop stopped sharing this\. .* your copy is yours to keep\.$/);
    expect(find("pass-on")).toBeNull();
    expect(find("copy-link")).toBeNull();
  });

  it("copies a link that leads here", async () => {
    const bridge = await open(one(true));
    await click("copy-link");
    expect(asked(bridge, "copyText")).toEqual([[transfer({ type: "offered" }).link]]);
    expect(get("status-line").textContent).toContain("Invite copied");
  });

  it("ends for nobody who has it: that is said before a share is stopped", async () => {
    await open(scenes["share-ready"]);
    const described = get("stop-sharing").getAttribute("aria-describedby");
    expect(document.getElementById(described ?? "")?.textContent).toBe("Nobody new can get it. Whoever has it keeps it.");
    expect(get("stop-sharing").title).toBe("Nobody new can get it. Whoever has it keeps it.");
  });
});

describe("the history", () => {
  const entries = () => [...document.querySelectorAll<HTMLElement>("[data-testid=history-entry]")];

  it("lists what is over, and arrow keys go through it", async () => {
    await open(scenes.history);
    await click("history-button");
    expect(entries().map(({ dataset }) => [dataset.direction, dataset.outcome])).toEqual([
      ["shared", "stopped"],
      ["received", "complete"],
      ["shared", "delivered"],
      ["shared", "stopped"],
      ["received", "cancelled"],
      ["received", "stopped"],
    ]);
    const [first, second] = entries();
    if (!first || !second) throw new Error("nothing is listed");
    first.focus();
    await press(first, "ArrowDown");
    expect(document.activeElement).toBe(second);
    await press(second, "End");
    expect(document.activeElement).toBe(entries().at(-1));
    expect(entries().filter(({ tabIndex }) => tabIndex === 0)).toHaveLength(1);
  });

  it("is cleared only after a second word, which Esc takes back", async () => {
    const bridge = await open(scenes.history);
    await click("history-button");
    await click("clear-history");
    expect(document.activeElement).toBe(get("keep-history"));
    await press(get("keep-history"), "Escape");
    expect(find("clear-history-now")).toBeNull();
    expect(find("history-page")).not.toBeNull();
    expect(document.activeElement).toBe(get("clear-history"));
    await click("clear-history");
    await click("clear-history-now");
    expect(asked(bridge, "clearHistory")).toEqual([[]]);
    expect(find("history-empty")).not.toBeNull();
    expect(document.activeElement).toBe(get("history-back"));
  });

  it("says that it is empty, and Esc leaves it", async () => {
    await open(scenes["history-empty"]);
    await click("history-button");
    expect(get("history-empty").textContent).toContain("Nothing here yet");
    expect(find("clear-history")).toBeNull();
    await press(document.body, "Escape");
    expect(find("history-page")).toBeNull();
  });

  it("says why it cannot be shown", async () => {
    const bridge = await open(scenes.history);
    bridge.history = () => Promise.reject({ code: "disk", message: "The history cannot be read.", remedy: "Open Passalong again." });
    await click("history-button");
    expect(get("problem-message").textContent).toContain("The history cannot be read. Open Passalong again.");
  });

  it("grows while it is open", async () => {
    const bridge = await open(scenes.busy);
    await click("history-button");
    expect(asked(bridge, "history")).toHaveLength(1);
    bridge.send({ type: "shareRemoved", id: share().id });
    await settle();
    expect(asked(bridge, "history")).toHaveLength(2);
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
    await click("dht");
    expect(asked(bridge, "saveSettings").at(-1)).toMatchObject([{ dht: false }]);
    await click("port-mapping");
    expect(asked(bridge, "saveSettings").at(-1)).toMatchObject([{ portMapping: false }]);
    await click("carry");
    expect(asked(bridge, "saveSettings").at(-1)).toMatchObject([{ carry: true }]);
  });

  it("do not keep a server that cannot be right", async () => {
    const bridge = await open(scenes.settings);
    await click("settings-button");
    await type("stun-url", "example.org");
    expect(asked(bridge, "saveSettings")).toEqual([]);
    expect(get("settings-page").textContent).toContain("Write it as stun:host:port");
  });

  it("take limits with their unit, and say what is wrong with one without", async () => {
    const bridge = await open(scenes.settings);
    await click("settings-button");
    await type("upload-limit", "5");
    expect(get("upload-limit-wrong").textContent).toMatch(/^5 of what\?/);
    expect(asked(bridge, "saveSettings")).toEqual([]);
    await type("upload-limit", "20 mbit/s");
    expect(find("upload-limit-wrong")).toBeNull();
    expect((get("upload-limit") as HTMLInputElement).value).toBe("2.5 MB/s");
    await type("upload-limit", "");
    expect(asked(bridge, "saveSettings").map(([kept]) => (kept as { uploadLimit: number | null }).uploadLimit)).toEqual([2_500_000, null]);
  });

  it("take how many people are sent to at once, and whether what arrived is passed on", async () => {
    const bridge = await open(scenes.settings);
    await click("settings-button");
    await type("upload-slots", "0");
    expect(get("upload-slots-wrong").textContent).toBe("Write a number from 1 to 100.");
    await type("upload-slots", "3");
    await click("pass-on-received");
    const before = scenes.settings?.snapshot.settings;
    expect(asked(bridge, "saveSettings")).toEqual([[{ ...before, uploadSlots: 3 }], [{ ...before, uploadSlots: 3, passOn: false }]]);
  });

  it("take whether other traffic goes first", async () => {
    const bridge = await open(scenes.settings);
    await click("settings-button");
    await click("background");
    const before = scenes.settings?.snapshot.settings;
    expect(asked(bridge, "saveSettings")).toEqual([[{ ...before, background: true }]]);
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

it.each(Object.keys(scenes))("the staged state %s mounts, opens, and is in words for people", async (name) => {
  await open(scenes[name]);
  expect(find("status-line")).not.toBeNull();
  for (const button of document.querySelectorAll<HTMLElement>("[data-testid=details-button]")) button.click();
  await settle();
  expect(document.body.textContent).not.toMatch(/undefined|NaN|\bswarm|\bpeers?\b|\bseed|\bnodes?\b/i);
});
