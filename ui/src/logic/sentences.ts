// What each state means, in one sentence a neighbour would use: what happens,
// what it waits for, what the person can do. Engine problems speak for
// themselves (message and remedy); everything else is worded here. Pure.

import type { Audience } from "../bindings/Audience";
import type { Carrier } from "../bindings/Carrier";
import type { CarrierState } from "../bindings/CarrierState";
import type { CarrierView } from "../bindings/CarrierView";
import type { PersonState } from "../bindings/PersonState";
import type { PersonView } from "../bindings/PersonView";
import type { Safety } from "../bindings/Safety";
import type { ShareView } from "../bindings/ShareView";
import type { TransferView } from "../bindings/TransferView";
import { count, elapsed, folderName, names, size, sizeOf } from "./format";
import { bad, good, plain, warn, type Said } from "./said";

/** Seconds without an answer or a byte after which a sentence says more. */
export const PATIENCE = 10;

const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;

/** A name made fit for a sentence: one that runs from right to left is fenced
 * off, so that it does not turn the words and commas around it. */
export function inSentence(name: string): string {
  return RIGHT_TO_LEFT.test(name) ? `\u2068${name}\u2069` : name;
}

/** The name to use for the one who shares. */
export function sender(transfer: TransferView): string {
  return transfer.from ? inSentence(transfer.from.name) : "the sender";
}

