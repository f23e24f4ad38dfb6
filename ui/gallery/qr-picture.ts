// A picture that looks like a QR code and holds nothing: for the gallery, where
// no engine makes the real one.

const SIDE = 33;

function finder(x: number, y: number): boolean | null {
  for (const [left, top] of [[0, 0], [SIDE - 7, 0], [0, SIDE - 7]] as const) {
    const [dx, dy] = [x - left, y - top];
    if (dx < -1 || dy < -1 || dx > 7 || dy > 7) continue;
    const ring = Math.max(Math.abs(dx - 3), Math.abs(dy - 3));
    return ring === 3 || ring <= 1;
  }
  return null;
}

function cells(): string {
  let path = "";
  let seed = 41;
  for (let y = 0; y < SIDE; y += 1) {
    for (let x = 0; x < SIDE; x += 1) {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      if (finder(x, y) ?? seed % 7 < 3) path += `M${x + 4} ${y + 4}h1v1h-1z`;
    }
  }
  return path;
}

export const qrPicture =
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${SIDE + 8} ${SIDE + 8}" shape-rendering="crispEdges">` +
  `<path fill="#fff" d="M0 0h99v99H0z"/><path d="${cells()}"/></svg>`;
