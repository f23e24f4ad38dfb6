// The way from the window to the engine: one typed function for each command,
// and the events that come back. The only module that imports @tauri-apps;
// everything else is given a `Bridge`, so that it also runs without an engine.

import { invoke } from "@tauri-apps/api/core";
import { listen } from "@tauri-apps/api/event";
import { getCurrentWebview } from "@tauri-apps/api/webview";
import type { AtStake } from "./bindings/AtStake";
import type { Audience } from "./bindings/Audience";
import type { Checkup } from "./bindings/Checkup";
import type { EntryView } from "./bindings/EntryView";
import type { Event } from "./bindings/Event";
import type { HistoryEntry } from "./bindings/HistoryEntry";
import type { Opened } from "./bindings/Opened";
import type { Problem } from "./bindings/Problem";
import type { Selection } from "./bindings/Selection";
import type { Settings } from "./bindings/Settings";
import type { Snapshot } from "./bindings/Snapshot";

/** What the engine and the operating system tell the window unasked. */
export interface Listener {
  /** Something changed in the engine. */
  event(event: Event): void;
  /** The person wants to close the window while something would be cut off. */
  closing(atStake: AtStake): void;
  /** A short remark for the status line, such as "Invite copied". */
  notice(text: string): void;
  /** Something the person did outside the page failed, such as a drop. */
  problem(problem: Problem): void;
  /** Whether files are being dragged over the window right now. */
  hover(over: boolean): void;
}

/** Everything the window can ask for. Each function rejects with a `Problem`. */
export interface Bridge {
  /** Starts listening; resolves once nothing can be missed any more. */
  listen(listener: Listener): Promise<void>;
  snapshot(): Promise<Snapshot>;
  /** Asks for files and shares them; null when the person chose none. */
  chooseFiles(): Promise<string | null>;
  chooseFolder(): Promise<string | null>;
  /** Shares the files that are in the clipboard; null when there are none. */
  pasteFiles(): Promise<string | null>;
  setAudience(id: string, audience: Audience): Promise<void>;
  stopShare(id: string): Promise<void>;
  forget(id: string): Promise<void>;
  copyInvite(id: string): Promise<void>;
  /** The invite as a QR picture: an SVG document. */
  inviteQr(id: string): Promise<string>;
  /** Opens whatever was pasted: an invite, a link, a reply or an answer code. */
  openInvite(text: string): Promise<Opened>;
  /** A part of a list, from the entry with this index on; empty after the last. */
  entries(id: string, from: number): Promise<EntryView[]>;
  accept(id: string, selection: Selection): Promise<void>;
  decline(id: string): Promise<void>;
  cancel(id: string): Promise<void>;
  retry(id: string): Promise<void>;
  /** Stops sending or fetching a share or a transfer for now. */
  pause(id: string): Promise<void>;
  resume(id: string): Promise<void>;
  /** A finished transfer is no longer passed on. */
  stopPassing(id: string): Promise<void>;
  /** A finished transfer is passed on again. */
  passOn(id: string): Promise<void>;
  /** What was shared and received and is over. */
  history(): Promise<HistoryEntry[]>;
  clearHistory(): Promise<void>;
  /** Asks where to put a transfer; false when the person kept the old folder. */
  chooseDestination(id: string): Promise<boolean>;
  showInFolder(id: string): Promise<void>;
  replyCode(id: string): Promise<string>;
  /** Looks whether others can reach this computer; takes a few seconds. */
  checkConnection(): Promise<Checkup>;
  copyText(text: string): Promise<void>;
  renameDevice(name: string): Promise<void>;
  saveSettings(settings: Settings): Promise<void>;
  /** Asks for a download folder; null when the person kept the old one. */
  chooseDownloadFolder(): Promise<string | null>;
  /** Closes the app for real. */
  quit(): Promise<void>;
}

/** Any rejection as a `Problem`, so that there is always something to say. */
export function asProblem(reason: unknown): Problem {
  if (typeof reason === "object" && reason !== null && "message" in reason && "remedy" in reason) {
    return reason as Problem;
  }
  const said = reason instanceof Error ? reason.message : String(reason);
  return {
    code: "internal",
    message: `Passalong could not do that: ${said}`,
    remedy: "Try again. If it stays like this, close Passalong and open it again; nothing is lost.",
  };
}

async function call<T>(command: string, args?: Record<string, unknown>): Promise<T> {
  try {
    return await invoke<T>(command, args);
  } catch (reason) {
    throw asProblem(reason);
  }
}

/** The bridge to the engine that this window belongs to. */
export const tauri: Bridge = {
  async listen(listener) {
    await Promise.all([
      listen<Event>("engine", ({ payload }) => listener.event(payload)),
      listen<AtStake>("closing", ({ payload }) => listener.closing(payload)),
      listen<{ text: string }>("notice", ({ payload }) => listener.notice(payload.text)),
      listen<Problem>("problem", ({ payload }) => listener.problem(payload)),
      getCurrentWebview().onDragDropEvent(({ payload }) =>
        listener.hover(payload.type === "enter" || payload.type === "over"),
      ),
    ]);
  },
  snapshot: () => call("snapshot"),
  chooseFiles: () => call("choose_files"),
  chooseFolder: () => call("choose_folder"),
  pasteFiles: () => call("paste_files"),
  setAudience: (id, audience) => call("set_audience", { id, audience }),
  stopShare: (id) => call("stop_share", { id }),
  forget: (id) => call("forget", { id }),
  copyInvite: (id) => call("copy_invite", { id }),
  inviteQr: (id) => call("invite_qr", { id }),
  openInvite: (text) => call("open_invite", { text }),
  entries: (id, from) => call("entries", { id, from }),
  accept: (id, selection) => call("accept", { id, selection }),
  decline: (id) => call("decline", { id }),
  cancel: (id) => call("cancel", { id }),
  retry: (id) => call("retry", { id }),
  pause: (id) => call("pause", { id }),
  resume: (id) => call("resume", { id }),
  stopPassing: (id) => call("stop_passing", { id }),
  passOn: (id) => call("pass_on", { id }),
  history: () => call("history"),
  clearHistory: () => call("clear_history"),
  chooseDestination: (id) => call("choose_destination", { id }),
  showInFolder: (id) => call("show_in_folder", { id }),
  replyCode: (id) => call("reply_code", { id }),
  checkConnection: () => call("check_connection"),
  copyText: (text) => call("copy_text", { text }),
  renameDevice: (name) => call("rename_device", { name }),
  saveSettings: (settings) => call("save_settings", { settings }),
  chooseDownloadFolder: () => call("choose_download_folder"),
  quit: () => call("quit"),
};
