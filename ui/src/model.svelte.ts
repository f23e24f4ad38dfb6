// What the window knows: the engine's views, kept current by its events, and
// what the person is doing (the page, the text being pasted, the open sheet).
// The engine owns every share and transfer; nothing here changes one but by
// asking the bridge and waiting for the event.

import type { AtStake } from "./bindings/AtStake";
import type { Checkup } from "./bindings/Checkup";
import type { DeviceView } from "./bindings/DeviceView";
import type { EntryView } from "./bindings/EntryView";
import type { Event } from "./bindings/Event";
import type { Opened } from "./bindings/Opened";
import type { Problem } from "./bindings/Problem";
import type { Settings } from "./bindings/Settings";
import type { ShareState } from "./bindings/ShareState";
import type { ShareView } from "./bindings/ShareView";
import type { Totals } from "./bindings/Totals";
import type { TransferState } from "./bindings/TransferState";
import type { TransferView } from "./bindings/TransferView";
import { asProblem, type Bridge } from "./bridge";
import { safetySentence, shareSentence, speaksOfClosing, titleOf, transferSentence } from "./logic/sentences";
import { Tree } from "./logic/tree";

/** A row of the list. */
export type Row = { kind: "share"; share: ShareView } | { kind: "transfer"; transfer: TransferView };

/** How long a remark stays in the status line, milliseconds. */
const NOTICE_FOR = 6000;
/** Rates kept for the graph: one a second for a minute. */
const GRAPH_SECONDS = 60;
/** Parts of a state that change without anything having moved. */
const CLOCKS = new Set(["seconds", "secondsLeft", "rate"]);

export class Model {
  ready = $state(false);
  device = $state.raw<DeviceView>({ id: "", name: "" });
  settings = $state.raw<Settings | null>(null);
  totals = $state.raw<Totals>({ people: 0, up: 0, down: 0, carried: 0 });
  shares = $state.raw<readonly ShareView[]>([]);
  transfers = $state.raw<readonly TransferView[]>([]);

  page = $state<"list" | "settings" | "history" | "check">("list");
  /** What the connection check came to when it was last asked for. */
  checkup = $state.raw<Checkup | null>(null);
  checking = $state(false);
  /** What stands in the paste field. Kept until it was opened. */
  draft = $state("");
  opening = $state(false);
  pasteProblem = $state.raw<Problem | null>(null);
  problem = $state.raw<Problem | null>(null);
  notice = $state("");
  /** The last change of state, for screen readers only. */
  announcement = $state("");
  hovering = $state(false);
  closing = $state.raw<AtStake | null>(null);
  reply = $state.raw<Extract<Opened, { type: "reply" }> | null>(null);
  /** The transfer whose accept sheet is open. */
  deciding = $state<string | null>(null);
  /** The row to bring into view. */
  spotlight = $state<string | null>(null);
  /** The time, once a second. */
  now = $state(Date.now());
  /** Counts up whenever something ended or left the list: the history may have grown. */
  endings = $state(0);

  readonly rows: readonly Row[] = $derived.by(() => {
    const rows: Row[] = [
      ...this.shares.map((share) => ({ kind: "share", share }) as const),
      ...this.transfers.map((transfer) => ({ kind: "transfer", transfer }) as const),
    ];
    return rows.sort((a, b) => createdAt(b) - createdAt(a));
  });
  readonly allPaused = $derived(this.settings?.paused ?? false);
  readonly empty = $derived(this.shares.length === 0 && this.transfers.length === 0);
  readonly decidingTransfer = $derived(
    this.transfers.find(({ id, state }) => id === this.deciding && state.type === "offered") ?? null,
  );

  private checkedFrom: "list" | "settings" = "list";
  private noticeTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly moved = new Map<string, { mark: string; at: number }>();
  private readonly graphs = new Map<string, number[]>();

  constructor(readonly bridge: Bridge) {}

  /** Listens, then asks for the whole picture. Returns how to stop the clock. */
  start(): () => void {
    void this.connect();
    const clock = setInterval(() => this.tick(), 1000);
    return () => clearInterval(clock);
  }

