// The scenes about people who are not there: waiting for them, and looking
// whether the network is in the way.

import type { Checkup } from "../src/bindings/Checkup";
import type { Finding } from "../src/bindings/Finding";
import type { TransferState } from "../src/bindings/TransferState";
import type { TransferView } from "../src/bindings/TransferView";
import type { Scene } from "./staged-bridge";
import { byPaste, lists, progress, snapshot, transfer, trying, unknown } from "./staged-views";

export const longCode =
  "passalong-reply:1:AG4TQ7ZK0W8XV5N2M3PHRD6CBYJ9E1FSKTQ7ZK0W8XV5N2M3PHRD6CBYJ9E1FSAG4TQ7ZK0W8XV5N2M3PHRD6CBYJ9E1F" +
  "SKTQ7ZK0W8XV5N2M3PHRD6CBYJ9E1FSAG4TQ7ZK0W8XV5N2M3PHRD6CBYJ9E1FSKTQ7ZK0W8XV5N2M3PHRD6CBYJ9E1FS";

const good = (topic: Finding["topic"], title: string, detail: string): Finding => ({ topic, level: "good", title, detail, remedy: null });

const port = good("port", "A network port can be opened.", "On 192.168.178.44, 2001:db8:a1::44.");
const dht = good("dht", "The DHT answers.", "Nodes that did just now: 23. A code alone is enough to meet people on other networks.");
const server = (name: string, port: number) => good("stunServer", `stun:${name} answers.`, `It sees this computer as 203.0.113.20:${port}.`);

/** A home network as most are. */
export const green: Checkup = {
  level: "good",
  summary: "You can meet most people, near and far.",
  cause: null,
  findings: [
    port,
    good(
      "internet",
      "Your router keeps one port for everybody.",
      "The usual kind. People behind routers like this meet straight, and mostly those on other networks, too.",
    ),
    good("ipv6", "IPv6 works.", "Seen as 2001:db8:a1::44. People who have it, too, are met without routers in between."),
    good("portMapping", "Your router opens ports when asked.", "By UPnP, NAT-PMP. With an open port, people behind strict routers find a way in, too."),
    good("localNetwork", "People on the local network can be found.", "A test announcement went out and was heard."),
    dht,
    server("stun.cloudflare.com:3478", 47011),
    server("stun.l.google.com:19302", 47011),
    server("stun.nextcloud.com:3478", 47011),
  ],
};

/** A mobile or company network. */
export const red: Checkup = {
  level: "bad",
  summary: "On the internet you can meet few people from here; on the same network, all.",
  cause: "internet",
  findings: [
    good("port", "A network port can be opened.", "On 10.64.3.44."),
    {
      topic: "internet",
      level: "bad",
      title: "Your router gives each destination another port.",
      detail:
        "The strict kind, as mobile and company networks have it. People behind most home routers cannot be met straight from here " +
        "over IPv4; those without a router can.",
      remedy: "Use another network, have IPv6 turned on, or set a TURN server.",
    },
    {
      topic: "ipv6",
      level: "notice",
      title: "There is no IPv6 here.",
      detail: "People are met over IPv4 alone, where routers get in the way more often.",
      remedy: "If your provider offers IPv6, turn it on in the router.",
    },
    {
      topic: "portMapping",
      level: "notice",
      title: "Your router opens no ports when asked.",
      detail: "Neither UPnP nor PCP nor NAT-PMP was answered. People behind strict routers may find no way in, and links lead nowhere from outside; the DHT and reply codes go on working.",
      remedy: "Turn UPnP or PCP on in the router, if it is yours.",
    },
    good("localNetwork", "People on the local network can be found.", "A test announcement went out and was heard."),
    dht,
    server("stun.cloudflare.com:3478", 47011),
    server("stun.l.google.com:19302", 47012),
    {
      topic: "stunServer",
      level: "notice",
      title: "stun:stun.nextcloud.com:3478 does not answer.",
      detail: "Nothing came back from 198.51.100.7:3478.",
      remedy: "If others answer, this one can stay.",
    },
  ],
};

/** A VPN that may be in the way. */
export const yellow: Checkup = {
  ...green,
  level: "notice",
  summary: "You can meet most people, if the VPN that is on lets you.",
  cause: "vpn",
  findings: [
    ...green.findings,
    {
      topic: "vpn",
      level: "notice",
      title: "A VPN seems to be on.",
      detail: "tun0 has the address 10.8.0.2. Many VPNs keep computers from reaching each other.",
      remedy: "If a connection fails or is slow, turn the VPN off meanwhile, or allow the local network in it.",
    },
  ],
};

/** A network that blocks the DHT and nothing else. */
const silent: Checkup = {
  ...green,
  level: "notice",
  summary: "You can meet most people by a link; far away a code alone finds nobody.",
  cause: "dht",
  findings: green.findings.map((finding) =>
    finding.topic === "dht"
      ? {
          topic: "dht",
          level: "notice",
          title: "The DHT does not answer.",
          detail: "It goes over UDP, and some networks block it. Beyond this network a code alone finds nobody; links and reply codes go on working.",
          remedy: "Send the link or a reply code instead of the code, or use another network.",
        }
      : finding,
  ),
};

function waiting(part: Partial<TransferView>, more: Partial<Scene> = {}, state?: TransferState): Scene {
  const shown = transfer(state ?? { type: "waiting", carriers: trying, seconds: 24 }, { ...unknown, ...part });
  return { snapshot: snapshot({ transfers: [shown] }), entries: lists, replyCode: longCode, ...more };
}

const { from: ana } = transfer({ type: "offered" });

export const waitingScenes: Record<string, Scene> = {
  waiting: waiting({}),
  "waiting-named": waiting({ from: ana }),
  "waiting-reply": waiting({ from: ana }, {}, { type: "waiting", carriers: byPaste, seconds: 41 }),
  "waiting-checking": waiting({ from: ana }),
  "waiting-red": waiting({ from: ana }, { checkup: red }),
  "waiting-yellow": waiting({ from: ana }, { checkup: yellow }),
  "waiting-green": waiting({ from: ana }, { checkup: green }),
  "waiting-midway": waiting(
    { from: ana, name: "Conference recordings", files: 48, bytes: 12.6e9 },
    {},
    { type: "stalled", progress: progress(0.62, 0, null), seconds: 4000, carriers: trying },
  ),
  "no-way-through": waiting(
    { from: ana },
    { checkup: red },
    { type: "connecting", carriers: [{ carrier: "addresses", state: "answered" }, { carrier: "lan", state: "trying" }], seconds: 38 },
  ),
  check: { snapshot: snapshot(), checkup: red },
  "check-green": { snapshot: snapshot(), checkup: green },
  "check-silent-dht": { snapshot: snapshot(), checkup: silent },
  "check-new": { snapshot: snapshot() },
};
