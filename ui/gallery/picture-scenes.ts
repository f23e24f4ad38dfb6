// The scenes about everybody in a share: who has what, what closing would mean,
// pausing, passing on, and the history.

import type { HistoryEntry } from "../src/bindings/HistoryEntry";
import type { PersonView } from "../src/bindings/PersonView";
import type { Safety } from "../src/bindings/Safety";
import { copiesOf, crowd, member, spread } from "./crowds";
import { ana, ben, cleo, dan, lists, progress, settings, share, snapshot, START, transfer } from "./staged-views";
import type { Scene } from "./staged-bridge";

const GB = 1e9;
const MB = 1e6;
const PHOTOS = 4.2 * GB;
const TALKS = 12.6 * GB;

const whole = () => 100;
const two: PersonView[] = [
  member(ben, { total: PHOTOS, share: 1, route: "sameNetwork" }),
  member(cleo, { total: PHOTOS, share: 0.71, rate: 12.4 * MB }),
];

function sharing(part: Parameters<typeof share>[0], up = 12.4 * MB): Scene {
  const people = part?.people?.filter(({ presence }) => presence === "connected").length ?? 0;
  return { snapshot: snapshot({ shares: [share(part)], totals: { people, up, down: 0, carried: 0 } }), entries: lists };
}

function fetching(part: Parameters<typeof transfer>[1], share = 0.62): Scene {
  const down = (part?.people ?? []).reduce((sum, { fromRate }) => sum + fromRate, 0);
  const state = { type: "receiving", progress: progress(share, down, Math.round((TALKS * (1 - share)) / Math.max(1, down))) } as const;
  const people = part?.people?.filter(({ presence }) => presence === "connected").length ?? 0;
  return { snapshot: snapshot({ transfers: [transfer(state, part)], totals: { people, up: 6.1 * MB, down, carried: 0 } }), entries: lists };
}

const safe: Safety = { type: "safe", complete: ["Ben", "Cleo’s desktop"] };
const done = { type: "done", files: 48, bytes: TALKS, alreadyHere: 0, seconds: 154.2 } as const;
const paused = { type: "paused", progress: progress(0.62, 0, null) } as const;

export const history: HistoryEntry[] = [
  { id: "h1", name: "Holiday photos", direction: "shared", outcome: "stopped", people: ["Ben", "Cleo’s desktop", "Nice Orange", "Calm Otter", "Dan"], files: 312, bytes: PHOTOS, at: START },
  { id: "h2", name: "Conference recordings", direction: "received", outcome: "complete", people: ["Ana’s laptop"], files: 48, bytes: TALKS, at: START - 3_600_000 },
  { id: "h3", name: "thesis.zip", direction: "shared", outcome: "delivered", people: ["Cleo’s desktop"], files: 1, bytes: 48.1 * MB, at: START - 86_400_000 },
  { id: "h4", name: "Scans", direction: "shared", outcome: "stopped", people: [], files: 212, bytes: 1.1 * GB, at: START - 90_000_000 },
  { id: "h5", name: "صور العطلة.zip", direction: "received", outcome: "cancelled", people: ["جهاز أحمد"], files: 1, bytes: 820 * MB, at: START - 700_000_000 },
  { id: "h6", name: "Fonts", direction: "received", outcome: "stopped", people: ["Nice Orange"], files: 24, bytes: 12.3 * MB, at: START - 710_000_000 },
];