/** What to call a transfer whose name is not known yet. */
export function titleOf(transfer: TransferView): string {
  return transfer.name ?? `Invite ${transfer.code}`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function answered(carriers: readonly CarrierView[]): boolean {
  return carriers.some((carrier) => carrier.state === "answered");
}

/** Whether to offer a reply code: nobody has answered for a while. */
export function offersReplyCode(transfer: TransferView): boolean {
  const { state } = transfer;
  return state.type === "connecting" && state.seconds >= PATIENCE && !answered(state.carriers);
}

/** What everything being paused means for a row that would be moving. */
const ALL_PAUSED = plain("Everything is paused. What is here is kept, and it goes on when you resume everything below.");

/** The states of a transfer in which something moves, or would. */
const MOVING: ReadonlySet<TransferView["state"]["type"]> = new Set(["receiving", "stalled", "checking", "paused"]);

/** The sentence of a transfer. `idle` is how many seconds nothing has moved,
 * `allPaused` whether the person paused everything. */
export function transferSentence(transfer: TransferView, idle: number, allPaused = false): Said {
  const { state } = transfer;
  if (allPaused && MOVING.has(state.type)) return ALL_PAUSED;
  const who = sender(transfer);
  const folder = inSentence(folderName(transfer.destination.path));
  switch (state.type) {
    case "connecting": {
      if (answered(state.carriers)) {
        return idle < PATIENCE
          ? plain(`${capital(who)} answered. Making the connection…`)
          : warn(`${capital(who)} answered, but the connection is slow to come up. Passalong keeps trying.`);
      }
      if (state.seconds < PATIENCE) return plain(`Looking for ${transfer.from ? who : "whoever sent this invite"}…`);
      return warn(
        `Nobody has answered for ${elapsed(state.seconds)}. Perhaps Passalong is closed at the other end; ` +
          "this starts by itself when it opens. If it is open already, a reply code gets through.",
      );
    }
    case "preparing":
      return idle < PATIENCE
        ? plain(`${capital(who)} is preparing ${sizeOf(state.doneBytes, state.totalBytes)}. The list appears in a moment.`)
        : plain(
            `${capital(who)} is still preparing, ${sizeOf(state.doneBytes, state.totalBytes)} so far. ` +
              "Their disk may be slow; you need not do anything.",
          );
    case "offered":
      return plain(`${capital(who)} offers you this. Nothing is fetched until you accept.`);
    case "checking":
      return idle < PATIENCE
        ? plain(`Checking what is already in ${folder}: ${sizeOf(state.doneBytes, state.totalBytes)}.`)
        : plain(`Still checking what is already in ${folder}. The disk is slow to answer; this goes on by itself.`);
    case "receiving": {
      if (state.progress.rate > 0 || idle < 3) return plain(`Coming in from ${incoming(transfer)}, into ${folder}.`);
      return idle < PATIENCE
        ? plain(`Waiting for ${who} to send more…`)
        : warn(`Nothing has come in for ${elapsed(idle)}. ${capital(who)} may be busy; this goes on by itself.`);
    }
    case "stalled":
      if (answered(state.carriers)) return plain(`${capital(who)} is back. Making the connection…`);
      return state.seconds < PATIENCE
        ? warn(`The connection to ${who} broke. Looking for them again…`)
        : warn(
            `${capital(who)} has been silent for ${elapsed(state.seconds)}. What is here is kept, ` +
              "and it goes on by itself as soon as they are back.",
          );
    case "paused":
      return plain("You paused this. What is here is kept, and it goes on from there when you resume it.");
    case "done": {
      const here =
        state.alreadyHere > 0
          ? ` ${capital(count(state.alreadyHere, "file"))} of these ${state.alreadyHere === 1 ? "was" : "were"} already here.`
          : "";
      return good(`Everything is in ${folder} and checked: ${count(state.files, "file")}, ${size(state.bytes)}, in ${elapsed(state.seconds)}.${here}`);
    }
    case "declined":
      return plain("You declined this. Paste the invite again if you change your mind.");
    case "cancelled":
      return plain(`You cancelled this. Files that were already whole are in ${folder}; paste the invite again to fetch the rest.`);
    case "failed":
      return bad(state.problem.message, state.problem.remedy);
  }
}

function list(people: readonly PersonView[]): string {
  return names(people.map((person) => inSentence(person.device.name)));
}

function has(people: readonly PersonView[]): string {
  return people.length === 1 ? "has" : "have";
}

/** Who sends: one person by name, several by how many. */
function incoming(transfer: TransferView): string {
  const sending = transfer.people.filter(({ fromRate }) => fromRate > 0);
  return sending.length > 1 ? count(sending.length, "person", "people") : sending.length === 1 ? list(sending) : sender(transfer);
}

/** The sentence of a share. */
export function shareSentence(share: ShareView, idle: number, allPaused = false): Said {
  const { state } = share;
  switch (state.type) {
    case "preparing":
      return idle < PATIENCE
        ? plain(`Send the invite, it works already. Reading the files: ${sizeOf(state.doneBytes, state.totalBytes)}.`)
        : warn(
            `The invite works, but reading the files is slow: ${sizeOf(state.doneBytes, state.totalBytes)} so far. ` +
              "Is the drive they are on still there?",
          );
    case "stopped":
      return plain("You stopped sharing this. Nobody new can get it. Whoever has it keeps it.");
    case "delivered": {
      const whole = share.people.filter((person) => person.state === "complete");
      const who = whole.length > 0 ? list(whole) : "One person";
      return good(`${who} ${has(whole.length > 0 ? whole : share.people.slice(0, 1))} everything. The invite was for one person and no longer works.`);
    }
    case "failed":
      return bad(state.problem.message, state.problem.remedy);
    case "ready":
      if (allPaused) return plain("Everything is paused. Nothing is sent until you resume everything below.");
      if (share.paused) return plain("You paused this. Nothing of it is sent from here until you resume it; the invite still works.");
      return readySentence(share.people, share.safety);
  }
}

/** `safety` says about closing what there is to say; without it, this does. */
function readySentence(people: readonly PersonView[], safety: Safety): Said {
  const among = (...states: PersonState[]) => people.filter((person) => states.includes(person.state));
  const [receiving, lost, complete] = [among("receiving", "waiting"), among("lost"), among("complete")];
  const [choosing, connecting] = [among("choosing"), among("connecting")];
  const left = (some: readonly PersonView[]) => size(some.reduce((sum, { bytes, total }) => sum + Math.max(0, total - bytes), 0));
  const judged = safety.type !== "nobody";

  if (receiving.length > 0) {
    const need = receiving.length === 1 ? "still needs" : "still need";
    const close = judged ? "." : " from you. Keep Passalong open until then.";
    return plain(`${list(receiving)} ${need} ${left(receiving)}${close}`);
  }
  if (lost.length > 0) {
    const [are, they] = lost.length === 1 ? ["is", "needs"] : ["are", "need"];
    return warn(`${list(lost)} ${are} out of reach and still ${they} ${left(lost)}. It goes on by itself when they are back.`);
  }
  if (choosing.length > 0) return plain(`${list(choosing)} ${choosing.length === 1 ? "sees" : "see"} the list and can accept now.`);
  if (connecting.length > 0) return plain(`Connecting to ${list(connecting)}…`);
  if (complete.length > 0) {
    return good(`${list(complete)} ${has(complete)} everything.${judged ? "" : " Safe to close, if nobody else is coming."}`);
  }
  if (people.length > 0) return plain(`${list(people)} did not take it. The invite still works.`);
  return plain("Send the invite to somebody, and keep Passalong open until they have it all.");
}

/** What closing the app would mean for the others; nothing when nobody who is
 * online wants anything. */
export function safetySentence(safety: Safety): Said | null {
  switch (safety.type) {
    case "nobody":
      return null;
    case "safe": {
      const who = safety.complete.map(inSentence);
      return good(`Safe to close: ${names(who)} ${who.length === 1 ? "has a complete copy" : "have complete copies"}.`);
    }
    case "safeTogether":
      return good("Safe to close: the others have every piece between them.");
    case "onlyYou":
      return warn(
        safety.percent >= 100
          ? `Keep open: you are the only one with it (${size(safety.bytes)}).`
          : `Keep open: you are the only one with ${safety.percent} % of it (${size(safety.bytes)}).`,
      );
  }
}

/** Whether to speak of closing on a transfer: that it is safe for the others is
 * of no use while one's own files are still on their way. */
export function speaksOfClosing(transfer: TransferView): boolean {
  return transfer.state.type === "done" || (MOVING.has(transfer.state.type) && transfer.safety.type === "onlyYou");
}

/** Whether what has arrived is passed on. */
export function passingSentence(transfer: TransferView): string {
  if (transfer.stopped) return `${capital(sender(transfer))} stopped sharing this. Nobody new can get it, and your copy is yours to keep.`;
  if (transfer.onePerson) return "Meant for you alone, so it is not passed on. The files are yours to keep.";
  return transfer.passingOn ? "Passed on to whoever has the invite while Passalong is open." : "Not passed on. The files are yours to keep.";
}

/** What stopping a share means, said before it is done. */
export const STOP_WORDS = "Nobody new can get it. Whoever has it keeps it.";

/** Who an invite lets in, said so that it cannot be mistaken. */
export function audienceWords(audience: Audience): { label: string; sentence: string } {
  switch (audience) {
    case "anyone":
      return { label: "Anyone with the code", sentence: "Anyone who has the code can fetch this, until you stop sharing." };
    case "onePerson":
      return { label: "One person", sentence: "The first person to accept gets this; then the invite stops working." };
  }
}

const CARRIERS: Record<Carrier, string> = {
  addresses: "Addresses in the link",
  lan: "Local network",
  dht: "Internet, by the code",
  paste: "Reply code",
};

const CARRIER_STATES: Record<Carrier, Record<CarrierState, string>> = {
  addresses: { unavailable: "the invite has none", trying: "knocking", answered: "answered" },
  lan: { unavailable: "switched off", trying: "looking around", answered: "answered" },
  dht: { unavailable: "switched off, or cannot be reached", trying: "looking around", answered: "answered" },
  paste: { unavailable: "not used", trying: "waiting for their answer", answered: "answered" },
};

/** The ways that are being tried, or could be: a reply code counts only once
 * there is one to send. */
export function carriersTried(transfer: TransferView): readonly CarrierView[] {
  const { state } = transfer;
  if (state.type !== "connecting" && state.type !== "stalled") return [];
  return state.carriers.filter((each) => each.carrier !== "paste" || each.state !== "unavailable");
}

/** A way of reaching the sharer, and how it goes. */
export function carrierWords({ carrier, state }: CarrierView): { name: string; state: string } {
  return { name: CARRIERS[carrier], state: CARRIER_STATES[carrier][state] };
}

/** What "1.2 GB, 312 files" is called on a row. */
export function contents(files: number, bytes: number): string {
  return `${count(files, "file")}, ${size(bytes)}`;
}

/** Free space on the drive before and after, and whether it fits. */
export function spaceWords(free: number, needed: number): Said {
  if (needed > free) {
    return bad(`This needs ${size(needed)}, and only ${size(free)} is free there.`, "Choose another folder or fewer files.");
  }
  return plain(`${size(free)} free now, ${size(free - needed)} after`);
}
