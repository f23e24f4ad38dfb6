//! What the engine shows and tells: the types that cross from the engine to a
//! window or a command line.
//!
//! Everything here is plain data, generated for TypeScript with ts-rs into
//! `ui/src/bindings/`. Shares, transfers and files are named by id and index;
//! a path chosen by a peer is only ever shown, never sent back.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Identifies a share or a transfer: 16 hex digits derived from the invite.
pub type Id = String;

/// Everything a window needs to draw itself, once, at start.
#[derive(Clone, Debug, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Snapshot {
    /// This device.
    pub device: DeviceView,
    /// What the person has chosen.
    pub settings: Settings,
    /// Shares offered from here, newest first.
    pub shares: Vec<ShareView>,
    /// Shares being fetched or fetched, newest first.
    pub transfers: Vec<TransferView>,
    /// Totals for the status line.
    pub totals: Totals,
}

/// A device: this one, or one that was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct DeviceView {
    /// First 16 hex digits of the device key: stable, safe to show.
    pub id: String,
    /// The friendly name the device goes by.
    pub name: String,
}

/// What the person can choose. Kept in the data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase", default)]
#[ts(export)]
pub struct Settings {
    /// Where received files go unless chosen otherwise; absent means the
    /// system's Downloads folder.
    pub download_dir: Option<String>,
    /// Look for people on the local network (mDNS).
    pub lan: bool,
    /// Meet people in the Mainline DHT.
    pub dht: bool,
    /// Ask the router to open a port (UPnP, PCP, NAT-PMP).
    pub port_mapping: bool,
    /// STUN servers as `stun:host:port`.
    pub stun: Vec<String>,
    /// TURN servers.
    pub turn: Vec<TurnServer>,
    /// Copy the invite to the clipboard as soon as files are dropped.
    pub copy_invite: bool,
    /// Most bytes a second to send, all shares together; absent: no limit.
    #[ts(type = "number | null")]
    pub upload_limit: Option<u64>,
    /// Most bytes a second to fetch, all transfers together; absent: no limit.
    #[ts(type = "number | null")]
    pub download_limit: Option<u64>,
    /// People sent to at once; the others wait for their turn.
    pub upload_slots: u32,
    /// Send and fetch nothing for now.
    pub paused: bool,
    /// Pass on what was received for as long as the app is open.
    pub pass_on: bool,
    /// Give way to other traffic instead of being as fast as the path carries.
    pub background: bool,
    /// Help friends through: carry sealed datagrams between members of a share that
    /// this device takes part in and that find no way to each other.
    pub carry: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            download_dir: None,
            lan: true,
            dht: true,
            port_mapping: true,
            stun: [
                "stun:stun.cloudflare.com:3478",
                "stun:stun.l.google.com:19302",
                "stun:stun.nextcloud.com:3478",
            ]
            .map(str::to_owned)
            .to_vec(),
            turn: Vec::new(),
            copy_invite: true,
            upload_limit: None,
            download_limit: None,
            upload_slots: 8,
            paused: false,
            pass_on: true,
            background: false,
            carry: false,
        }
    }
}

/// A TURN server of the person's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct TurnServer {
    /// `turn:host:port`, UDP.
    pub url: String,
    /// Long-term credential user name.
    pub username: String,
    /// Long-term credential password.
    pub password: String,
}

/// Who may use an invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum Audience {
    /// Anyone who has the code, as often as they like.
    Anyone,
    /// The first person who accepts; the share stops when they have it all.
    OnePerson,
}

/// How two devices reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum Route {
    /// Both ends are on one local network or one machine.
    SameNetwork,
    /// Straight across the internet.
    Direct,
    /// Through a TURN server that somebody configured.
    Relayed,
    /// Through another member of the share, who helps.
    Carried,
}

/// A share offered from this device.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct ShareView {
    /// Identifies the share.
    pub id: Id,
    /// What the share is called: the file, the folder, or "3 items".
    pub name: String,
    /// Where it stands.
    pub state: ShareState,
    /// Who may use the invite.
    pub audience: Audience,
    /// Files found so far.
    pub files: u32,
    /// Bytes found so far.
    #[ts(type = "number")]
    pub bytes: u64,
    /// The code in four groups of five.
    pub code: String,
    /// The link, `passalong:CODE?a=…`; what "Copy invite" copies.
    pub link: String,
    /// People who used the invite or are after the same share, first come first.
    pub people: Vec<PersonView>,
    /// Nothing of this share is sent for now.
    pub paused: bool,
    /// How many copies of what are online.
    pub copies: CopiesView,
    /// What closing the app would mean for the others.
    pub safety: Safety,
    /// What was left out, at most the first 100.
    pub skipped: Vec<SkippedView>,
    /// How many were left out in all.
    pub skipped_total: u32,
    /// When it was dropped, Unix milliseconds.
    #[ts(type = "number")]
    pub created_at: u64,
}

