// A bridge without an engine behind it: answers from a scene, notes every call,
// and lets the scene or a test send events. Not a simulation: it does only as
// much as is needed to show a state and to see what the window asks for.

import type { AtStake } from "../src/bindings/AtStake";
import type { Audience } from "../src/bindings/Audience";
import type { Checkup } from "../src/bindings/Checkup";
import type { EntryView } from "../src/bindings/EntryView";
import type { Event } from "../src/bindings/Event";
import type { HistoryEntry } from "../src/bindings/HistoryEntry";
import type { Opened } from "../src/bindings/Opened";
import type { Problem } from "../src/bindings/Problem";
import type { Selection } from "../src/bindings/Selection";
import type { Settings } from "../src/bindings/Settings";
import type { Snapshot } from "../src/bindings/Snapshot";
import type { TransferState } from "../src/bindings/TransferState";
import type { TransferView } from "../src/bindings/TransferView";
import type { Bridge, Listener } from "../src/bridge";

/** What a window is shown with. */
export interface Scene {
  snapshot: Snapshot;
  /** Lists by share or transfer. */
  entries?: Record<string, EntryView[]>;
  /** What opening any text gives. */
  opened?: Opened | Problem;
  /** What pasted files become; null when the clipboard has none. */
  pasted?: string | null;
  replyCode?: string;
  /** What the connection check comes to; without it, it goes on for ever. */
  checkup?: Checkup;
  qr?: string;
  atStake?: AtStake;
  history?: HistoryEntry[];
}

export class StagedBridge implements Bridge {
  /** Every command asked for, in order. */
  readonly calls: [command: string, ...args: unknown[]][] = [];
  private listener: Listener | null = null;
  private cleared = false;

  constructor(readonly scene: Scene) {}

  private noted<T>(answer: T, command: string, ...args: unknown[]): Promise<T> {
    this.calls.push([command, ...args]);
    return Promise.resolve(answer);
  }

  /** The listener that the window registered. */
  get window(): Listener {
    if (!this.listener) throw new Error("the window does not listen yet");
    return this.listener;
  }

  send(event: Event): void {
    this.window.event(event);
  }

  private changeTransfer(id: string, change: Partial<TransferView>): void {
    const transfer = this.scene.snapshot.transfers.find((each) => each.id === id);
    if (transfer) this.send({ type: "transfer", transfer: { ...transfer, ...change } });
  }

  private moveTransfer(id: string, state: TransferState): void {
    this.changeTransfer(id, { state });
  }

  private setPaused(id: string, paused: boolean): void {
    const share = this.scene.snapshot.shares.find((each) => each.id === id);
    if (share) this.send({ type: "share", share: { ...share, paused } });
    const state = this.scene.snapshot.transfers.find((each) => each.id === id)?.state;
    if (state && "progress" in state) this.moveTransfer(id, { type: paused ? "paused" : "receiving", progress: state.progress });
  }

  listen(listener: Listener): Promise<void> {
    this.listener = listener;
    return this.noted(undefined, "listen");
  }

  snapshot(): Promise<Snapshot> {
    return this.noted(this.scene.snapshot, "snapshot");
  }

  chooseFiles = () => this.noted(null, "chooseFiles");
  chooseFolder = () => this.noted(null, "chooseFolder");
  pasteFiles = () => this.noted(this.scene.pasted ?? null, "pasteFiles");

  setAudience(id: string, audience: Audience): Promise<void> {
    const share = this.scene.snapshot.shares.find((each) => each.id === id);
    if (share) this.send({ type: "share", share: { ...share, audience } });
    return this.noted(undefined, "setAudience", id, audience);
  }

  stopShare(id: string): Promise<void> {
    const share = this.scene.snapshot.shares.find((each) => each.id === id);
    if (share) this.send({ type: "share", share: { ...share, state: { type: "stopped" } } });
    return this.noted(undefined, "stopShare", id);
  }

  forget(id: string): Promise<void> {
    this.send({ type: "shareRemoved", id });
    this.send({ type: "transferRemoved", id });
    return this.noted(undefined, "forget", id);
  }

  copyInvite(id: string): Promise<void> {
    this.window.notice("Invite copied");
    return this.noted(undefined, "copyInvite", id);
  }

  inviteQr = (id: string) => this.noted(this.scene.qr ?? "<svg xmlns='http://www.w3.org/2000/svg'/>", "inviteQr", id);

  openInvite(text: string): Promise<Opened> {
    this.calls.push(["openInvite", text]);
    const opened = this.scene.opened;
    if (!opened) return Promise.resolve({ type: "transfer", id: "none" });
    return "remedy" in opened ? Promise.reject(opened) : Promise.resolve(opened);
  }

  entries = (id: string, from: number) => this.noted((this.scene.entries?.[id] ?? []).slice(from), "entries", id, from);

  accept(id: string, selection: Selection): Promise<void> {
    const total = this.scene.snapshot.transfers.find((each) => each.id === id)?.bytes ?? 0;
    const progress = { bytes: 0, total, files: 0, filesTotal: 1, rate: 0, secondsLeft: null };
    this.moveTransfer(id, { type: "receiving", progress });
    return this.noted(undefined, "accept", id, selection);
  }

  decline(id: string): Promise<void> {
    this.moveTransfer(id, { type: "declined" });
    return this.noted(undefined, "decline", id);
  }

  cancel(id: string): Promise<void> {
    this.moveTransfer(id, { type: "cancelled" });
    return this.noted(undefined, "cancel", id);
  }

  retry = (id: string) => this.noted(undefined, "retry", id);

  pause(id: string): Promise<void> {
    this.setPaused(id, true);
    return this.noted(undefined, "pause", id);
  }

  resume(id: string): Promise<void> {
    this.setPaused(id, false);
    return this.noted(undefined, "resume", id);
  }

  stopPassing(id: string): Promise<void> {
    this.changeTransfer(id, { passingOn: false });
    return this.noted(undefined, "stopPassing", id);
  }

  passOn(id: string): Promise<void> {
    this.changeTransfer(id, { passingOn: true });
    return this.noted(undefined, "passOn", id);
  }

  history = () => this.noted((!this.cleared && this.scene.history) || [], "history");

  clearHistory(): Promise<void> {
    this.cleared = true;
    return this.noted(undefined, "clearHistory");
  }

  chooseDestination = (id: string) => this.noted(false, "chooseDestination", id);
  showInFolder = (id: string) => this.noted(undefined, "showInFolder", id);
  replyCode = (id: string) => this.noted(this.scene.replyCode ?? "", "replyCode", id);

  checkConnection(): Promise<Checkup> {
    this.calls.push(["checkConnection"]);
    return this.scene.checkup ? Promise.resolve(this.scene.checkup) : new Promise(() => undefined);
  }

  copyText = (text: string) => this.noted(undefined, "copyText", text);

  renameDevice(name: string): Promise<void> {
    this.send({ type: "device", device: { ...this.scene.snapshot.device, name } });
    return this.noted(undefined, "renameDevice", name);
  }

  saveSettings(settings: Settings): Promise<void> {
    this.send({ type: "settings", settings });
    return this.noted(undefined, "saveSettings", settings);
  }

  chooseDownloadFolder = () => this.noted(null, "chooseDownloadFolder");
  quit = () => this.noted(undefined, "quit");
}
