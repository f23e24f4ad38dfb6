// The views that scenes are made of, with data as it would really be.

import type { CarrierView } from "../src/bindings/CarrierView";
import type { EntryView } from "../src/bindings/EntryView";
import type { PersonState } from "../src/bindings/PersonState";
import type { PersonView } from "../src/bindings/PersonView";
import type { Route } from "../src/bindings/Route";
import type { Settings } from "../src/bindings/Settings";
import type { ShareView } from "../src/bindings/ShareView";
import type { Snapshot } from "../src/bindings/Snapshot";
import type { TransferState } from "../src/bindings/TransferState";
import type { TransferView } from "../src/bindings/TransferView";

const GB = 1e9;
const MB = 1e6;
export const START = Date.UTC(2026, 8, 12, 16, 30);

export const ana = { id: "5f0e7c1a22d94b01", name: "Ana’s laptop" };
export const ben = { id: "a31b90cc417e2d55", name: "Ben" };
export const cleo = { id: "c8d2e0f19a7b3364", name: "Cleo’s desktop" };
export const dan = { id: "0b7744d1ee20f9a6", name: "Nice Orange" };

export const settings: Settings = {
  downloadDir: null,
  lan: true,
  dht: true,
  portMapping: true,
  stun: ["stun:stun.cloudflare.com:3478", "stun:stun.l.google.com:19302", "stun:stun.nextcloud.com:3478"],
  turn: [],
  copyInvite: true,
  uploadLimit: null,
  downloadLimit: null,
  uploadSlots: 8,
  paused: false,
  passOn: true,
  background: false,
  carry: false,
};

export function snapshot(part: Partial<Snapshot> = {}): Snapshot {
  return {
    device: { id: "77aa01c35e9f4d20", name: "Quiet Heron" },
    settings,
    shares: [],
    transfers: [],
    totals: { people: 0, up: 0, down: 0, carried: 0 },
    ...part,
  };
}

export function person(device: typeof ana, state: PersonState, share: number, route: Route | null, rate = 0): PersonView {
  const total = 4.2 * GB;
  const presence = route ? "connected" : "gone";
  return { device, route, through: null, state, bytes: Math.round(total * share), total, rate, fromRate: 0, sharer: false, presence };
}

export function share(part: Partial<ShareView> = {}): ShareView {
  return {
    id: "9c41f2d07be83a15",
    name: "Holiday photos",
    state: { type: "ready" },
    audience: "anyone",
    files: 312,
    bytes: 4.2 * GB,
    code: "QK7M2-9XHT4-W8DPN-3RCVA",
    link: "passalong:QK7M29XHT4W8DPN3RCVA?a=192.168.178.31:47011,[fd4e:a1::31]:47011,84.113.20.7:47011",
    people: [],
    paused: false,
    copies: { pieces: 0, cells: [], mine: [] },
    safety: { type: "nobody" },
    skipped: [],
    skippedTotal: 0,
    createdAt: START,
    ...part,
  };
}

export function transfer(state: TransferState, part: Partial<TransferView> = {}): TransferView {
  return {
    id: "1d6b3fa97c0e8842",
    code: "7HRD3-KPX2M-0VWTA-B4N9Q",
    name: "Conference recordings",
    from: ana,
    route: "sameNetwork",
    files: 48,
    bytes: 12.6 * GB,
    state,
    destination: { path: "/home/heron/Downloads", freeBytes: 182 * GB },
    link: "passalong:7HRD3KPX2M0VWTAB4N9Q?a=192.168.178.44:47011",
    people: [],
    copies: { pieces: 0, cells: [], mine: [] },
    safety: { type: "nobody" },
    passingOn: false,
    stopped: false,
    onePerson: false,
    problems: [],
    createdAt: START,
    ...part,
  };
}

export const unknown = { name: null, from: null, route: null, files: 0, bytes: 0 };

export const trying: CarrierView[] = [
  { carrier: "addresses", state: "trying" },
  { carrier: "lan", state: "trying" },
  { carrier: "paste", state: "unavailable" },
];
export const byPaste: CarrierView[] = trying.map((each) => ({ ...each, state: "trying" }));

export function progress(share: number, rate: number, secondsLeft: number | null) {
  const total = 12.6 * GB;
  return { bytes: Math.round(total * share), total, files: Math.floor(48 * share), filesTotal: 48, rate, secondsLeft };
}

const photos: EntryView[] = [
  ...["Lake", "Old town", "Summit"].flatMap((day, at) =>
    Array.from({ length: at === 0 ? 104 : 103 }, (_, n) => ({
      path: `Holiday photos/${day}/IMG_${2041 + at * 140 + n}.jpg`,
      size: Math.round((7.2 + ((n * 7 + at) % 5) * 0.9) * MB),
    })),
  ),
  { path: "Holiday photos/Summit/panorama.mp4", size: 1.42 * GB },
  { path: "Holiday photos/route.gpx", size: 211_345 },
].map((entry, index) => ({ ...entry, index, folder: false, executable: false }));

const recordings: EntryView[] = [
  { path: "Conference recordings/Day 1/01 Opening.mkv", size: 1.21 * GB },
  { path: "Conference recordings/Day 1/02 Small boats, wide rivers.mkv", size: 2.84 * GB },
  { path: "Conference recordings/Day 1/03 Questions.mkv", size: 0.94 * GB },
  { path: "Conference recordings/Day 2/04 What the tide tables leave out.mkv", size: 3.02 * GB },
  { path: "Conference recordings/Day 2/05 Closing.mkv", size: 1.66 * GB },
  { path: "Conference recordings/Slides/opening.pdf", size: 18.2 * MB },
  { path: "Conference recordings/Slides/tides.pdf", size: 42.9 * MB },
  { path: "Conference recordings/Player/setup.exe", size: 31.4 * MB, executable: true },
  { path: "Conference recordings/programme.txt", size: 4_210 },
  ...Array.from({ length: 39 }, (_, n) => ({ path: `Conference recordings/Short talks/${n + 1}.mkv`, size: 71.4 * MB })),
].map((entry, index) => ({ executable: false, ...entry, index, folder: false }));

/** A list of 100,000 files in 400 folders. */
export function manyEntries(): EntryView[] {
  return Array.from({ length: 100_000 }, (_, index) => ({
    index,
    path: `archive/box ${Math.floor(index / 250)}/scan ${index % 250}.tif`,
    size: 1_200_000 + ((index * 7919) % 900_000),
    folder: false,
    executable: false,
  }));
}

export const lists = { "9c41f2d07be83a15": photos, "1d6b3fa97c0e8842": recordings };