/// Where a share stands.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "type"
)]
#[ts(export)]
pub enum ShareState {
    /// Files are being read and hashed; the invite works already.
    Preparing {
        /// Bytes hashed.
        #[ts(type = "number")]
        done_bytes: u64,
        /// Bytes found.
        #[ts(type = "number")]
        total_bytes: u64,
    },
    /// Everything is ready to be fetched.
    Ready,
    /// The person stopped it; the invite no longer works.
    Stopped,
    /// For one person, and that person has everything; the invite no longer works.
    Delivered,
    /// It cannot be offered.
    Failed {
        /// Why, and what to do.
        problem: Problem,
    },
}

/// How many copies of a share's pieces are online, those of this device counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct CopiesView {
    /// Pieces in the share; 0 while the list is not known.
    pub pieces: u32,
    /// The share in at most 240 runs of pieces, in order: copies of the rarest
    /// piece of each, 255 for more.
    pub cells: Vec<u8>,
    /// For each run how much of it is here, in percent.
    pub mine: Vec<u8>,
}

/// What closing the app would mean for those who are after the share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, TS)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "type"
)]
#[ts(export)]
pub enum Safety {
    /// Nobody is online who wants anything of it.
    #[default]
    Nobody,
    /// Others who are online have complete copies.
    Safe {
        /// Their names.
        complete: Vec<String>,
    },
    /// No one else has all of it, but together the others do.
    SafeTogether,
    /// Some of it is online nowhere else.
    OnlyYou {
        /// How much.
        #[ts(type = "number")]
        bytes: u64,
        /// How much of the share, rounded up.
        percent: u8,
    },
}

/// Whether somebody can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum Presence {
    /// Connected to this device.
    Connected,
    /// Online, as somebody connected says, and not connected to this device.
    Known,
    /// Not online any more.
    Gone,
}

/// Somebody else who has, or is after, a share.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct PersonView {
    /// Their device.
    pub device: DeviceView,
    /// How they are reached, once connected.
    pub route: Option<Route>,
    /// Who helps them and this device through, while the route is
    /// [`Route::Carried`].
    pub through: Option<DeviceView>,
    /// What they are doing.
    pub state: PersonState,
    /// Bytes they hold, verified.
    #[ts(type = "number")]
    pub bytes: u64,
    /// Bytes they asked for.
    #[ts(type = "number")]
    pub total: u64,
    /// Bytes a second flowing to them.
    #[ts(type = "number")]
    pub rate: u64,
    /// Bytes a second flowing from them.
    #[ts(type = "number")]
    pub from_rate: u64,
    /// Whether they made the share.
    pub sharer: bool,
    /// Whether they can be reached.
    pub presence: Presence,
}

/// What a person is doing with a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum PersonState {
    /// The connection is being made.
    Connecting,
    /// They see the list and have not decided.
    Choosing,
    /// Files are flowing.
    Receiving,
    /// They wait for their turn: all upload slots are taken.
    Waiting,
    /// They have everything they asked for.
    Complete,
    /// They declined.
    Declined,
    /// They cancelled.
    Cancelled,
    /// The connection broke; they may come back.
    Lost,
}

/// A file or folder that a share leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct SkippedView {
    /// Its path inside the share, made printable.
    pub path: String,
    /// Why, as the end of a sentence: "a symbolic link".
    pub reason: String,
}

/// A share being fetched.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct TransferView {
    /// Identifies the transfer.
    pub id: Id,
    /// The code in four groups of five.
    pub code: String,
    /// The share's name, once known.
    pub name: Option<String>,
    /// Who it comes from, once met, also in an earlier run: the sharer if they were met,
    /// else somebody who has it.
    pub from: Option<DeviceView>,
    /// How they are reached, while connected.
    pub route: Option<Route>,
    /// Files in the share, once known.
    pub files: u32,
    /// Bytes in the share, once known.
    #[ts(type = "number")]
    pub bytes: u64,
    /// Where it stands.
    pub state: TransferState,
    /// Where the files go.
    pub destination: Destination,
    /// A link that leads here: whoever opens it gets the share from this device,
    /// too.
    pub link: String,
    /// The others who have it or are after it, first come first.
    pub people: Vec<PersonView>,
    /// How many copies of what are online.
    pub copies: CopiesView,
    /// What closing the app would mean for the others.
    pub safety: Safety,
    /// Whether what is here is passed on.
    pub passing_on: bool,
    /// Whether the sharer stopped the share.
    pub stopped: bool,
    /// Whether the sharer meant it for one person: it is not passed on.
    pub one_person: bool,
    /// Files the sharer left out or could not read, at most the first 100.
    pub problems: Vec<SkippedView>,
    /// When the invite was opened, Unix milliseconds.
    #[ts(type = "number")]
    pub created_at: u64,
}

