// Whether a STUN or TURN address can be right, before it is kept. Pure.

/** `stun:host:port`, the host a name, an IPv4 or a bracketed IPv6 address. */
export function isServer(kind: "stun" | "turn", url: string): boolean {
  const match = /^(stun|turn):(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(\d{1,5}))?$/.exec(url);
  if (!match || match[1] !== kind) return false;
  const port = match[3];
  return port === undefined || (Number(port) > 0 && Number(port) < 65536);
}