  private async connect(): Promise<void> {
    let early: Event[] | null = [];
    try {
      await this.bridge.listen({
        event: (event) => (early ? early.push(event) : this.apply(event)),
        closing: (atStake) => (this.closing = atStake),
        notice: (text) => this.say(text),
        problem: (problem) => (this.problem = problem),
        hover: (over) => (this.hovering = over),
      });
      const snapshot = await this.bridge.snapshot();
      this.device = snapshot.device;
      this.settings = snapshot.settings;
      this.totals = snapshot.totals;
      this.shares = snapshot.shares;
      this.transfers = snapshot.transfers;
      for (const share of snapshot.shares) this.note(share.id, share.state);
      for (const transfer of snapshot.transfers) this.note(transfer.id, transfer.state);
      this.deciding = snapshot.transfers.find(({ state }) => state.type === "offered")?.id ?? null;
    } catch (reason) {
      this.problem = asProblem(reason);
    }
    const missed = early;
    early = null;
    for (const event of missed) this.apply(event);
    this.ready = true;
  }

  private apply(event: Event): void {
    switch (event.type) {
      case "share":
        this.shareChanged(event.share);
        break;
      case "transfer":
        this.transferChanged(event.transfer);
        break;
      case "shareRemoved":
        this.shares = this.shares.filter(({ id }) => id !== event.id);
        this.endings += 1;
        break;
      case "transferRemoved":
        this.transfers = this.transfers.filter(({ id }) => id !== event.id);
        this.graphs.delete(event.id);
        this.endings += 1;
        break;
      case "settings":
        this.settings = event.settings;
        break;
      case "device":
        this.device = event.device;
        break;
      case "totals":
        this.totals = event.totals;
        break;
      case "file":
        break;
    }
  }

  private shareChanged(share: ShareView): void {
    const before = this.shares.find(({ id }) => id === share.id);
    this.shares = replaced(this.shares, share);
    this.note(share.id, share.state);
    if (!before) this.spotlight = share.id;
    if (before && before.state.type !== share.state.type) this.endings += 1;
    if (!before || turn(before) !== turn(share)) {
      const safety = safetySentence(share.safety);
      this.announcement = `${share.name}: ${shareSentence(share, 0, this.allPaused).text}${safety ? ` ${safety.text}` : ""}`;
    }
  }

  private transferChanged(transfer: TransferView): void {
    const before = this.transfers.find(({ id }) => id === transfer.id);
    this.transfers = replaced(this.transfers, transfer);
    this.note(transfer.id, transfer.state);
    if (!before) this.spotlight = transfer.id;
    if (before?.state.type === transfer.state.type) {
      const turned = before.safety.type !== transfer.safety.type && speaksOfClosing(transfer);
      const safety = turned ? safetySentence(transfer.safety) : null;
      if (safety) this.announcement = `${titleOf(transfer)}: ${safety.text}`;
      return;
    }
    if (before) this.endings += 1;
    this.announcement = `${titleOf(transfer)}: ${transferSentence(transfer, 0, this.allPaused).text}`;
    if (transfer.state.type === "offered" && !this.decidingTransfer) this.deciding = transfer.id;
    if (this.deciding === transfer.id && transfer.state.type !== "offered") this.decideNext();
  }

  /** Remembers when something last moved. */
  private note(id: string, state: ShareState | TransferState): void {
    const mark = JSON.stringify(state, (key, value: unknown) => (CLOCKS.has(key) ? undefined : value));
    if (this.moved.get(id)?.mark !== mark) this.moved.set(id, { mark, at: Date.now() });
  }

  /** Whole seconds in which nothing about a row has moved. */
  idle(id: string): number {
    const at = this.moved.get(id)?.at ?? this.now;
    return Math.max(0, Math.floor((this.now - at) / 1000));
  }

  private tick(): void {
    this.now = Date.now();
    for (const { id, state } of this.transfers) {
      if (state.type !== "receiving" && state.type !== "stalled") continue;
      const graph = this.graphs.get(id) ?? [];
      graph.push(state.type === "receiving" ? state.progress.rate : 0);
      if (graph.length > GRAPH_SECONDS) graph.shift();
      this.graphs.set(id, graph);
    }
  }

  /** Bytes a second over the last minute, oldest first. */
  graph(id: string): readonly number[] {
    return this.now > 0 ? [...(this.graphs.get(id) ?? [])] : [];
  }