/// A folder that files go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Destination {
    /// The folder, for showing.
    pub path: String,
    /// Bytes free on its drive, if the system tells.
    #[ts(type = "number | null")]
    pub free_bytes: Option<u64>,
}

/// Where a transfer stands.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "type"
)]
#[ts(export)]
pub enum TransferState {
    /// Knocking: nobody has answered yet, or the connection is being made. Becomes
    /// [`TransferState::Waiting`] when nobody answers for ten seconds.
    Connecting {
        /// What is being tried.
        carriers: Vec<CarrierView>,
        /// Whole seconds in which nobody was connected.
        seconds: u32,
    },
    /// Nobody who has it is online, as far as can be seen from here. It is searched on,
    /// also after a restart, and goes on by itself as soon as somebody is there.
    Waiting {
        /// What is being tried.
        carriers: Vec<CarrierView>,
        /// Whole seconds in which nobody was connected.
        seconds: u32,
    },
    /// Met; the sharer is still reading files.
    Preparing {
        /// Bytes they have hashed.
        #[ts(type = "number")]
        done_bytes: u64,
        /// Bytes they found.
        #[ts(type = "number")]
        total_bytes: u64,
    },
    /// The list is here; the person has not decided.
    Offered,
    /// Checking what is already in the destination.
    Checking {
        /// Bytes checked.
        #[ts(type = "number")]
        done_bytes: u64,
        /// Bytes to check.
        #[ts(type = "number")]
        total_bytes: u64,
    },
    /// Files are flowing.
    Receiving {
        /// How far.
        progress: Progress,
    },
    /// Accepted, but nothing flows: the connection broke or the sharer is silent.
    Stalled {
        /// How far.
        progress: Progress,
        /// Whole seconds without a byte.
        seconds: u32,
        /// What is being tried.
        carriers: Vec<CarrierView>,
    },
    /// Accepted, and paused by the person.
    Paused {
        /// How far.
        progress: Progress,
    },
    /// Everything asked for is here, verified.
    Done {
        /// Files received, those already here included.
        files: u32,
        /// Bytes of these.
        #[ts(type = "number")]
        bytes: u64,
        /// Files that were already here.
        already_here: u32,
        /// Seconds from accepting to the last rename.
        seconds: f64,
    },
    /// The person declined.
    Declined,
    /// The person cancelled.
    Cancelled,
    /// It cannot go on by itself.
    Failed {
        /// Why, and what to do.
        problem: Problem,
        /// Whether "Try again" makes sense.
        can_retry: bool,
    },
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Progress {
    /// Bytes on disk, verified.
    #[ts(type = "number")]
    pub bytes: u64,
    /// Bytes asked for.
    #[ts(type = "number")]
    pub total: u64,
    /// Files whole.
    pub files: u32,
    /// Files asked for.
    pub files_total: u32,
    /// Bytes a second, smoothed over 3 s.
    #[ts(type = "number")]
    pub rate: u64,
    /// Seconds left at this rate, if that can be said.
    pub seconds_left: Option<u32>,
}

/// A way of reaching the sharer, and how it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct CarrierView {
    /// Which.
    pub carrier: Carrier,
    /// How it goes.
    pub state: CarrierState,
}

/// A way a knock and its answer travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum Carrier {
    /// Straight to the addresses in the link.
    Addresses,
    /// Found on the local network.
    Lan,
    /// The Mainline DHT.
    Dht,
    /// A reply code sent by other means.
    Paste,
}

/// How a carrier goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum CarrierState {
    /// Not possible: the link has no addresses, or the setting is off.
    Unavailable,
    /// Knocking, no answer yet.
    Trying,
    /// Answered; the connection is being made.
    Answered,
}

/// Something that went wrong, said so that a person can act on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Problem {
    /// What kind: the window and the exit status branch on it.
    pub code: ProblemCode,
    /// What happened, to what.
    pub message: String,
    /// What the person can do.
    pub remedy: String,
}

