//! What the others are told when it is due, and what membership asks for.

use passalong_proto::keys::DeviceId;
use passalong_proto::knock::DeviceName;
use passalong_proto::membership::Action;
use passalong_proto::wire::{Farewell, Message, REQUESTS_PER_MESSAGE};

use super::{COUNT_EVERY, Link, MAX_LINKS, Swarm, TELL_EVERY, joining};
use crate::knocking::Call;
use crate::peer::Control;

impl Swarm {
    /// Sends what is due and does what membership asks.
    pub(super) fn flush(&mut self) {
        while let Some(event) = self.fetch.poll_event() {
            self.fetched(event);
        }
        let now = self.now();
        self.context.limits.allow(&mut self.budget);
        while let Some((key, message)) = self.fetch.poll(now, &mut self.budget) {
            if let Some(Link {
                made: Some(made), ..
            }) = self.links.get(&key)
            {
                made.control.send(message);
            }
        }
    }

    pub(super) fn mingle(&mut self) {
        let now = self.now();
        while let Some(action) = self.membership.poll(now) {
            match action {
                Action::Gossip { to, members } => {
                    if let Some(control) = self.control_of(&to) {
                        control.send(Message::Members { members });
                    }
                }
                Action::Drop { device } => self.dismiss_one(device, Farewell::Crowded),
                Action::Connect {
                    device,
                    via,
                    addresses,
                } => {
                    if self.links.len() >= MAX_LINKS || self.shunned.contains(&device) {
                        self.membership.failed(device, now);
                        continue;
                    }
                    let through = via.iter().filter_map(|via| self.control_of(via)).collect();
                    let call = Call {
                        device,
                        addresses,
                        through,
                        detour: None,
                    };
                    let member = self.member(device, DeviceName::new(""), None);
                    let secret = self.invite.secret;
                    self.tasks.spawn(joining::call(member, secret, call, via));
                }
            }
        }
    }

    pub(super) fn control_of(&self, device: &DeviceId) -> Option<Control> {
        let key = self.linked.get(device)?;
        let made = self.links.get(key)?.made.as_ref()?;
        Some(made.control.clone())
    }

    pub(super) fn ticked(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        self.look();
        self.tell_gained();
        let is_slow = self.pulse.is_slow();
        if is_slow || self.ticks.is_multiple_of(TELL_EVERY) {
            self.tell_progress();
            self.tell_preparing();
            self.tell_carrying();
            self.meet();
        }
        if is_slow || self.ticks.is_multiple_of(COUNT_EVERY) {
            self.count();
        }
        self.people_tick();
        self.mingle();
        self.flush();
    }

    /// Tells the others which pieces are held since they were last told.
    pub(super) fn tell_gained(&mut self) {
        let gained = std::mem::take(&mut self.gained);
        for pieces in gained.chunks(REQUESTS_PER_MESSAGE) {
            let message = Message::Holds {
                pieces: pieces.to_vec(),
            };
            self.tell_everybody(&message, None);
        }
    }

    pub(super) fn tell_progress(&mut self) {
        if self.accepted.is_none() {
            return;
        }
        let bytes = self.fetch.progress().bytes;
        let news = std::mem::replace(&mut self.told_bytes, bytes) != bytes;
        let complete = self.complete;
        for made in self.links.values_mut().filter_map(|l| l.made.as_mut()) {
            if !made.told_accepted || made.told_complete {
                continue;
            }
            if news || complete {
                made.control.send(Message::Progress { bytes });
            }
            if complete {
                made.told_complete = true;
                made.control.send(Message::Complete);
            }
        }
    }

    /// Tells the others whether datagrams are carried here, if that has changed.
    fn tell_carrying(&mut self) {
        let willing = self.carrying.is_willing();
        if std::mem::replace(&mut self.told_willing, willing) != willing {
            self.tell_everybody(&Message::Carries { willing }, None);
        }
    }

    pub(super) fn tell_preparing(&self) {
        if self.maker.is_none() || self.ready.borrow().is_some() {
            return;
        }
        let (done_bytes, total_bytes) = self.preparing;
        self.tell_everybody(
            &Message::Preparing {
                done_bytes,
                total_bytes,
            },
            None,
        );
    }
}
