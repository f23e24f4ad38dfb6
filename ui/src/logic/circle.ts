// Where people stand around a share in its picture: evenly along an ellipse,
// on up to three of them when there are many, so that nobody covers anybody and
// the line to each passes between the others. Lengths are sixteenths of a rem,
// so that the picture grows with the text. Pure.

/** A point, from the top left corner. */
export interface Spot {
  x: number;
  y: number;
}

/** A picture laid out. */
export interface Circle {
  width: number;
  height: number;
  /** Where this device is. */
  centre: Spot;
  /** Half the width of this device. */
  core: number;
  /** Half the width of a person. */
  radius: number;
  /** Width of the words about a person; 0 when there is no room for any. */
  labelWidth: number;
  /** Where each person is, first come first. */
  spots: Place[];
}

/** Where somebody is, and whether the words about them are above or below: away
 * from the middle, where no line runs. */
export interface Place extends Spot {
  above: boolean;
}

/** Height of the words about somebody: two lines. */
export const LABEL = 32;
/** Most people in one picture; the table has everybody. */
export const MOST = 60;

/** Least room between two people, and around the picture. */
const GAP = 4;
const MARGIN = 6;
/** Least of a line that shows which way it flows. */
const LINE = 22;
/** Space for "You" under the middle, and for its mark above. */
const CORE_LABEL = 36;
const BADGE = 4;

/** A way to draw people, and how far from the middle each ring of them is. */
interface Style {
  core: number;
  radius: number;
  labelWidth: number;
  rings: readonly number[];
  heights: readonly number[];
}

const LOW = [172, 200, 228, 256, 284, 312, 340, 368, 396];
const HIGH = [228, 256, 284, 312, 340, 368, 396];

/** Roomiest first. The last is taken when nothing else fits. */
const STYLES: readonly Style[] = [
  { core: 30, radius: 22, labelWidth: 104, rings: [1], heights: LOW },
  { core: 30, radius: 20, labelWidth: 84, rings: [1], heights: LOW },
  { core: 30, radius: 20, labelWidth: 72, rings: [1], heights: LOW },
  { core: 30, radius: 20, labelWidth: 72, rings: [1, 0.58], heights: HIGH },
  { core: 30, radius: 17, labelWidth: 0, rings: [1], heights: HIGH },
  { core: 30, radius: 17, labelWidth: 0, rings: [1, 0.68], heights: HIGH },
  { core: 24, radius: 14, labelWidth: 0, rings: [1, 0.7], heights: HIGH },
  { core: 24, radius: 14, labelWidth: 0, rings: [1, 0.74, 0.5], heights: HIGH },
  { core: 24, radius: 11, labelWidth: 0, rings: [1, 0.72], heights: HIGH },
  { core: 24, radius: 11, labelWidth: 0, rings: [1, 0.76, 0.52], heights: HIGH },
  { core: 24, radius: 8, labelWidth: 0, rings: [1, 0.78, 0.56], heights: [396] },
];

/** Where the first person stands: on the left, so that an even number has two
 * level with the middle; an odd number is tried from the top, too. */
const STARTS = [Math.PI, -Math.PI / 2];

/** Points at even distances along an ellipse around 0. */
function evenly(count: number, a: number, b: number, start: number): Spot[] {
  const STEPS = 1440;
  const at = (step: number): Spot => {
    const angle = start + (2 * Math.PI * step) / STEPS;
    return { x: a * Math.cos(angle), y: b * Math.sin(angle) };
  };
  const along = [0];
  for (let step = 1; step <= STEPS; step += 1) {
    const [from, to] = [at(step - 1), at(step)];
    along.push((along[step - 1] ?? 0) + Math.hypot(to.x - from.x, to.y - from.y));
  }
  const around = along[STEPS] ?? 0;
  const spots: Spot[] = [];
  let step = 0;
  for (let n = 0; n < count; n += 1) {
    while ((along[step] ?? around) < (around * n) / count) step += 1;
    spots.push(at(step));
  }
  return spots;
}

/** A stretch of the picture: from the middle of something to its four sides. */
interface Box extends Spot {
  side: number;
  up: number;
  down: number;
}

/** What somebody covers, the words about them included. */
function boxOf(place: Place, style: Style): Box {
  const edge = style.radius + GAP / 2;
  const words = style.labelWidth > 0 ? edge + LABEL : edge;
  return {
    ...{ x: place.x, y: place.y, side: Math.max(style.radius, style.labelWidth / 2) + GAP / 2 },
    ...(place.above ? { up: words, down: edge } : { up: edge, down: words }),
  };
}

