import { describe, expect, it } from "vitest";
import type { PersonView } from "../bindings/PersonView";
import type { Route } from "../bindings/Route";
import type { TransferState } from "../bindings/TransferState";
import type { TransferView } from "../bindings/TransferView";
import { scenes } from "../../gallery/scenes";
import { share, transfer } from "../../gallery/staged-views";
import {
  carriersTried,
  carrierWords,
  isReplyOut,
  meanwhile,
  offersHelp,
  passingSentence,
  safetySentence,
  shareSentence,
  spaceWords,
  transferSentence,
} from "./sentences";

const progress = { bytes: 7.8e9, total: 12.6e9, files: 29, filesTotal: 48, rate: 0, secondsLeft: null };

function people(...states: PersonView["state"][]): PersonView[] {
  const names = ["Ben", "Cleo", "Dan"];
  return states.map((state, at) => ({
    device: { id: `${at}`, name: names[at] ?? "Eve" },
    route: "direct",
    through: null,
    state,
    bytes: state === "complete" ? 4.2e9 : 3e9,
    total: 4.2e9,
    rate: 0,
    fromRate: 0,
    sharer: false,
    presence: "connected",
  }));
}

describe("a transfer", () => {
  it("changes its sentence after ten seconds of silence, in every state that waits", () => {
    const waiting: TransferState[] = [
      { type: "connecting", carriers: [{ carrier: "lan", state: "answered" }], seconds: 2 },
      { type: "preparing", doneBytes: 12e9, totalBytes: 40e9 },
      { type: "checking", doneBytes: 1e9, totalBytes: 4e9 },
      { type: "receiving", progress },
    ];
    for (const state of waiting) {
      const view = transfer(state);
      expect(transferSentence(view, 10).text, state.type).not.toBe(transferSentence(view, 0).text);
    }
    for (const route of ["direct", null] as const) {
      const at = (seconds: number) => transferSentence(transfer({ type: "stalled", carriers: [], seconds, progress }, { route }), 0).text;
      expect(at(10), String(route)).not.toBe(at(9));
    }
  });

  it("waits for whoever is known, and else for anybody who has it", () => {
    const waiting: TransferState = { type: "waiting", carriers: [], seconds: 12 };
    const said = (part: Partial<TransferView>) => transferSentence(transfer(waiting, part), 0);
    expect(said({})).toEqual({ text: "Waiting for Ana’s laptop: starts by itself.", tone: "plain" });
    expect(said({ from: null }).text).toBe("Waiting for somebody who has it: starts by itself.");
    const broken = transfer({ type: "stalled", carriers: [], seconds: 12, progress }, { route: null });
    expect(transferSentence(broken, 0).text).toContain("Waiting for Ana’s laptop: goes on by itself.");
    expect(meanwhile(transfer(waiting))).toContain("Ask Ana’s laptop to open Passalong.");
    expect(meanwhile(transfer(waiting, { from: null }))).toContain("Ask whoever invited you");
  });

  it("offers help while nobody is there, and when somebody is and no connection comes up", () => {
    const carriers = (state: "trying" | "answered") => [{ carrier: "addresses" as const, state }];
    expect(offersHelp(transfer({ type: "waiting", carriers: carriers("trying"), seconds: 10 }))).toBe(true);
    expect(offersHelp(transfer({ type: "connecting", carriers: carriers("trying"), seconds: 9 }))).toBe(false);
    expect(offersHelp(transfer({ type: "connecting", carriers: carriers("answered"), seconds: 10 }))).toBe(true);
    const stalled = (route: Route | null, seconds: number, state: "trying" | "answered") =>
      offersHelp(transfer({ type: "stalled", carriers: carriers(state), seconds, progress }, { route }));
    expect(stalled(null, 10, "trying")).toBe(true);
    expect(stalled(null, 9, "trying")).toBe(false);
    expect(stalled(null, 60, "answered")).toBe(false);
    expect(stalled("direct", 60, "trying"), "linked, and silent").toBe(false);
    const failed = (code: "unreachable" | "disk") =>
      offersHelp(transfer({ type: "failed", problem: { code, message: "No.", remedy: "Yes." }, canRetry: true }));
    expect([failed("unreachable"), failed("disk")]).toEqual([true, false]);
  });

  it("knows a reply code whose answer would still be taken", () => {
    const out = (state: "unavailable" | "trying") => isReplyOut(transfer({ type: "waiting", seconds: 20, carriers: [{ carrier: "paste", state }] }));
    expect([out("trying"), out("unavailable")]).toEqual([true, false]);
    expect(isReplyOut(transfer({ type: "offered" }))).toBe(false);
  });

  it("names who it is from and where it goes", () => {
    const text = transferSentence(transfer({ type: "receiving", progress: { ...progress, rate: 84e6 } }), 0).text;
    expect(text).toBe("Coming in from Ana’s laptop, into Downloads.");
  });

  it("keeps a name that runs from right to left from turning the sentence", () => {
    const view = transfer({ type: "offered" }, { from: { id: "1", name: "أحمد" } });
    expect(transferSentence(view, 0).text).toContain("\u2068أحمد\u2069");
  });

  it("says cause and remedy of a failure apart", () => {
    const problem = { code: "disk", message: "The drive is full.", remedy: "Make room." } as const;
    expect(transferSentence(transfer({ type: "failed", problem, canRetry: true }), 0)).toEqual({
      text: "The drive is full.",
      tone: "bad",
      remedy: "Make room.",
    });
  });

  it("tells how many files were already here", () => {
    const done = (alreadyHere: number) =>
      transferSentence(transfer({ type: "done", files: 48, bytes: 1e9, alreadyHere, seconds: 50 }), 0).text;
    expect(done(0)).toBe("Everything is in Downloads and checked: 48 files, 1.0 GB, in 50 s.");
    expect(done(1)).toMatch(/1 file of these was already here\.$/);
    expect(done(3)).toMatch(/3 files of these were already here\.$/);
  });
});

