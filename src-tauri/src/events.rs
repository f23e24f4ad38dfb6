//! Carries the engine's events to the page, and tells the person through the
//! desktop when something arrived while they looked elsewhere.
//!
//! Every event holds the whole new view of its subject, so after missed
//! events a round of the current views puts the page right.

use std::collections::HashSet;

use passalong_engine::Engine;
use passalong_engine::api::{Event, Id, Snapshot, TransferState, TransferView};
use tauri::{AppHandle, Emitter};
use tauri_plugin_notification::NotificationExt;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::window;

/// Forwards until the engine ends.
pub(crate) async fn forward(app: AppHandle, engine: Engine, mut events: Receiver<Event>) {
    let mut arrivals = Arrivals::default();
    loop {
        match events.recv().await {
            Ok(event) => {
                if let Event::Transfer { transfer } = &event
                    && arrivals.note(transfer)
                    && !window::is_focused(&app)
                {
                    announce(&app, transfer);
                }
                // One for each file of a share; the page shows the sums.
                if !matches!(event, Event::File { .. }) {
                    emit(&app, &event);
                }
            }
            Err(RecvError::Lagged(_)) => {
                for event in as_events(engine.snapshot().await) {
                    emit(&app, &event);
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}

fn emit(app: &AppHandle, event: &Event) {
    if let Err(error) = app.emit("engine", event) {
        tracing::warn!("the page did not get an event: {error}");
    }
}

/// The events that draw everything a snapshot holds.
fn as_events(snapshot: Snapshot) -> Vec<Event> {
    let Snapshot {
        device,
        settings,
        shares,
        transfers,
        totals,
    } = snapshot;
    let mut events = vec![
        Event::Device { device },
        Event::Settings { settings },
        Event::Totals { totals },
    ];
    // Newest first in a snapshot: the page puts what comes later on top.
    events.extend(shares.into_iter().rev().map(|share| Event::Share { share }));
    events.extend(
        transfers
            .into_iter()
            .rev()
            .map(|transfer| Event::Transfer { transfer }),
    );
    events
}

/// Which transfers were seen before they were complete, so that each arrival
/// counts once.
#[derive(Default)]
struct Arrivals(HashSet<Id>);

impl Arrivals {
    /// Whether this view is the one in which the transfer became complete.
    fn note(&mut self, transfer: &TransferView) -> bool {
        if let TransferState::Done { .. } = transfer.state {
            return self.0.remove(&transfer.id);
        }
        self.0.insert(transfer.id.clone());
        false
    }
}

fn announce(app: &AppHandle, transfer: &TransferView) {
    let what = transfer.name.as_deref().unwrap_or("Your files");
    let mut note = app
        .notification()
        .builder()
        .title(format!("{what}: received"));
    if let Some(from) = &transfer.from {
        note = note.body(format!("Everything from {} is here.", from.name));
    }
    if let Err(error) = note.show() {
        tracing::info!("no notification: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use passalong_engine::api::{CopiesView, Destination, Progress, Safety};

    fn transfer(state: TransferState) -> TransferView {
        TransferView {
            id: "0123456789abcdef".to_owned(),
            code: String::new(),
            name: None,
            from: None,
            route: None,
            files: 1,
            bytes: 1,
            state,
            destination: Destination {
                path: String::new(),
                free_bytes: None,
            },
            link: String::new(),
            people: Vec::new(),
            copies: CopiesView::default(),
            safety: Safety::Nobody,
            passing_on: false,
            stopped: false,
            one_person: false,
            problems: Vec::new(),
            created_at: 0,
        }
    }

    #[test]
    fn a_transfer_is_announced_once_and_only_if_it_became_complete_now() {
        let receiving = transfer(TransferState::Receiving {
            progress: Progress::default(),
        });
        let done = transfer(TransferState::Done {
            files: 1,
            bytes: 1,
            already_here: 0,
            seconds: 0.1,
        });
        let mut arrivals = Arrivals::default();
        assert!(!arrivals.note(&done), "done before the start is no news");
        assert!(!arrivals.note(&receiving));
        assert!(arrivals.note(&done));
        assert!(!arrivals.note(&done), "said already");
    }
}
