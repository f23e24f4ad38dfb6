// Every state the window can be in, with data as it would really be. The
// pictures and the component tests are made from these.

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
import { qrPicture } from "./qr-picture";
import type { Scene } from "./staged-bridge";

const GB = 1e9;
const MB = 1e6;
const START = Date.UTC(2026, 8, 12, 16, 30);

const ana = { id: "5f0e7c1a22d94b01", name: "Ana’s laptop" };
const ben = { id: "a31b90cc417e2d55", name: "Ben" };
const cleo = { id: "c8d2e0f19a7b3364", name: "Cleo’s desktop" };
const dan = { id: "0b7744d1ee20f9a6", name: "Nice Orange" };

export const settings: Settings = {
  downloadDir: null,
  lan: true,
  stun: ["stun:stun.cloudflare.com:3478", "stun:stun.l.google.com:19302", "stun:stun.nextcloud.com:3478"],
  turn: [],
  copyInvite: true,
  uploadLimit: null,
  downloadLimit: null,
  uploadSlots: 8,
  paused: false,
  passOn: true,
};

export function snapshot(part: Partial<Snapshot> = {}): Snapshot {
  return {
    device: { id: "77aa01c35e9f4d20", name: "Quiet Heron" },
    settings,
    shares: [],
    transfers: [],
    totals: { people: 0, up: 0, down: 0 },
    ...part,
  };
}

function person(device: typeof ana, state: PersonState, share: number, route: Route | null, rate = 0): PersonView {
  const total = 4.2 * GB;
  const presence = route ? "connected" : "gone";
  return { device, route, state, bytes: Math.round(total * share), total, rate, fromRate: 0, sharer: false, presence };
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
    problems: [],
    createdAt: START,
    ...part,
  };
}

const unknown = { name: null, from: null, route: null, files: 0, bytes: 0 };

const trying: CarrierView[] = [
  { carrier: "addresses", state: "trying" },
  { carrier: "lan", state: "trying" },
  { carrier: "paste", state: "unavailable" },
];
const byPaste: CarrierView[] = trying.map((each) => ({ ...each, state: "trying" }));

