//! Datagrams that are carried between two members of a share who find no way to each
//! other, by one who is linked with both: who would carry for this side, what this side
//! carries for others, and its own ends of connections that are carried.
//!
//! Invariant: only links that are not carried themselves carry anything, and what is
//! carried is handed on unread. That a connection leads to whom it should is proved
//! between its ends, as on every link.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use passalong_proto::keys::{DeviceId, Role};
use passalong_proto::knock::{Offer, SessionId};
use passalong_proto::wire::Message;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::context::Context;
use crate::link::{Carried, LinkSettings};
use crate::peer::Control;

/// How long a member that could not be called straight is called through others first.
const APART: Duration = Duration::from_secs(120);
/// Members that this is remembered of.
const MAX_APART: usize = 256;
/// Datagrams of one link that may wait for the upload limit; more are lost.
const MAX_PARCELS: usize = 128;

/// What one share's links carry, for this side and for others.
pub(crate) struct Carrying {
    context: Arc<Context>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    links: HashMap<DeviceId, Linked>,
    /// Ends of carried connections here.
    ends: HashMap<End, Weak<Carried>>,
    /// When members could not be called straight.
    apart: HashMap<DeviceId, Instant>,
}

/// A member that there is a link with.
struct Linked {
    /// Of a link that is not carried.
    straight: Option<Control>,
    /// They would carry, as they say.
    willing: bool,
    /// Connections in a row that did not come up through them.
    failures: u32,
}

/// What a carried datagram belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct End {
    bearer: DeviceId,
    other: DeviceId,
    session: SessionId,
}

/// A datagram that is to be carried for somebody.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) to: DeviceId,
    pub(crate) session: SessionId,
    pub(crate) datagram: Vec<u8>,
}

impl State {
    fn straight(&self, device: &DeviceId) -> Option<&Control> {
        self.links.get(device)?.straight.as_ref()
    }
}

impl Carrying {
    pub(crate) fn new(context: Arc<Context>) -> Carrying {
        Carrying {
            context,
            state: Mutex::default(),
        }
    }

    /// There is a link with a member; `straight` is its control channel unless it is
    /// carried.
    pub(crate) fn linked(&self, device: DeviceId, straight: Option<Control>) {
        let linked = Linked {
            straight,
            willing: false,
            failures: 0,
        };
        self.lock().links.insert(device, linked);
    }

    /// That link is gone.
    pub(crate) fn unlinked(&self, device: &DeviceId) {
        self.lock().links.remove(device);
    }

    /// Whether there is a link with a member.
    pub(crate) fn is_linked(&self, device: &DeviceId) -> bool {
        self.lock().links.contains_key(device)
    }

    /// A linked member says whether it would carry.
    pub(crate) fn says(&self, device: &DeviceId, willing: bool) {
        if let Some(link) = self.lock().links.get_mut(device) {
            link.willing = willing && link.straight.is_some();
        }
    }

    /// Linked members that would carry, the most promising first: `via` are those who
    /// told of the member that is to be reached.
    pub(crate) fn bearers(&self, via: &[DeviceId]) -> Vec<DeviceId> {
        let state = self.lock();
        let willing = state.links.iter().filter(|(_, link)| link.willing);
        let mut bearers: Vec<(bool, u32, DeviceId)> = willing
            .map(|(device, link)| (!via.contains(device), link.failures, *device))
            .collect();
        bearers.sort_unstable();
        bearers.into_iter().map(|(.., device)| device).collect()
    }

    /// Whether a member could not be called straight a moment ago.
    pub(crate) fn is_apart(&self, device: &DeviceId) -> bool {
        let state = self.lock();
        let since = state.apart.get(device);
        since.is_some_and(|since| since.elapsed() < APART)
    }

    /// A member could be called straight, or could not.
    pub(crate) fn set_apart(&self, device: DeviceId, apart: bool) {
        let mut state = self.lock();
        state.apart.retain(|_, since| since.elapsed() < APART);
        if !apart {
            state.apart.remove(&device);
        } else if state.apart.len() < MAX_APART {
            state.apart.insert(device, Instant::now());
        }
    }