  /** The list of a share or transfer, part by part so that a long one holds nothing up. */
  list(id: string): Promise<Tree> {
    return Tree.of(this.parts(id));
  }

  private async *parts(id: string): AsyncGenerator<readonly EntryView[]> {
    for (let from = 0; ; ) {
      const part = await this.bridge.entries(id, from);
      if (part.length === 0) return;
      yield part;
      from += part.length;
    }
  }

  say(text: string): void {
    clearTimeout(this.noticeTimer);
    this.notice = text;
    this.noticeTimer = setTimeout(() => (this.notice = ""), NOTICE_FOR);
  }

  /** Looks whether others can reach this computer. */
  async check(): Promise<void> {
    if (this.checking) return;
    this.checking = true;
    await this.attempt(this.bridge.checkConnection().then((checkup) => (this.checkup = checkup)));
    this.checking = false;
  }

  /** Shows all that the connection check has to say. */
  showCheck(): void {
    this.checkedFrom = this.page === "settings" ? "settings" : "list";
    this.page = "check";
  }

  leaveCheck(): void {
    this.page = this.checkedFrom;
  }

  /** Pauses everything, or lets everything go on. */
  async pauseAll(paused: boolean): Promise<void> {
    if (!this.settings) return;
    const saved = await this.attempt(this.bridge.saveSettings({ ...this.settings, paused }));
    if (saved) this.say(paused ? "Everything is paused" : "Everything goes on");
  }

  /** Puts the link of something received on the clipboard. */
  async copyLink(link: string): Promise<void> {
    if (await this.attempt(this.bridge.copyText(link))) this.say("Invite copied");
  }

  /** Runs something the person asked for; a failure is shown above the list. */
  async attempt(work: Promise<unknown>): Promise<boolean> {
    try {
      await work;
      return true;
    } catch (reason) {
      this.problem = asProblem(reason);
      return false;
    }
  }

  /** Opens what stands in the paste field. The text stays until that worked. */
  async open(text: string): Promise<void> {
    this.draft = text;
    if (this.opening) return;
    this.opening = true;
    this.pasteProblem = null;
    try {
      const opened = await this.bridge.openInvite(text);
      if (this.draft === text) this.draft = "";
      this.page = "list";
      this.opened(opened);
    } catch (reason) {
      this.pasteProblem = asProblem(reason);
    } finally {
      this.opening = false;
    }
  }

  private opened(opened: Opened): void {
    switch (opened.type) {
      case "transfer":
        this.spotlight = opened.id;
        if (this.transfers.find(({ id }) => id === opened.id)?.state.type === "offered") this.deciding = opened.id;
        break;
      case "answer":
        this.spotlight = opened.id;
        this.say("Answer code taken. Making the connection…");
        break;
      case "reply":
        this.reply = opened;
        break;
    }
  }

  /** Shares the files in the clipboard, or says that it holds nothing useful. */
  async pasteFiles(fallback: string): Promise<void> {
    try {
      if ((await this.bridge.pasteFiles()) !== null) return;
      if (fallback.trim() !== "") return await this.open(fallback);
      this.say("The clipboard holds neither an invite nor files");
    } catch (reason) {
      this.problem = asProblem(reason);
    }
  }

  /** Opens the accept sheet of the next offer that waits, if any. */
  decideNext(): void {
    this.deciding =
      this.transfers.find(({ id, state }) => id !== this.deciding && state.type === "offered")?.id ?? null;
  }
}

/** People up to whom each one's state is announced; beyond, only whether all have it. */
const ANNOUNCED = 5;

/** What has to change about a share for it to be announced. Taking turns is no news. */
function turn({ state, paused, people, safety }: ShareView): string {
  const states = people.map(({ device, state: doing }) => device.id + (doing === "waiting" ? "receiving" : doing));
  const whole = people.every(({ state: doing }) => doing === "complete");
  return [state.type, paused, safety.type, people.length > ANNOUNCED ? whole : states].join();
}

function createdAt(row: Row): number {
  return row.kind === "share" ? row.share.createdAt : row.transfer.createdAt;
}

function replaced<T extends { id: string }>(all: readonly T[], changed: T): readonly T[] {
  return all.some(({ id }) => id === changed.id)
    ? all.map((each) => (each.id === changed.id ? changed : each))
    : [changed, ...all];
}