/// Kinds of problems that somebody branches on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum ProblemCode {
    /// The text is not an invite, or has a typo.
    NotAnInvite,
    /// The invite is one's own.
    OwnInvite,
    /// Nobody answered.
    Unreachable,
    /// The sharer stopped the share.
    Stopped,
    /// The share is for one person, and somebody else was first.
    Taken,
    /// The disk is full, read-only, missing, or a file cannot be read.
    Disk,
    /// What the peer sent is corrupt or hostile.
    Corrupt,
    /// The other side speaks another protocol version.
    Version,
    /// The request does not fit the state, such as accepting twice.
    Usage,
    /// Anything else.
    Internal,
}

/// One entry of a share's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct EntryView {
    /// Its place in the manifest: what a selection names.
    pub index: u32,
    /// Path inside the share, `/` between components.
    pub path: String,
    /// Bytes; 0 for a folder.
    #[ts(type = "number")]
    pub size: u64,
    /// Whether it is a folder.
    pub folder: bool,
    /// Whether opening it would run a program.
    pub executable: bool,
}

/// Which entries to fetch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, TS)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "type"
)]
#[ts(export)]
pub enum Selection {
    /// Everything.
    All,
    /// Only these entries, by index.
    Only {
        /// Indexes in the manifest.
        entries: Vec<u32>,
    },
}

/// What a pasted text turned out to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "type"
)]
#[ts(export)]
pub enum Opened {
    /// An invite: this transfer has begun, or goes on.
    Transfer {
        /// The transfer.
        id: Id,
    },
    /// A reply code for a share of ours: the peer is being called. Where no
    /// datagram gets through, the answer code completes it by hand.
    Reply {
        /// The share it is for.
        share: Id,
        /// Who sent it.
        from: DeviceView,
        /// To be sent back by the person if the peer does not appear.
        answer_code: String,
    },
    /// An answer code for a transfer of ours: the connection is being made.
    Answer {
        /// The transfer it is for.
        id: Id,
    },
}

/// What closing the app now would cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct AtStake {
    /// One sentence for each thing that would be cut off.
    pub sentences: Vec<String>,
}

/// A share that was offered or received and is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct HistoryEntry {
    /// The share.
    pub id: Id,
    /// What it was called.
    pub name: String,
    /// Which way it went.
    pub direction: Direction,
    /// How it ended.
    pub outcome: Outcome,
    /// Names of the people who got it, or whom it came from.
    pub people: Vec<String>,
    /// Files.
    pub files: u32,
    /// Bytes.
    #[ts(type = "number")]
    pub bytes: u64,
    /// When it was over, Unix milliseconds.
    #[ts(type = "number")]
    pub at: u64,
}

/// Which way a share went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum Direction {
    /// Offered from here.
    Shared,
    /// Received here.
    Received,
}

/// How a share or transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum Outcome {
    /// Received whole.
    Complete,
    /// Stopped by the one who shared it.
    Stopped,
    /// For one person, who has it.
    Delivered,
    /// Declined or cancelled by the one who received it.
    Cancelled,
}

/// Totals for the status line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Totals {
    /// People connected now.
    pub people: u32,
    /// Bytes a second going out.
    #[ts(type = "number")]
    pub up: u64,
    /// Bytes a second coming in.
    #[ts(type = "number")]
    pub down: u64,
    /// Bytes a second carried between others, which go out and come in besides.
    #[ts(type = "number")]
    pub carried: u64,
}

/// Something changed. Each carries the whole new view of its subject, so a
/// missed event costs nothing; at most ten a second for one subject.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "type"
)]
#[ts(export)]
pub enum Event {
    /// A share appeared or changed.
    Share {
        /// Its new view.
        share: ShareView,
    },
    /// A share's row is gone.
    ShareRemoved {
        /// Which.
        id: Id,
    },
    /// A transfer appeared or changed.
    Transfer {
        /// Its new view.
        transfer: TransferView,
    },
    /// A transfer's row is gone.
    TransferRemoved {
        /// Which.
        id: Id,
    },
    /// A file of a transfer is whole, under its final name.
    File {
        /// The transfer.
        id: Id,
        /// Path under the destination.
        path: String,
        /// Its size.
        #[ts(type = "number")]
        bytes: u64,
    },
    /// Settings changed.
    Settings {
        /// The new ones.
        settings: Settings,
    },
    /// This device changed its name.
    Device {
        /// The new view.
        device: DeviceView,
    },
    /// The totals changed.
    Totals {
        /// The new ones.
        totals: Totals,
    },
}
