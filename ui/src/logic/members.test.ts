import { describe, expect, it } from "vitest";
import type { PersonView } from "../bindings/PersonView";
import { MOST } from "./circle";
import { factsOf, flowWords, held, inPicture, personSentence, pictureSentence, underName } from "./members";

const ben: PersonView = {
  device: { id: "1", name: "Ben" },
  route: "direct",
  through: null,
  state: "receiving",
  bytes: 3e9,
  total: 4.2e9,
  rate: 0,
  fromRate: 0,
  sharer: false,
  presence: "connected",
};

describe("what a person does", () => {
  it.each([
    ["connecting", {}, "Connecting…"],
    ["choosing", {}, "Looking at the list"],
    ["receiving", {}, "Has 3.0 of 4.2 GB"],
    ["receiving", { bytes: 0 }, "Has nothing yet"],
    ["receiving", { presence: "known" }, "Has 3.0 of 4.2 GB; not connected to you"],
    ["waiting", {}, "Has 3.0 of 4.2 GB; waits for a turn"],
    ["waiting", { bytes: 0, total: 0 }, "Has nothing yet; waits for a turn"],
    ["complete", { bytes: 4.2e9 }, "Has everything they asked for, 4.2 GB"],
    ["complete", { bytes: 4.2e9, sharer: true }, "Has everything, 4.2 GB"],
    ["complete", { bytes: 4.2e9, presence: "known" }, "Has everything they asked for, 4.2 GB; not connected to you"],
    ["complete", { bytes: 4.2e9, presence: "gone" }, "Has everything; not online now"],
    ["declined", {}, "Declined"],
    ["cancelled", {}, "Cancelled"],
    ["lost", {}, "Out of reach with 3.0 of 4.2 GB; goes on by itself"],
  ] as const)("%s with %j", (state, part, said) => {
    expect(personSentence({ ...ben, state, ...part }, false).text).toBe(said);
  });

  it("tells the time left only where everything comes from here", () => {
    expect(personSentence({ ...ben, rate: 12e6 }, true).text).toBe("Has 3.0 of 4.2 GB, about 2 minutes left");
    expect(personSentence({ ...ben, rate: 12e6 }, false).text).toBe("Has 3.0 of 4.2 GB");
  });

  it("names what flows each way, and nothing when nothing does", () => {
    expect(flowWords(ben)).toBeNull();
    expect(flowWords({ ...ben, rate: 12.4e6, fromRate: 800e3 })).toEqual({ gets: "12 MB/s", sends: "800 kB/s" });
    expect(flowWords({ ...ben, fromRate: 800e3 })).toEqual({ gets: "", sends: "800 kB/s" });
  });
});

describe("the picture", () => {
  it("fills the arc by what somebody has of what they asked for", () => {
    expect(held(ben)).toBeCloseTo(0.714, 3);
    expect(held({ ...ben, total: 0, bytes: 0 })).toBe(0);
    expect(held({ ...ben, bytes: 9e9 })).toBe(1);
    expect(held({ ...ben, state: "complete", bytes: 0, total: 0 })).toBe(1);
  });

  it("says under a name how much, or why there is no line", () => {
    expect(underName(ben)).toBe("71 %");
    expect(underName({ ...ben, state: "waiting" })).toBe("71 %, waits");
    expect(underName({ ...ben, state: "connecting" })).toBe("connecting");
    expect(underName({ ...ben, presence: "gone" })).toBe("not online");
  });

  it("leaves out those who are furthest when there are too many, and keeps the order of the others", () => {
    const people = Array.from({ length: MOST + 20 }, (_, n) => ({
      ...ben,
      device: { id: `${n}`, name: `${n}` },
      presence: n % 8 === 0 ? ("gone" as const) : n % 2 === 0 ? ("known" as const) : ("connected" as const),
    }));
    const drawn = inPicture(people);
    expect(drawn).toHaveLength(MOST);
    expect(drawn.filter(({ presence }) => presence === "connected")).toHaveLength(40);
    expect(drawn.some(({ presence }) => presence === "gone")).toBe(false);
    const order = drawn.map(({ device }) => Number(device.id));
    expect(order).toEqual([...order].sort((a, b) => a - b));
  });

  it("is said in one go to those who do not see it", () => {
    expect(pictureSentence([], 1)).toBe("You have 100 % of it. Nobody else is here yet.");
    const ana: PersonView = { ...ben, state: "complete", fromRate: 5e6 };
    expect(pictureSentence([ana, { ...ben, rate: 1e6 }, { ...ben, presence: "known" }], 0.62)).toBe(
      "You have 62 % of it. 3 other people, 2 connected to you, 1 with all of it. 1 person sends to you. You send to 1 person.",
    );
  });
});

describe("the table", () => {
  it("has the facts of the picture in words", () => {
    expect(factsOf({ ...ben, rate: 12.4e6, sharer: true })).toEqual({
      id: "1",
      name: "Ben",
      sharer: true,
      has: "3.0 of 4.2 GB",
      state: "Receiving",
      route: "Direct",
      sends: "–",
      gets: "12 MB/s",
    });
  });

  it.each([
    ["known", "direct", "Not connected to you"],
    ["gone", null, "Not online now"],
    ["connected", null, "None"],
    ["connected", "relayed", "Relayed"],
    ["connected", "carried", "Through a friend"],
  ] as const)("says of somebody %s by %s how they are reached", (presence, route, said) => {
    expect(factsOf({ ...ben, presence, route }).route).toBe(said);
  });

  it("names the friend who helps through", () => {
    const through = { id: "2", name: "Mia" };
    expect(factsOf({ ...ben, route: "carried", through }).route).toBe("Through Mia");
    expect(factsOf({ ...ben, route: "carried", through: { id: "2", name: "" } }).route).toBe("Through a friend");
  });

  it.each([
    ["connecting", "Connecting"],
    ["choosing", "Looking at the list"],
    ["receiving", "Receiving"],
    ["waiting", "Waits for a turn"],
    ["complete", "Has everything"],
    ["declined", "Declined"],
    ["cancelled", "Cancelled"],
    ["lost", "Out of reach"],
  ] as const)("calls %s by its name", (state, said) => {
    expect(factsOf({ ...ben, state }).state).toBe(said);
  });
});
