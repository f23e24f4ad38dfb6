//! The others who have a share or are after it, as they are shown.

use std::collections::HashMap;

use passalong_proto::keys::DeviceId;
use passalong_proto::knock::DeviceName;

use crate::api::{DeviceView, PersonState, PersonView, Presence, Route};
use crate::board::Rate;

/// People that a share remembers.
const MAX_REMEMBERED: usize = 500;

/// Everybody that was met or heard of, first come first.
#[derive(Default)]
pub(super) struct People {
    rows: Vec<Row>,
    index: HashMap<DeviceId, usize>,
}

struct Row {
    view: PersonView,
    sent: Rate,
}

impl People {
    pub(super) fn views(&self) -> Vec<PersonView> {
        self.rows.iter().map(|row| row.view.clone()).collect()
    }

    /// The row of somebody; `None` when there are too many already.
    fn row(&mut self, device: DeviceId) -> Option<&mut Row> {
        let at = match self.index.get(&device) {
            Some(at) => *at,
            None if self.rows.len() >= MAX_REMEMBERED => return None,
            None => {
                let at = self.rows.len();
                self.rows.push(Row {
                    view: PersonView {
                        device: DeviceView {
                            id: device.short(),
                            name: String::new(),
                        },
                        route: None,
                        through: None,
                        state: PersonState::Connecting,
                        bytes: 0,
                        total: 0,
                        rate: 0,
                        from_rate: 0,
                        sharer: false,
                        presence: Presence::Gone,
                    },
                    sent: Rate::new(),
                });
                self.index.insert(device, at);
                at
            }
        };
        self.rows.get_mut(at)
    }

    pub(super) fn name(&self, device: DeviceId) -> Option<String> {
        let row = self.rows.get(*self.index.get(&device)?)?;
        Some(row.view.device.name.clone())
    }

    /// The one who showed in this run that the share is theirs.
    pub(super) fn whose(&self) -> Option<DeviceId> {
        let mut all = self.index.iter();
        let (device, _) = all.find(|(_, at)| self.rows.get(**at).is_some_and(|r| r.view.sharer))?;
        Some(*device)
    }

    /// Whether somebody has all they want.
    pub(super) fn is_complete(&self, device: DeviceId) -> bool {
        let row = self.index.get(&device).and_then(|at| self.rows.get(*at));
        row.is_some_and(|row| row.view.state == PersonState::Complete)
    }

    fn change(&mut self, device: DeviceId, change: impl FnOnce(&mut PersonView)) {
        if let Some(row) = self.row(device) {
            change(&mut row.view);
        }
    }

    pub(super) fn connecting(&mut self, device: DeviceId, name: &DeviceName) {
        self.change(device, |view| {
            view.device.name = name.as_str().to_owned();
            if view.state != PersonState::Complete && view.presence != Presence::Connected {
                view.state = PersonState::Connecting;
            }
        });
    }

    pub(super) fn connected(
        &mut self,
        device: DeviceId,
        name: &DeviceName,
        route: Route,
        through: Option<DeviceView>,
    ) {
        self.change(device, |view| {
            view.device.name = name.as_str().to_owned();
            view.route = Some(route);
            view.through = through;
            view.presence = Presence::Connected;
            view.state = PersonState::Choosing;
        });
    }

    pub(super) fn sharer(&mut self, device: DeviceId) {
        self.change(device, |view| view.sharer = true);
    }

    pub(super) fn accepted(&mut self, device: DeviceId, total: u64) {
        self.change(device, |view| {
            view.total = total;
            view.state = PersonState::Receiving;
        });
    }

    pub(super) fn holds(&mut self, device: DeviceId, bytes: u64) {
        self.change(device, |view| view.bytes = bytes);
    }

    /// They hold all of the share, or all that they wanted of it.
    pub(super) fn complete(&mut self, device: DeviceId) {
        self.change(device, |view| {
            view.bytes = view.total;
            view.state = PersonState::Complete;
        });
    }

    pub(super) fn declined(&mut self, device: DeviceId) {
        self.change(device, |view| view.state = PersonState::Declined);
    }

    pub(super) fn cancelled(&mut self, device: DeviceId) {
        self.change(device, |view| view.state = PersonState::Cancelled);
    }

    pub(super) fn waits(&mut self, device: DeviceId, waits: bool) {
        self.change(device, |view| {
            view.state = match (view.state, waits) {
                (PersonState::Receiving, true) => PersonState::Waiting,
                (PersonState::Waiting, false) => PersonState::Receiving,
                (state, _) => state,
            }
        });
    }

