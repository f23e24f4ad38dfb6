import { describe, expect, it } from "vitest";
import { arrange, LABEL, lineTo, MOST, weight, type Circle, type Spot } from "./circle";

/** Row widths of a narrow window with very large text, a small and a wide one. */
const WIDTHS = [296, 632, 950];

/** What somebody and the words about them cover. */
function box(circle: Circle, at: number): { left: number; right: number; top: number; bottom: number } {
  const spot = circle.spots[at];
  if (!spot) throw new Error(`nobody has place ${at}`);
  const side = Math.max(circle.radius, circle.labelWidth / 2);
  const words = circle.labelWidth > 0 ? LABEL : 0;
  return {
    left: spot.x - side,
    right: spot.x + side,
    top: spot.y - circle.radius - (spot.above ? words : 0),
    bottom: spot.y + circle.radius + (spot.above ? 0 : words),
  };
}

function distance(a: Spot, b: Spot): number {
  return Math.hypot(a.x - b.x, a.y - b.y);
}

describe.each(WIDTHS)("in a picture %i wide", (width) => {
  it.each([1, 2, 3, 10, 12, 24, 50, 60])("%i people all have a place of their own inside it", (count) => {
    const circle = arrange(count, width);
    expect(circle.spots).toHaveLength(count);
    const boxes = circle.spots.map((_, at) => box(circle, at));
    const outside = boxes.filter(({ left, right, top, bottom }) => left < 0 || right > width || top < 0 || bottom > circle.height);
    expect(outside).toEqual([]);
    const covering = boxes.flatMap((one, at) =>
      boxes
        .slice(at + 1)
        .filter((other) => one.right > other.left && other.right > one.left && one.bottom > other.top && other.bottom > one.top)
        .map((other) => [one, other]),
    );
    expect(covering).toEqual([]);
  });

  it.each([2, 10, 50])("nobody of %i stands on this device, and it has room for its words", (count) => {
    const circle = arrange(count, width);
    for (const spot of circle.spots) expect(distance(spot, circle.centre)).toBeGreaterThan(circle.core + circle.radius + 20);
    expect(circle.centre.y - circle.core).toBeGreaterThanOrEqual(0);
    expect(circle.centre.y + circle.core + LABEL).toBeLessThanOrEqual(circle.height);
  });

  it("is not taller than a small window", () => {
    const heights = [0, 1, 2, 3, 5, 8, 12, 16, 24, 30, 40, 50, MOST].map((count) => arrange(count, width).height);
    expect(Math.max(...heights)).toBeLessThanOrEqual(400);
  });
});

it("two people stand on either side, level with this device", () => {
  const { centre, spots } = arrange(2, 632);
  expect(spots.map(({ y }) => Math.round(y))).toEqual([Math.round(centre.y), Math.round(centre.y)]);
  expect(spots[0]?.x).toBeLessThan(centre.x);
  expect(spots[1]?.x).toBeGreaterThan(centre.x);
});

it("somebody alone and this device share the middle", () => {
  const { centre, spots } = arrange(1, 632);
  expect(((spots[0]?.x ?? 0) + centre.x) / 2).toBeCloseTo(316);
});

it("names are written while there is room, and left to the table when there is none", () => {
  expect(arrange(2, 632).labelWidth).toBeGreaterThan(0);
  expect(arrange(10, 632).labelWidth).toBeGreaterThan(0);
  expect(arrange(50, 632).labelWidth).toBe(0);
});

it("words stand away from the middle, where no line runs through them", () => {
  const circle = arrange(10, 632);
  for (const spot of circle.spots) {
    if (spot.y < circle.centre.y - circle.radius) expect(spot.above).toBe(true);
    if (spot.y > circle.centre.y + circle.radius) expect(spot.above).toBe(false);
  }
});

it("nobody is drawn beyond the most that can be told apart", () => {
  expect(arrange(5000, 950).spots).toHaveLength(MOST);
});

it.each([2, 10, 50])("no line to one of %i people runs through another", (count) => {
  const circle = arrange(count, 950);
  const along = Array.from({ length: 101 }, (_, part) => part / 100);
  const closest = circle.spots.flatMap((end) => {
    const { from, to } = lineTo(circle, end, 0);
    const points = along.map((part) => ({ x: from.x + (to.x - from.x) * part, y: from.y + (to.y - from.y) * part }));
    return circle.spots.filter((other) => other !== end).map((other) => Math.min(...points.map((point) => distance(point, other))));
  });
  expect(Math.min(...closest)).toBeGreaterThanOrEqual(circle.radius);
});

it("a line ends short of both, and two lines to one person lie next to each other", () => {
  const circle = arrange(2, 632);
  const spot = circle.spots[1];
  if (!spot) throw new Error("nobody there");
  const [over, under] = [lineTo(circle, spot, -4), lineTo(circle, spot, 4)];
  expect(distance(over.from, circle.centre)).toBeGreaterThan(circle.core);
  expect(distance(over.to, spot)).toBeGreaterThan(circle.radius);
  expect(Math.abs(over.from.y - under.from.y)).toBeCloseTo(8);
});

it("a line is wider the more flows, without end neither above nor below", () => {
  expect([1, 100_000, 1e6, 1e7, 1e8].map(weight)).toEqual([1.5, 1.5, 2.5, 3.5, 5]);
  expect(weight(1e12)).toBe(6);
});
