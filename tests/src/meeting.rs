//! Somebody who opens the invite of a raw peer, as if it were a sharer's.

use passalong_engine::api::{Id, ProblemCode, TransferState, TransferView};
use passalong_proto::wire::Farewell;

use crate::offering::Offering;
use crate::raw::{RawLink, RawPeer};
use crate::{Person, is_over};

/// A raw peer with an offering, and somebody linked to it who opened its invite.
pub struct Meeting {
    /// The raw peer.
    pub mallory: RawPeer,
    /// What it offers.
    pub offering: Offering,
    /// The transfer of whoever opened the invite.
    pub id: Id,
    /// The link between them; hello was said.
    pub link: RawLink,
}

impl Meeting {
    /// Opens an invite to these files and is answered; keys come from `seed`.
    pub async fn new(ben: &Person, seed: u8, files: &[(&str, Vec<u8>)]) -> Meeting {
        let (mallory, offering, id) = lured(ben, seed, files).await;
        let link = mallory.answer(&offering.secret()).await;
        link.greet().await;
        Meeting {
            mallory,
            offering,
            id,
            link,
        }
    }

    /// The same, and everything in the list is accepted.
    pub async fn accepted(ben: &Person, seed: u8, files: &[(&str, Vec<u8>)]) -> Meeting {
        let meeting = Meeting::new(ben, seed, files).await;
        meeting.offering.list(&meeting.link).await;
        ben.accept(&meeting.id).await;
        meeting
    }

    /// The transfer has failed because of what was sent, and the raw peer was told.
    pub async fn is_found_out(&self, ben: &Person, what: &str) -> TransferView {
        self.is_found_out_as(ben, what, &[Farewell::Protocol]).await
    }

    /// The same, for what has a farewell of its own.
    pub async fn is_found_out_as(
        &self,
        ben: &Person,
        what: &str,
        farewells: &[Farewell],
    ) -> TransferView {
        let over = ben.transfer_until(&self.id, |t| is_over(&t.state)).await;
        let TransferState::Failed { problem, .. } = &over.state else {
            panic!("{what}: {:?}", over.state)
        };
        assert_eq!(problem.code, ProblemCode::Corrupt, "{what}: {problem:?}");
        assert!(!problem.remedy.is_empty());
        let parting = self.link.parting().await;
        assert!(
            parting.is_none_or(|parting| farewells.contains(&parting)),
            "{what}: {parting:?}"
        );
        over
    }
}

/// Opens an invite to these files of a raw peer that has answered nothing yet.
pub async fn lured(ben: &Person, seed: u8, files: &[(&str, Vec<u8>)]) -> (RawPeer, Offering, Id) {
    let (mallory, offering) = (RawPeer::new(seed).await, Offering::new(seed, files));
    let invite = mallory.link_to(offering.secret());
    let id = ben.open(&invite).await.expect("an invite");
    (mallory, offering, id)
}