describe("a share", () => {
  it("says what would be cut off by closing", () => {
    expect(shareSentence(share({ people: people("complete", "receiving") }), 0).text).toBe(
      "Cleo still needs 1.2 GB from you. Keep Passalong open until then.",
    );
  });

  it("says that it is safe to close only when nobody lacks anything", () => {
    expect(shareSentence(share({ people: people("complete", "complete") }), 0).text).toMatch(/^Ben and Cleo have everything\. Safe to close/);
    for (const state of ["receiving", "lost", "choosing", "connecting"] as const) {
      expect(shareSentence(share({ people: people("complete", state) }), 0).text, state).not.toMatch(/safe to close/i);
    }
  });

  it("tells one person from several who are out of reach", () => {
    expect(shareSentence(share({ people: people("lost") }), 0).text).toMatch(/^Ben is out of reach and still needs 1\.2 GB/);
    expect(shareSentence(share({ people: people("lost", "lost") }), 0).text).toMatch(/^Ben and Cleo are out of reach and still need 2\.4 GB/);
  });

  it("says that the invite works while files are still read", () => {
    expect(shareSentence(share({ state: { type: "preparing", doneBytes: 12e9, totalBytes: 40e9 } }), 0).text).toMatch(/it works already/);
  });
});

describe("closing", () => {
  it.each([
    [{ type: "nobody" }, null],
    [{ type: "safe", complete: ["Ben"] }, "Safe to close: Ben has a complete copy."],
    [{ type: "safe", complete: ["Ben", "Cleo"] }, "Safe to close: Ben and Cleo have complete copies."],
    [{ type: "safe", complete: ["Ben", "Cleo", "Dan", "Eve"] }, "Safe to close: Ben, Cleo and 2 others have complete copies."],
    [{ type: "safeTogether" }, "Safe to close: the others have every piece between them."],
    [{ type: "onlyYou", bytes: 1.2e9, percent: 40 }, "Keep open: you are the only one with 40 % of it (1.2 GB)."],
    [{ type: "onlyYou", bytes: 4.2e9, percent: 100 }, "Keep open: you are the only one with it (4.2 GB)."],
  ] as const)("with %j", (safety, said) => {
    const copy = safety.type === "safe" ? { ...safety, complete: [...safety.complete] } : safety;
    expect(safetySentence(copy)?.text ?? null).toBe(said);
  });

  it("is spoken of once: the share's own sentence leaves it to the one about safety", () => {
    const safe = { type: "safe", complete: ["Ben"] } as { type: "safe"; complete: string[] };
    expect(shareSentence(share({ people: people("complete", "receiving"), safety: safe }), 0).text).toBe("Cleo still needs 1.2 GB.");
    expect(shareSentence(share({ people: people("complete"), safety: safe }), 0).text).toBe("Ben has everything.");
  });
});

