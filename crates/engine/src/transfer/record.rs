//! What is kept of a transfer, so that a restart goes on where it was.

use std::sync::Arc;
use std::time::Duration;

use passalong_proto::manifest::SignedManifest;
use passalong_proto::wire::Farewell;
use tokio::time::Instant;

use super::{Transfer, destination_view};
use crate::api::{Direction, HistoryEntry, Outcome, TransferState};
use crate::engine::unix_millis;
use crate::sink::Job;
use crate::store::{DownloadState, StoredDownload, keep_people, remembered};

/// How often it is written down who was met.
const KEEP_PEOPLE: Duration = Duration::from_secs(20);

impl Transfer {
    /// Writes down how it stands. What cannot be written is only missed after
    /// the next restart.
    pub(super) fn keep(&self) {
        let state = match &self.view.state {
            TransferState::Done { .. } => DownloadState::Done,
            TransferState::Declined => DownloadState::Declined,
            TransferState::Cancelled => DownloadState::Cancelled,
            _ if self.accepted.is_some() && self.paused => DownloadState::Paused,
            _ if self.accepted.is_some() => DownloadState::Accepted,
            _ => DownloadState::Offered,
        };
        let stored = StoredDownload {
            invite: self.invite.clone(),
            destination: self.destination.clone(),
            chosen: self.chosen.clone(),
            state,
            pass_on: self.pass_on,
            one_person: self.swarm.is_for_one_person(),
            created_at: self.view.created_at,
            finished_at: self.finished_at,
            seconds: self.seconds(),
        };
        if let Err(problem) = self.context.store.put_download(&stored) {
            tracing::warn!(problem.message, "a download could not be kept");
        }
    }

    pub(super) fn keep_list(&self, signed: &SignedManifest) {
        let kept = self.context.store.put_manifest(&self.view.id, signed);
        if let Err(problem) = kept {
            tracing::warn!(problem.message, "a list could not be kept");
        }
    }

    /// Writes down the list as it is whole now.
    pub(super) fn keep_whole_list(&self) {
        let fetch = self.swarm.fetch();
        if let (Some(signed), Some(manifest)) = (fetch.signed(), fetch.manifest()) {
            self.keep_list(signed);
            self.job(Job::List(Arc::clone(manifest)));
        }
        self.forget_signed_hashes();
    }

    /// What the sharer signed while the list was not whole is not needed for what is all
    /// here by a whole one.
    pub(super) fn forget_signed_hashes(&self) {
        let whole = self.swarm.fetch().manifest().is_some_and(|m| m.is_whole());
        if whole && matches!(self.view.state, TransferState::Done { .. }) {
            self.forget_hashes();
        }
    }

    /// Writes down a list that is not the one that was written down.
    pub(super) fn keep_other_list(&self) {
        let Some(signed) = self.swarm.fetch().signed() else {
            return;
        };
        self.forget_hashes();
        self.keep_list(signed);
    }

    fn forget_hashes(&self) {
        let forgotten = self.context.store.forget_signed_hashes(&self.view.id);
        if let Err(problem) = forgotten {
            tracing::warn!(problem.message, "signed hashes stay");
        }
    }

    pub(super) fn keep_history(
        &self,
        direction: Direction,
        outcome: Outcome,
        (files, bytes): (u32, u64),
    ) {
        let entry = HistoryEntry {
            id: self.view.id.clone(),
            name: self.view.name.clone().unwrap_or_default(),
            direction,
            outcome,
            people: self
                .view
                .from
                .iter()
                .map(|from| from.name.clone())
                .collect(),
            files,
            bytes,
            at: unix_millis(),
        };
        if let Err(problem) = self.context.store.add_history(&entry) {
            tracing::warn!(problem.message, "history could not be kept");
        }
    }

    pub(super) fn keep_people_sometimes(&mut self) {
        if self.people_kept.elapsed() >= KEEP_PEOPLE {
            self.people_kept = Instant::now();
            self.keep_people();
        }
    }

    pub(super) fn keep_people(&self) {
        let known = self.swarm.memorable();
        keep_people(
            &self.context.store,
            &self.view.id,
            known,
            self.swarm.sharer(),
        );
    }

    /// Goes on where the last run was.
    pub(super) fn take_up(&mut self, stored: StoredDownload) {
        let store = &self.context.store;
        let signed = store.manifest(&self.view.id).ok().flatten();
        let people = remembered(store, &self.view.id);
        let addresses = people.iter().flat_map(|(.., all)| all.iter().copied());
        self.swarm.learn(addresses.collect());
        self.swarm.remember(people);
        self.swarm.set_one_person(stored.one_person);
        self.view.one_person = stored.one_person;
        self.pass_on = stored.pass_on && self.context.config.stay.unwrap_or(true);
        self.chosen = stored.chosen;
        self.seconds_before = stored.seconds;
        self.finished_at = stored.finished_at;
        let listed = match signed {
            // A list that does not open is fetched again.
            Some(signed) => {
                let hashes = store.signed_hashes(&self.view.id).unwrap_or_default();
                self.swarm.restore(signed, hashes).is_ok()
            }
            None => false,
        };
        self.show_list();
        self.view.destination = destination_view(&self.destination);
        match stored.state {
            DownloadState::Offered => self.swarm.search(true),
            DownloadState::Accepted | DownloadState::Paused => {
                self.swarm.search(true);
                self.paused = stored.state == DownloadState::Paused;
                if listed {
                    self.begin_chosen();
                }
            }
            DownloadState::Done => {
                let progress = (self.view.files, self.view.bytes);
                self.view.state = TransferState::Done {
                    files: progress.0,
                    bytes: progress.1,
                    already_here: 0,
                    seconds: stored.seconds,
                };
                self.was_done = true;
                if listed && self.pass_on {
                    self.begin_chosen();
                }
            }
            DownloadState::Declined => self.view.state = TransferState::Declined,
            DownloadState::Cancelled => self.view.state = TransferState::Cancelled,
        }
    }

    /// Looks what of the choice that was kept is on disk, and goes on.
    fn begin_chosen(&mut self) {
        let Some(manifest) = self.swarm.fetch().manifest().cloned() else {
            return;
        };
        let chosen = super::requests::chosen(&self.chosen, &manifest);
        if let Err(problem) = self.begin_disk(&manifest, chosen)
            && !self.was_done
        {
            self.fail(problem, true, Farewell::Closing);
        }
    }
}