function progress(share: number, rate: number, secondsLeft: number | null) {
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

const longCode =
  "passalong-reply:1:AG4TQ7ZK0W8XV5N2M3PHRD6CBYJ9E1FSKTQ7ZK0W8XV5N2M3PHRD6CBYJ9E1FSAG4TQ7ZK0W8XV5N2M3PHRD6CBYJ9E1F" +
  "SKTQ7ZK0W8XV5N2M3PHRD6CBYJ9E1FSAG4TQ7ZK0W8XV5N2M3PHRD6CBYJ9E1FSKTQ7ZK0W8XV5N2M3PHRD6CBYJ9E1FS";

const lists = { "9c41f2d07be83a15": photos, "1d6b3fa97c0e8842": recordings };

function one(state: TransferState, part: Partial<TransferView> = {}): Scene {
  return { snapshot: snapshot({ transfers: [transfer(state, part)] }), entries: lists, replyCode: longCode };
}

function sharing(part: Partial<ShareView>, totals = { people: 0, up: 0, down: 0 }): Scene {
  return { snapshot: snapshot({ shares: [share(part)], totals }), entries: lists, qr: qrPicture };
}

export const scenes: Record<string, Scene> = {
  empty: { snapshot: snapshot() },
  typo: {
    snapshot: snapshot(),
    opened: {
      code: "notAnInvite",
      message: "There is a typo in this code: its last character does not fit the rest.",
      remedy: "Compare it with what you were sent, or copy and paste it whole.",
    },
  },
  "share-preparing": sharing({ state: { type: "preparing", doneBytes: 1.3 * GB, totalBytes: 4.2 * GB } }),
  "share-ready": sharing({}),
  "share-people": sharing(
    {
      people: [
        person(ben, "complete", 1, "sameNetwork"),
        person(cleo, "receiving", 0.71, "direct", 12.4 * MB),
        person(dan, "choosing", 0, "relayed"),
      ],
      skipped: [
        { path: "Holiday photos/latest", reason: "a symbolic link" },
        { path: "Holiday photos/caf\\xe9.jpg", reason: "its name is not valid text" },
      ],
      skippedTotal: 2,
    },
    { people: 3, up: 12.4 * MB, down: 0 },
  ),
  "share-lost": sharing({ people: [person(ben, "complete", 1, null), person(cleo, "lost", 0.71, null)], audience: "onePerson" }),
  "share-ended": {
    snapshot: snapshot({
      shares: [
        share({ state: { type: "stopped" }, people: [person(ben, "complete", 1, null)] }),
        share({ id: "2", name: "thesis.zip", files: 1, bytes: 48.1 * MB, state: { type: "delivered" }, audience: "onePerson", people: [person(cleo, "complete", 1, "direct")] }),
        share({
          id: "3",
          name: "Scans",
          files: 0,
          bytes: 0,
          state: {
            type: "failed",
            problem: { code: "disk", message: "The folder “Scans” cannot be read any more.", remedy: "Plug its drive in again, then drop it once more." },
          },
        }),
      ],
    }),
  },
  connecting: one({ type: "connecting", carriers: trying, seconds: 3 }, unknown),
  answered: one({ type: "connecting", carriers: [{ carrier: "addresses", state: "answered" }, { carrier: "lan", state: "trying" }], seconds: 1 }, { ...unknown, from: ana }),
  unanswered: one({ type: "connecting", carriers: byPaste, seconds: 24 }, unknown),
  preparing: one({ type: "preparing", doneBytes: 12 * GB, totalBytes: 40 * GB }, { files: 0, bytes: 0 }),
  offered: one({ type: "offered" }),
  "offered-full": one({ type: "offered" }, { destination: { path: "/media/heron/STICK", freeBytes: 7.6 * GB }, route: "direct" }),
  "offered-many": {
    snapshot: snapshot({ transfers: [transfer({ type: "offered" }, { name: "archive", files: 100_000, bytes: 165 * GB })] }),
    get entries() {
      return { "1d6b3fa97c0e8842": manyEntries() };
    },
  },
  checking: one({ type: "checking", doneBytes: 2.1 * GB, totalBytes: 5.4 * GB }),
  receiving: {
    snapshot: snapshot({
      transfers: [transfer({ type: "receiving", progress: progress(0.62, 84 * MB, 57) })],
      totals: { people: 1, up: 0, down: 84 * MB },
    }),
    entries: lists,
  },
  stalled: one({ type: "stalled", progress: progress(0.62, 0, null), seconds: 41, carriers: trying }, { route: null }),
  done: one(
    { type: "done", files: 48, bytes: 12.6 * GB, alreadyHere: 3, seconds: 154.2 },
    { problems: [{ path: "Conference recordings/Day 2/06 Credits.mkv", reason: "changed on Ana’s laptop while it was being sent" }] },
  ),
  ended: {
    snapshot: snapshot({
      transfers: [
        transfer({ type: "declined" }, { id: "a", name: "Fonts" }),
        transfer({ type: "cancelled" }, { id: "b" }),
        transfer(
          {
            type: "failed",
            problem: { code: "disk", message: "The drive with /media/heron/STICK is full: 5.0 GB more are needed.", remedy: "Make room there, then try again; what has arrived is kept." },
            canRetry: true,
          },
          { id: "c", name: "thesis.zip", files: 1, bytes: 48.1 * MB },
        ),
        transfer(
          { type: "failed", problem: { code: "stopped", message: "Ben stopped sharing this.", remedy: "Ask Ben for a new invite." }, canRetry: false },
          { ...unknown, id: "d", from: ben },
        ),
      ],
    }),
  },
  busy: {
    snapshot: snapshot({
      shares: [
        share({
          people: [person(ben, "complete", 1, "sameNetwork"), person(cleo, "receiving", 0.71, "direct", 12.4 * MB), person(dan, "choosing", 0, "direct")],
        }),
      ],
      transfers: [
        transfer({ type: "receiving", progress: progress(0.62, 84 * MB, 57) }, { createdAt: START - 1 }),
        transfer(
          { type: "done", files: 1, bytes: 48.1 * MB, alreadyHere: 0, seconds: 0.7 },
          { id: "z", name: "thesis.zip", from: dan, route: null, files: 1, bytes: 48.1 * MB, createdAt: START - 2 },
        ),
      ],
      totals: { people: 4, up: 12.4 * MB, down: 84 * MB },
    }),
    entries: lists,
    qr: qrPicture,
  },
  reply: {
    ...sharing({}),
    opened: { type: "reply", share: "9c41f2d07be83a15", from: ben, answerCode: longCode.replace("reply", "answer") },
  },
  closing: {
    ...sharing({ people: [person(ben, "receiving", 0.71, "direct", 12.4 * MB)] }, { people: 1, up: 12.4 * MB, down: 0 }),
    atStake: { sentences: ["Ben still needs 1.2 GB of “Holiday photos” that only you have."] },
  },
  settings: {
    snapshot: snapshot({
      settings: { ...settings, turn: [{ url: "turn:relay.example.org:3478", username: "heron", password: "between-reeds" }] },
    }),
  },
  "hostile-names": {
    snapshot: snapshot({
      shares: [share({ name: "A-very-long-name-without-any-space-that-somebody-gave-to-a-folder-because-nothing-stopped-them-2026-final-final-v2" })],
      transfers: [
        transfer(
          { type: "receiving", progress: progress(0.04, 950_000, 12_400) },
          {
            name: "صور العطلة والملفات الأخرى من الصيف الماضي.zip",
            from: { id: "ffee", name: "جهاز أحمد المحمول الجديد جدا" },
            route: "relayed",
          },
        ),
      ],
    }),
  },
};