export const pictureScenes: Record<string, Scene> = {
  "who-solo": sharing({ copies: copiesOf(4006, () => 1, whole) }, 0),
  "who-one": sharing({
    people: [member(cleo, { total: PHOTOS, share: 0.4, rate: 31 * MB, route: "sameNetwork" })],
    copies: copiesOf(4006, (cell) => (cell % 5 < 2 ? 2 : 1), whole),
    safety: { type: "onlyYou", bytes: 2.52 * GB, percent: 60 },
  }),
  "who-two": sharing({ people: two, copies: copiesOf(4006, (cell) => (cell % 7 < 5 ? 3 : 2), whole), safety: { type: "safe", complete: ["Ben"] } }),
  "who-twelve": fetching({ people: crowd(12, TALKS, true), copies: spread(12_017, 1, 0.62), safety: { type: "safeTogether" } }),
  "who-fifty": fetching({ people: crowd(50, TALKS, true), copies: spread(100_000, 2, 0.62), safety: { type: "safe", complete: ["Quiet Otter", "Calm Badger", "Merry Comet", "Dan"] } }),
  "who-crowd": fetching({ people: crowd(140, TALKS, true), copies: spread(100_000, 3, 0.62) }),
  "pieces-ten": fetching(
    {
      people: [member(ana, { total: TALKS, share: 1, sharer: true, fromRate: 84 * MB, route: "sameNetwork" }), member(ben, { total: TALKS, share: 0.3, rate: 6 * MB })],
      copies: copiesOf(10, (cell) => [3, 2, 2, 1, 2, 1, 1, 3, 1, 0][cell] ?? 1, (cell) => ([100, 100, 100, 0, 100, 0, 35, 100, 0, 0][cell] ?? 0)),
    },
    0.5,
  ),
  "only-you": sharing({
    people: [
      member(ben, { total: PHOTOS, share: 0.6, rate: 8 * MB, route: "sameNetwork" }),
      member(cleo, { total: PHOTOS, share: 0.35, rate: 12.4 * MB }),
      member(dan, { total: PHOTOS, share: 0.1, state: "waiting" }),
    ],
    copies: copiesOf(4006, (cell) => (cell < 84 ? 3 : cell < 144 ? 2 : 1), whole),
    safety: { type: "onlyYou", bytes: 1.68 * GB, percent: 40 },
  }),
  safe: sharing({ people: [two[0] as PersonView, member(cleo, { total: PHOTOS, share: 1 })], copies: copiesOf(4006, () => 3, whole), safety: safe }, 0),
  "share-paused": sharing({ people: two.map((person) => ({ ...person, rate: 0 })), paused: true, safety: { type: "safe", complete: ["Ben"] } }, 0),
  paused: {
    snapshot: snapshot({ transfers: [transfer(paused)], totals: { people: 1, up: 0, down: 0, carried: 0 } }),
    entries: lists,
  },
  "all-paused": {
    snapshot: snapshot({
      settings: { ...settings, paused: true },
      shares: [share({ people: two.map((person) => ({ ...person, rate: 0 })) })],
      transfers: [transfer(paused, { createdAt: START - 1 })],
      totals: { people: 3, up: 0, down: 0, carried: 0 },
    }),
    entries: lists,
  },
  "passing-on": {
    snapshot: snapshot({
      transfers: [
        transfer(done, {
          passingOn: true,
          people: [
            member(ana, { total: TALKS, share: 1, sharer: true, presence: "gone", route: null }),
            member(ben, { total: TALKS, share: 0.8, rate: 9 * MB, route: "sameNetwork" }),
            member(dan, { total: TALKS, share: 0.2, state: "waiting" }),
          ],
          copies: copiesOf(12_017, (cell) => (cell < 192 ? 2 : 1), whole),
          safety: { type: "onlyYou", bytes: 2.52 * GB, percent: 20 },
        }),
        transfer({ ...done, files: 1, bytes: 48.1 * MB, seconds: 0.7 }, { id: "z", name: "thesis.zip", from: dan, route: null, files: 1, bytes: 48.1 * MB, createdAt: START - 2 }),
      ],
      totals: { people: 2, up: 9 * MB, down: 0, carried: 0 },
    }),
    entries: lists,
  },
  "passing-stopped": { snapshot: snapshot({ transfers: [transfer(done, { stopped: true, route: null })] }), entries: lists },
  history: { snapshot: snapshot(), history },
  "history-empty": { snapshot: snapshot() },
};
