// Every state the window can be in, with data as it would really be. The
// pictures and the component tests are made from these.

import type { ShareView } from "../src/bindings/ShareView";
import type { TransferState } from "../src/bindings/TransferState";
import type { TransferView } from "../src/bindings/TransferView";
import { pictureScenes } from "./picture-scenes";
import { qrPicture } from "./qr-picture";
import type { Scene } from "./staged-bridge";
import { longCode, waitingScenes } from "./waiting-scenes";
import { ana, ben, cleo, dan, lists, manyEntries, person, progress, settings, share, snapshot, START, transfer, trying, unknown } from "./staged-views";

const GB = 1e9;
const MB = 1e6;

function one(state: TransferState, part: Partial<TransferView> = {}): Scene {
  return { snapshot: snapshot({ transfers: [transfer(state, part)] }), entries: lists, replyCode: longCode };
}

function sharing(part: Partial<ShareView>, totals = { people: 0, up: 0, down: 0, carried: 0 }): Scene {
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
    { people: 3, up: 12.4 * MB, down: 0, carried: 0 },
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
  ...waitingScenes,
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
      totals: { people: 1, up: 0, down: 84 * MB, carried: 0 },
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
      totals: { people: 4, up: 12.4 * MB, down: 84 * MB, carried: 0 },
    }),
    entries: lists,
    qr: qrPicture,
  },
  reply: {
    ...sharing({}),
    opened: { type: "reply", share: "9c41f2d07be83a15", from: ben, answerCode: longCode.replace("reply", "answer") },
  },
  closing: {
    ...sharing({ people: [person(ben, "receiving", 0.71, "direct", 12.4 * MB)] }, { people: 1, up: 12.4 * MB, down: 0, carried: 0 }),
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
  ...pictureScenes,
};
