//! What is done about what the links of a share report.

use passalong_proto::fetch::{FetchError, PeerKey};
use passalong_proto::keys::{DeviceId, Role, is_from_sharer, stop_statement};
use passalong_proto::knock;
use passalong_proto::wire::{Farewell, Message};

use super::member::{Change, Joined, Report};
use super::{AGAIN, Happening, Link, Made, Stop, Swarm};
use crate::api::{DeviceView, Problem, ProblemCode};
use crate::link;
use crate::post::{Visit, WayBack};

/// Knocks that one member may have passed on in ten seconds.
const FORWARDS: u32 = 60;

impl Swarm {
    pub(super) fn reported(&mut self, report: Report) {
        let Report { key, change } = report;
        let Some(link) = self.links.get(&key) else {
            return;
        };
        let device = link.device;
        match change {
            Change::Joined(joined) => self.joined(key, *joined),
            Change::Frame(frame) => {
                let now = self.now();
                self.received.add(frame.data.len() as u64);
                self.last_received = tokio::time::Instant::now();
                match self.fetch.handle_frame(key, frame, now) {
                    // Most frames are part of a piece and change nothing yet.
                    Ok(None) => return,
                    Ok(Some(event)) => self.fetched(event),
                    Err(error) => self.fetch_fault(key, &error),
                }
            }
            Change::Message(message) => self.heard(key, device, message),
            Change::Accepted { bytes } => {
                self.people.accepted(device, bytes);
                self.happenings.push_back(Happening::Accepted { device });
            }
            Change::Holds { bytes } => self.people.holds(device, bytes),
            Change::Complete => {
                self.people.complete(device);
                self.count();
                self.happenings.push_back(Happening::Complete { device });
            }
            Change::Declined => {
                self.people.declined(device);
                self.happenings.push_back(Happening::Released { device });
            }
            Change::Cancelled => {
                self.people.cancelled(device);
                self.happenings.push_back(Happening::Released { device });
            }
            Change::Waits(waits) => self.people.waits(device, waits),
            Change::Sent { bytes } => self.people.sent(device, bytes),
            Change::Unavailable { entry, reason } => {
                self.lose(entry);
                self.happenings
                    .push_back(Happening::Unavailable { entry, reason });
            }
            Change::Violation(what) => {
                tracing::warn!(what, device = %device.short(), "the protocol was broken");
                self.fault(key, Farewell::Protocol, Problem::corrupt(what));
            }
            Change::Gone => self.gone(key),
        }
        self.flush();
    }

    fn joined(&mut self, key: PeerKey, joined: Joined) {
        let device = joined.device;
        if self.shunned.contains(&device) {
            return self.part(key, Farewell::Protocol);
        }
        if let Some(other) = self.linked.get(&device).copied()
            && !self.outlives(other, key, &joined)
        {
            return self.part(key, Farewell::Finished);
        }
        let Some(link) = self.links.get_mut(&key) else {
            return;
        };
        let name = joined.name.clone();
        link.made = Some(Made {
            route: joined.route,
            bearer: joined.bearer,
            role: joined.role,
            control: joined.control,
            peer_binding: joined.peer_binding,
            sharer: false,
            told_accepted: false,
            told_complete: false,
            forwards: 0,
        });
        let now = self.now();
        self.linked.insert(device, key);
        self.fetch.joined(key, now);
        self.membership.linked(device, name.clone(), now);
        let through = joined.bearer.map(|bearer| DeviceView {
            id: bearer.short(),
            name: self.people.name(bearer).unwrap_or_default(),
        });
        self.people.connected(device, &name, joined.route, through);
        self.search = None;
        if let Some(maker) = &self.maker
            && let Some(control) = self.control_of(&device)
        {
            control.send(Message::Sharer {
                public_key: maker.public(),
                signature: maker.sign(&joined.binding).into(),
            });
        }
        let straight = self.control_of(&device).filter(|_| joined.bearer.is_none());
        if let (Some(control), willing @ true) = (&straight, self.told_willing) {
            control.send(Message::Carries { willing });
        }
        self.carrying.linked(device, straight);
        self.introduce_list(key);
        self.happenings.push_back(Happening::Met(DeviceView {
            id: device.short(),
            name: name.as_str().to_owned(),
        }));
    }