    /// A connection through a member came up, or did not.
    pub(crate) fn tried(&self, bearer: &DeviceId, came_up: bool) {
        if let Some(link) = self.lock().links.get_mut(bearer) {
            link.failures = match came_up {
                true => 0,
                false => link.failures.saturating_add(1),
            };
        }
    }

    /// A way to another member through one that is linked straight, for one
    /// connection. `None` if there is no such link, or the way is taken.
    pub(crate) fn detour(
        self: &Arc<Self>,
        bearer: DeviceId,
        other: DeviceId,
        session: SessionId,
        role: Role,
    ) -> Option<Detour> {
        let end = End {
            bearer,
            other,
            session,
        };
        let mut state = self.lock();
        let control = state.straight(&bearer)?.clone();
        if state.ends.contains_key(&end) || other == bearer {
            return None;
        }
        let outgoing = control.clone();
        let medium = Arc::new(Carried::new(role, move |datagram| {
            outgoing.send_carried(Message::Carry {
                to: other,
                session,
                datagram: datagram.to_vec(),
            });
        }));
        state.ends.insert(end, Arc::downgrade(&medium));
        Some(Detour {
            end,
            control,
            medium,
            carrying: Arc::clone(self),
        })
    }

    /// A datagram came through a member. What belongs to no connection here is dropped.
    pub(crate) fn arrived(
        &self,
        bearer: DeviceId,
        from: DeviceId,
        session: SessionId,
        datagram: Vec<u8>,
    ) {
        let end = End {
            bearer,
            other: from,
            session,
        };
        let medium = self.lock().ends.get(&end).and_then(Weak::upgrade);
        if let Some(medium) = medium {
            medium.arrived(datagram);
        }
    }

    /// A place to put what a member wants carried.
    pub(crate) fn parcels() -> (mpsc::Sender<Parcel>, mpsc::Receiver<Parcel>) {
        mpsc::channel(MAX_PARCELS)
    }

    /// Whether anything is carried for others now.
    pub(crate) fn is_willing(&self) -> bool {
        self.context.carries()
    }

    /// Carries what a member wants carried, within the upload limit, to others that are
    /// linked straight.
    pub(crate) async fn carry(
        self: Arc<Self>,
        from: DeviceId,
        mut parcels: mpsc::Receiver<Parcel>,
    ) {
        while let Some(parcel) = parcels.recv().await {
            let Parcel {
                to,
                session,
                datagram,
            } = parcel;
            let control = {
                let state = self.lock();
                let from_here = state.straight(&from).is_some() && to != from;
                state.straight(&to).filter(|_| from_here).cloned()
            };
            let Some(control) = control.filter(|_| self.is_willing()) else {
                continue;
            };
            self.context.limits.send(datagram.len()).await;
            self.context.count_carried(datagram.len());
            control.send_carried(Message::Carried {
                from,
                session,
                datagram,
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A way to another member through a third, for one connection. It leads nowhere any
/// more once this is dropped.
pub(crate) struct Detour {
    end: End,
    control: Control,
    medium: Arc<Carried>,
    carrying: Arc<Carrying>,
}

impl Detour {
    /// Who carries.
    pub(crate) fn bearer(&self) -> DeviceId {
        self.end.bearer
    }

    /// The control channel of the link with whoever carries.
    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// The session of the connection's knock.
    pub(crate) fn session(&self) -> SessionId {
        self.end.session
    }

    /// What a connection on this detour is built from.
    pub(crate) fn settings(&self, patience: Duration) -> LinkSettings {
        LinkSettings {
            addresses: Vec::new(),
            lent: vec![Arc::clone(&self.medium) as _],
            ice_servers: Vec::new(),
            relay_only: false,
            same_machine: false,
            patience,
        }
    }
}

impl fmt::Debug for Detour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let End { bearer, other, .. } = &self.end;
        f.debug_struct("Detour")
            .field("bearer", &bearer.short())
            .field("other", &other.short())
            .finish_non_exhaustive()
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        self.carrying.lock().ends.remove(&self.end);
    }
}

/// The other side's half as a connection can use it that goes on this detour, or on
/// none. `None` if the other side meant it otherwise.
pub(crate) fn reaching(detour: Option<&Detour>, offer: Offer) -> Option<Offer> {
    match detour {
        Some(detour) => detour.medium.reaching(offer),
        None => Some(offer).filter(|offer| !offer.is_carried()),
    }
}