/** What this device covers in the middle. */
function middle({ centre, core }: Circle): Box {
  return { ...centre, side: core + GAP, up: core + BADGE, down: core + CORE_LABEL };
}

function meet(a: Box, b: Box): boolean {
  return Math.abs(a.x - b.x) < a.side + b.side && a.y - a.up < b.y + b.down && b.y - b.up < a.y + a.down;
}

function place(count: number, width: number, height: number, style: Style, start: number): Circle {
  const { core, radius, labelWidth, rings } = style;
  const side = Math.max(radius, labelWidth / 2) + GAP / 2;
  // A few people do not stand at the far ends of a wide window.
  const a = Math.max(0, Math.min(width / 2 - side - MARGIN, 150 + 26 * count));
  const b = Math.max(0, height / 2 - radius - (labelWidth > 0 ? LABEL : 0) - MARGIN);
  const centre = { x: width / 2, y: height / 2 };
  const spots = evenly(count, a, b, start).map(({ x, y }, n) => {
    const ring = rings[n % rings.length] ?? 1;
    return { x: centre.x + x * ring, y: centre.y + y * ring, above: y < -radius };
  });
  // Somebody alone stands to the right, and the two of them in the middle.
  const [only] = spots;
  if (count === 1 && only) {
    only.x = centre.x + a / 2;
    centre.x -= a / 2;
  }
  return { width, height, centre, core, radius, labelWidth, spots };
}

/** The same without the empty room above and below. */
function trimmed(circle: Circle, style: Style): Circle {
  const boxes = [middle(circle), ...circle.spots.map((spot) => boxOf(spot, style))];
  const top = Math.min(...boxes.map(({ y, up }) => y - up)) - MARGIN;
  const bottom = Math.max(...boxes.map(({ y, down }) => y + down)) + MARGIN;
  const raised = <T extends Spot>(spot: T): T => ({ ...spot, y: spot.y - top });
  return { ...circle, height: bottom - top, centre: raised(circle.centre), spots: circle.spots.map(raised) };
}

/** How close the line from the middle to `to` comes to `other`. */
function clearance(centre: Spot, to: Spot, other: Spot): number {
  const [dx, dy] = [to.x - centre.x, to.y - centre.y];
  const length = Math.max(1, dx * dx + dy * dy);
  const along = Math.min(1, Math.max(0, ((other.x - centre.x) * dx + (other.y - centre.y) * dy) / length));
  return Math.hypot(centre.x + along * dx - other.x, centre.y + along * dy - other.y);
}

function fits(circle: Circle, style: Style): boolean {
  const { spots, centre, radius } = circle;
  const boxes = spots.map((spot) => boxOf(spot, style));
  const me = middle(circle);
  return boxes.every(
    (box, n) =>
      !meet(box, me) &&
      Math.hypot(box.x - centre.x, box.y - centre.y) >= circle.core + radius + LINE &&
      boxes.every((other, m) => m === n || (!(m < n && meet(box, other)) && clearance(centre, box, other) >= radius)),
  );
}

/** Lays out `count` people, at most `MOST`, in a picture of this width. */
export function arrange(count: number, width: number): Circle {
  const people = Math.min(count, MOST);
  let last: Circle = { width, height: 0, centre: { x: width / 2, y: 0 }, core: 0, radius: 0, labelWidth: 0, spots: [] };
  for (const style of STYLES) {
    for (const height of style.heights) {
      for (const start of STARTS.slice(0, people > 1 && people % 2 === 1 ? 2 : 1)) {
        const circle = place(people, width, height, style, start);
        last = trimmed(circle, style);
        if (fits(circle, style)) return last;
      }
    }
  }
  return last;
}

/** A straight line between the edges of the middle and of somebody, moved aside
 * so that what comes and what goes lie next to each other. */
export function lineTo(circle: Circle, spot: Spot, aside: number): { from: Spot; to: Spot } {
  const { centre, core, radius } = circle;
  const [dx, dy] = [spot.x - centre.x, spot.y - centre.y];
  const length = Math.max(1, Math.hypot(dx, dy));
  const [ux, uy] = [dx / length, dy / length];
  const point = (at: number): Spot => ({ x: centre.x + ux * at - uy * aside, y: centre.y + uy * at + ux * aside });
  return { from: point(Math.min(length, core + 4)), to: point(Math.max(0, length - radius - 3)) };
}

/** How wide the line of a rate in bytes a second is: one step for each tenfold. */
export function weight(rate: number): number {
  const wide = 1.5 + 1.1 * Math.log10(Math.max(1, rate / 100_000));
  return Math.round(Math.min(6, wide) * 2) / 2;
}
