// People around a share and copies of its pieces, few and many, for the scenes
// that show who has what. The same every time.

import type { CopiesView } from "../src/bindings/CopiesView";
import type { DeviceView } from "../src/bindings/DeviceView";
import type { PersonState } from "../src/bindings/PersonState";
import type { PersonView } from "../src/bindings/PersonView";
import type { Presence } from "../src/bindings/Presence";
import type { Route } from "../src/bindings/Route";

const FIRST = ["Quiet", "Nice", "Calm", "Bright", "Swift", "Merry", "Brave", "Gentle", "Lucky", "Sunny"];
const LAST = ["Finch", "Otter", "Maple", "Comet", "Harbour", "Falcon", "Pebble", "Lantern", "Willow", "Badger", "Clover", "Kettle"];
const ROUTES: readonly Route[] = ["sameNetwork", "direct", "direct", "relayed"];

/** A number below `below` that looks like chance and is not. */
function dice(seed: number, below: number): number {
  let x = (seed + 1) * 2654435761;
  x = ((x >>> 13) ^ x) >>> 0;
  return ((x * 1597334677) >>> 8) % below;
}

export function stranger(n: number): DeviceView {
  return { id: `${dice(n, 1e9)}c0ffee`, name: `${FIRST[dice(n, FIRST.length)]} ${LAST[(n * 5 + 1) % LAST.length]}` };
}

/** Somebody after a share of `total` bytes, with nothing special about them. */
export function member(device: DeviceView, part: Partial<PersonView> & { share?: number; total: number }): PersonView {
  const { share = 0, total, ...rest } = part;
  const state: PersonState = share >= 1 ? "complete" : "receiving";
  return {
    device,
    route: "direct",
    through: null,
    state,
    bytes: Math.round(total * share),
    total,
    rate: 0,
    fromRate: 0,
    sharer: false,
    presence: "connected",
    ...rest,
  };
}

/** `count` people in every stage. `fetching` is whether this device fetches, too. */
export function crowd(count: number, total: number, fetching: boolean): PersonView[] {
  return Array.from({ length: count }, (_, n) => {
    const share = n % 4 === 0 ? 1 : (8 + dice(n, 88)) / 100;
    const presence: Presence = n < 3 || dice(n + 7, 10) < 6 ? "connected" : n % 11 === 10 ? "gone" : "known";
    const connected = presence === "connected";
    const state: PersonState = share >= 1 ? "complete" : presence === "gone" ? "lost" : connected && dice(n + 3, 6) === 0 ? "waiting" : "receiving";
    return member(stranger(n), {
      share,
      total,
      state,
      presence,
      route: connected ? (ROUTES[dice(n, ROUTES.length)] ?? "direct") : null,
      rate: connected && state === "receiving" && n % 2 === 0 ? 300_000 * 2 ** dice(n + 1, 6) : 0,
      fromRate: fetching && connected && (share === 1 || n % 3 === 0) ? 900_000 * 2 ** dice(n, 6) : 0,
      sharer: fetching && n === 0,
    });
  });
}

/** How many copies of `pieces` are online: `copies` says for each cell, `here` what is here, in percent. */
export function copiesOf(pieces: number, copies: (cell: number) => number, here: (cell: number) => number): CopiesView {
  const cells = Array.from({ length: Math.min(240, pieces) }, (_, cell) => cell);
  return { pieces, cells: cells.map(copies), mine: cells.map(here) };
}

/** Copies as they spread: plenty in places, few in others. */
export function spread(pieces: number, rarest: number, hereShare: number): CopiesView {
  const cells = Math.min(240, pieces);
  const wave = (cell: number) => Math.max(rarest, Math.round(2.2 + 1.6 * Math.sin((cell / cells) * 9) + dice(cell, 100) / 70 - 0.7));
  return copiesOf(pieces, wave, (cell) => (dice(cell + 5, 1000) < hereShare * 1000 ? 100 : dice(cell, 5) === 0 && pieces > 240 ? 40 : 0));
}