    /// Two links to one device: whether the new one, `key`, takes the place of
    /// the `other`. Both sides have to come to the same answer: of two that were
    /// called from both sides the call of the smaller device stays; of two from
    /// one side the later, as that side knows the earlier to be lost. Before that one
    /// which nobody carries.
    fn outlives(&mut self, other: PeerKey, key: PeerKey, joined: &Joined) -> bool {
        let Some(Link {
            made: Some(made), ..
        }) = self.links.get(&other)
        else {
            return true;
        };
        let (carried, was_carried) = (joined.bearer.is_some(), made.bearer.is_some());
        let same_side = made.role == joined.role;
        let own_is_smaller = self.context.device() < joined.device;
        let from_smaller = own_is_smaller == (joined.role == Role::Knocker);
        let stays = match (carried, was_carried) {
            (false, true) => true,
            (true, false) => false,
            _ => same_side || from_smaller,
        };
        if stays {
            self.unlink(other);
            self.part(other, Farewell::Finished);
        }
        tracing::debug!(new = key.0, old = other.0, stays, "two links to one device");
        stays
    }

    /// Tells a link with the same list what was accepted here.
    pub(super) fn tell_accepted(&mut self, key: PeerKey) {
        let (Some((files, bytes)), true) = (self.accepted, self.fetch.listed_by(key)) else {
            return;
        };
        let held = self.fetch.progress().bytes;
        let complete = self.complete;
        if let Some(Link {
            made: Some(made), ..
        }) = self.links.get_mut(&key)
            && !made.told_accepted
        {
            made.told_accepted = true;
            made.control.send(Message::Accept { files, bytes });
            made.control.send(Message::Progress { bytes: held });
            if complete {
                made.told_complete = true;
                made.control.send(Message::Complete);
            }
        }
    }

    fn heard(&mut self, key: PeerKey, device: DeviceId, message: Message) {
        let now = self.now();
        let secret = self.invite.secret;
        match message {
            Message::Sharer {
                public_key,
                signature,
            } => {
                let Some(Link {
                    made: Some(made), ..
                }) = self.links.get_mut(&key)
                else {
                    return;
                };
                if is_from_sharer(&secret, &public_key, &made.peer_binding, &signature.into()) {
                    made.sharer = true;
                    self.fetch.sharer(key);
                    self.people.sharer(device);
                } else {
                    let problem = Problem::corrupt("it claims to be the sharer and is not");
                    self.fault(key, Farewell::Protocol, problem);
                }
            }
            Message::Stopped {
                public_key,
                signature,
            } => {
                let statement = stop_statement(&secret);
                let genuine = is_from_sharer(&secret, &public_key, &statement, &signature.into());
                if !genuine {
                    let problem = Problem::corrupt("it passed on a stop that is not the sharer's");
                    self.fault(key, Farewell::Protocol, problem);
                } else if self.stopped.is_none() {
                    let message = Message::Stopped {
                        public_key,
                        signature,
                    };
                    self.tell_everybody(&message, Some(key));
                    self.stopped = Some(Stop {
                        public_key,
                        signature,
                    });
                    self.happenings.push_back(Happening::Stopped);
                }
            }
            Message::Members { members } => self.membership.gossip(device, members, now),
            Message::Forward { to, sealed } => {
                if self.may_forward(key)
                    && to != device
                    && let Some(control) = self.control_of(&to)
                {
                    let from = device;
                    control.send(Message::Forwarded { from, sealed });
                }
            }
            Message::Forwarded { from, sealed } => {
                if self.may_forward(key) {
                    self.forwarded(key, from, &sealed);
                }
            }
            Message::Carries { willing } => {
                self.carrying.says(&device, willing);
                if !willing {
                    self.end_carried_by(device);
                }
            }
            Message::Bye { reason } => self.farewell(key, reason),
            message => {
                if let Message::Listed { one_person, .. } = message {
                    let sharer = self.links.get(&key).and_then(|l| l.made.as_ref());
                    if sharer.is_some_and(|made| made.sharer) {
                        self.one_person = one_person;
                    }
                }
                match self.fetch.handle(key, message, now) {
                    Ok(None) => {}
                    Ok(Some(event)) => self.fetched(event),
                    Err(error) => self.fetch_fault(key, &error),
                }
                self.tell_accepted(key);
            }
        }
    }

    fn may_forward(&mut self, key: PeerKey) -> bool {
        let made = self.links.get_mut(&key).and_then(|l| l.made.as_mut());
        made.is_some_and(|made| {
            made.forwards += 1;
            made.forwards <= FORWARDS
        })
    }