describe("pausing", () => {
  it("says what it stops and that nothing is lost", () => {
    expect(shareSentence(share({ paused: true, people: people("receiving") }), 0).text).toBe(
      "You paused this. Nothing of it is sent from here until you resume it; the invite still works.",
    );
    expect(transferSentence(transfer({ type: "paused", progress }), 0).text).toBe(
      "You paused this. What is here is kept, and it goes on from there when you resume it.",
    );
  });

  it("of everything is said on every row that would move, and on no other", () => {
    expect(shareSentence(share(), 0, true).text).toMatch(/^Everything is paused\./);
    for (const state of [{ type: "receiving", progress }, { type: "paused", progress }] as const) {
      expect(transferSentence(transfer(state), 0, true).text).toMatch(/^Everything is paused\./);
    }
    expect(transferSentence(transfer({ type: "declined" }), 0, true).text).toMatch(/^You declined this/);
    expect(shareSentence(share({ state: { type: "stopped" } }), 0, true).text).toMatch(/^You stopped/);
  });
});

describe("passing on", () => {
  it("is said for what it is, and so is its end", () => {
    const done = { type: "done", files: 1, bytes: 1, alreadyHere: 0, seconds: 1 } as const;
    expect(passingSentence(transfer(done, { passingOn: true }))).toBe("Passed on to whoever has the invite while Passalong is open.");
    expect(passingSentence(transfer(done))).toBe("Not passed on. The files are yours to keep.");
    expect(passingSentence(transfer(done, { stopped: true }))).toBe(
      "Ana’s laptop stopped sharing this. Nobody new can get it, and your copy is yours to keep.",
    );
  });

  it("does not hide that copies stay where they are when a share is stopped", () => {
    expect(shareSentence(share({ state: { type: "stopped" } }), 0).text).toBe(
      "You stopped sharing this. Nobody new can get it. Whoever has it keeps it.",
    );
  });

  it("names one source, and counts several", () => {
    const [ana, cleo] = people("complete", "complete");
    if (!ana || !cleo) throw new Error("nobody there");
    const from = (...some: PersonView[]) => transferSentence(transfer({ type: "receiving", progress: { ...progress, rate: 1e6 } }, { people: some }), 0).text;
    expect(from(ana, { ...cleo, fromRate: 1e6 })).toBe("Coming in from Cleo, into Downloads.");
    expect(from({ ...ana, fromRate: 1e6 }, { ...cleo, fromRate: 1e6 })).toBe("Coming in from 2 people, into Downloads.");
  });
});

describe("small words", () => {
  it("speak of a reply code only once there is one", () => {
    const tried = (state: "unavailable" | "trying") =>
      carriersTried(transfer({ type: "connecting", seconds: 3, carriers: [{ carrier: "lan", state: "unavailable" }, { carrier: "paste", state }] }));
    expect(tried("unavailable").map(({ carrier }) => carrier)).toEqual(["lan"]);
    expect(tried("trying").map(({ carrier }) => carrier)).toEqual(["lan", "paste"]);
  });

  it("tell why a carrier is not used", () => {
    expect(carrierWords({ carrier: "lan", state: "unavailable" })).toEqual({ name: "Local network", state: "switched off" });
  });

  it("show free space before and after, and warn when it does not fit", () => {
    expect(spaceWords(182e9, 12.6e9)).toEqual({ text: "182 GB free now, 169 GB after", tone: "plain" });
    expect(spaceWords(5e9, 12.6e9).tone).toBe("bad");
  });
});

it("every staged state has a sentence that ends like one and names no machinery", () => {
  for (const [name, scene] of Object.entries(scenes)) {
    const said = [
      ...scene.snapshot.shares.map((view) => shareSentence(view, 0)),
      ...scene.snapshot.transfers.map((view) => transferSentence(view, 0)),
    ];
    for (const { text } of said) {
      expect(text, name).toMatch(/[.…]$/);
      expect(text, name).not.toMatch(/undefined|NaN|\bICE\b|SDP|errno|Os\(|swarm|\bpeer|\bseed|\bnode\b/i);
    }
  }
});