    pub(super) fn sent(&mut self, device: DeviceId, bytes: u64) {
        if let Some(row) = self.row(device) {
            row.sent.add(bytes);
        }
    }

    /// How fast it goes to a linked member, and comes from them.
    pub(super) fn tick(&mut self, device: DeviceId, from_rate: u64) {
        if let Some(row) = self.row(device) {
            row.view.from_rate = from_rate;
            // Who wants no more gets no more: a rate that fades would say otherwise.
            if is_over(row.view.state) {
                row.sent.reset();
            }
            row.view.rate = row.sent.tick();
        }
    }

    /// A linked member holds everything of the share.
    pub(super) fn holds_all(&mut self, device: DeviceId, bytes: u64) {
        self.change(device, |view| {
            view.bytes = bytes;
            view.total = bytes;
            view.state = PersonState::Complete;
        });
    }

    /// Somebody that others told of, or they themselves before the link with them
    /// was gone. That they have everything or want no more, said on the link, is
    /// newer than hearsay that they lack some.
    pub(super) fn known(
        &mut self,
        device: DeviceId,
        name: &DeviceName,
        bytes: u64,
        total: u64,
        complete: bool,
    ) {
        self.change(device, |view| {
            if view.presence == Presence::Connected {
                return;
            }
            view.device.name = name.as_str().to_owned();
            view.presence = Presence::Known;
            if is_over(view.state) && !complete {
                return;
            }
            view.bytes = bytes;
            view.total = total;
            view.state = if complete {
                PersonState::Complete
            } else {
                PersonState::Receiving
            };
        });
    }

    /// Those whom nobody tells of any more are gone.
    pub(super) fn keep_known(&mut self, known: impl Fn(&str) -> bool) {
        for row in &mut self.rows {
            if row.view.presence == Presence::Known && !known(&row.view.device.id) {
                leave(row);
            }
        }
    }

    pub(super) fn gone(&mut self, device: DeviceId) {
        if let Some(row) = self.row(device) {
            leave(row);
        }
    }
}

/// Whether somebody has what they want, or wants nothing.
fn is_over(state: PersonState) -> bool {
    matches!(
        state,
        PersonState::Complete | PersonState::Declined | PersonState::Cancelled
    )
}

fn leave(row: &mut Row) {
    let view = &mut row.view;
    view.rate = 0;
    view.from_rate = 0;
    view.route = None;
    view.through = None;
    view.presence = Presence::Gone;
    row.sent.reset();
    if matches!(
        view.state,
        PersonState::Connecting
            | PersonState::Choosing
            | PersonState::Receiving
            | PersonState::Waiting
    ) {
        view.state = PersonState::Lost;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use passalong_proto::keys::DeviceKey;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_who_has_everything_is_shown_with_a_rate() {
        let device = DeviceKey::from_seed([1; 32]).public();
        let mut people = People::default();
        let rate_after = async |people: &mut People, bytes| {
            people.sent(device, bytes);
            tokio::time::advance(Duration::from_secs(1)).await;
            people.tick(device, 0);
            people.views()[0].rate
        };
        people.accepted(device, 2_000_000);
        assert_eq!(rate_after(&mut people, 1_000_000).await, 1_000_000);
        people.complete(device);
        assert_eq!(rate_after(&mut people, 1_000_000).await, 0);
        people.accepted(device, 3_000_000);
        assert_eq!(rate_after(&mut people, 1_000_000).await, 1_000_000);
    }

    #[test]
    fn hearsay_does_not_undo_what_somebody_said_themselves() {
        let device = DeviceKey::from_seed([1; 32]).public();
        let name = DeviceName::new("Ben");
        let ends = [People::complete, People::declined, People::cancelled];
        let states = [
            PersonState::Complete,
            PersonState::Declined,
            PersonState::Cancelled,
        ];
        for (end, state) in ends.into_iter().zip(states) {
            let mut people = People::default();
            let is = |people: &People| people.views()[0].state;
            people.connected(device, &name, Route::SameNetwork, None);
            people.accepted(device, 100);
            end(&mut people, device);
            people.gone(device);
            people.known(device, &name, 40, 100, false);
            assert_eq!(is(&people), state);
            people.keep_known(|_| false);
            assert_eq!(is(&people), state);
            people.known(device, &name, 100, 100, true);
            assert_eq!(is(&people), PersonState::Complete);
        }
    }
}