    /// A knock or an answer that a member passed on.
    fn forwarded(&mut self, key: PeerKey, from: DeviceId, sealed: &[u8]) {
        if knock::is_answer(sealed) {
            // Answers to what is not waited for any more are nobody's.
            let _ = self.context.post.deliver_answer(sealed);
            return;
        }
        let Ok(knock) = knock::open(&self.invite.secret, sealed) else {
            return;
        };
        let Some(Link {
            made: Some(made),
            device: bearer,
            ..
        }) = self.links.get(&key)
        else {
            return;
        };
        if knock.knock.device != from || !self.answering {
            return;
        }
        let candidates = &knock.knock.offer.candidates;
        let same_machine = !candidates.is_empty()
            && candidates
                .iter()
                .all(|candidate| link::is_own(candidate.address.ip()));
        let back = WayBack::Forward {
            through: made.control.clone(),
            bearer: *bearer,
            to: from,
        };
        self.happenings.push_back(Happening::Visit(Box::new(Visit {
            knock,
            back,
            same_machine,
        })));
    }

    fn farewell(&mut self, key: PeerKey, reason: Farewell) {
        let Some(link) = self.links.get(&key) else {
            return;
        };
        let (device, sharer) = (
            link.device,
            link.made.as_ref().is_some_and(|made| made.sharer),
        );
        let now = self.now();
        match reason {
            Farewell::Taken if sharer => {
                self.happenings
                    .push_back(Happening::Failed(Problem::taken()));
            }
            Farewell::Protocol | Farewell::Version | Farewell::Corrupt => {
                self.shunned.insert(device);
                let problem = match reason {
                    Farewell::Version => Problem::version(),
                    _ => Problem::new(
                        ProblemCode::Corrupt,
                        "The other computer did not understand this one.",
                        "Update Passalong on both computers and try again.",
                    ),
                };
                self.last_hope(key, problem);
            }
            Farewell::Crowded => self.membership.failed(device, now),
            // A stop counts only with the sharer's signature.
            Farewell::Stopped | Farewell::Taken | Farewell::Closing | Farewell::Finished => {}
        }
    }

    fn fetch_fault(&mut self, key: PeerKey, error: &FetchError) {
        self.fault(key, Farewell::Protocol, Problem::corrupt(error));
    }

    /// Somebody showed that they cannot be relied on: nothing is asked of them
    /// any more.
    pub(super) fn fault(&mut self, key: PeerKey, farewell: Farewell, problem: Problem) {
        let Some(link) = self.links.get(&key) else {
            return;
        };
        let device = link.device;
        tracing::warn!(problem = problem.message, device = %device.short(), "a member is shunned");
        self.shunned.insert(device);
        self.part(key, farewell);
        self.unlink(key);
        self.last_hope(key, problem);
    }

    /// Reports a problem with one link if there is no other.
    fn last_hope(&mut self, key: PeerKey, problem: Problem) {
        let others = self.linked.values().any(|other| *other != key);
        if !others {
            self.happenings.push_back(Happening::Failed(problem));
        }
    }

    /// Says goodbye on one link.
    fn part(&mut self, key: PeerKey, farewell: Farewell) {
        if let Some(link) = self.links.get(&key) {
            link.stop.send_replace(Some(farewell));
        }
    }

    /// Counts a link out, though it may not have ended yet.
    fn unlink(&mut self, key: PeerKey) {
        let Some(link) = self.links.get_mut(&key) else {
            return;
        };
        let device = link.device;
        let made = link.made.take();
        self.fetch.left(key);
        if let Some(made) = made
            && self.linked.get(&device) == Some(&key)
        {
            self.linked.remove(&device);
            // A running search passes over who was linked when it began.
            self.search = None;
            let now = self.now();
            self.membership.unlinked(device, now);
            self.people.gone(device);
            self.carrying.unlinked(&device);
            if made.bearer.is_none() {
                self.end_carried_by(device);
            }
        }
    }

    /// Ends the links that a member carried, who does so no longer.
    fn end_carried_by(&mut self, bearer: DeviceId) {
        let by = |link: &Link| {
            link.made
                .as_ref()
                .is_some_and(|made| made.bearer == Some(bearer))
        };
        let ends: Vec<PeerKey> = self
            .links
            .iter()
            .filter(|(_, link)| by(link))
            .map(|(key, _)| *key)
            .collect();
        for key in ends {
            self.part(key, Farewell::Closing);
            self.unlink(key);
        }
    }

    fn gone(&mut self, key: PeerKey) {
        let now = self.now();
        let never_made = self.links.get(&key).is_some_and(|link| link.made.is_none());
        self.unlink(key);
        let Some(link) = self.links.remove(&key) else {
            return;
        };
        if let Some(session) = link.session {
            self.sessions.remove(&session);
        }
        let linked = self.linked.contains_key(&link.device);
        if never_made && !linked {
            if link.called {
                self.membership.failed(link.device, now);
            }
            self.people.gone(link.device);
        }
        if self.linked.is_empty() {
            self.search_after = tokio::time::Instant::now() + AGAIN;
        }
    }
}
