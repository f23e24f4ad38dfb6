//! What a raw peer and an engine say to each other in most tests: the words that
//! are waited for, and those that keep a link up.

use std::time::Duration;

use passalong_proto::wire::{Farewell, Message, PieceRef};

use crate::raw::RawLink;

impl RawLink {
    /// Reads until the other side says which list it has; gives what it said.
    pub async fn listed(&self) -> Message {
        let listed =
            |message: &Message| matches!(message, Message::Listed { .. }).then(|| message.clone());
        self.heard("a list", listed).await
    }

    /// Reads until the list is asked for.
    pub async fn list_wanted(&self) {
        self.heard("the list to be asked for", |message| {
            matches!(message, Message::WantManifest).then_some(())
        })
        .await;
    }

    /// Reads until the hashes of the first file are asked for.
    pub async fn hashes_wanted(&self) {
        self.heard("hashes to be asked for", |message| {
            matches!(message, Message::WantHashes { entry: 0 }).then_some(())
        })
        .await;
    }

    /// Reads until pieces are asked for; gives these.
    pub async fn requested(&self) -> Vec<PieceRef> {
        let asked = |message: &Message| match message {
            Message::Request { pieces } => Some(pieces.clone()),
            _ => None,
        };
        self.heard("pieces to be asked for", asked).await
    }

    /// Says that everything is held here and that it may be asked for.
    pub async fn offer_all(&self) {
        self.send(&Message::HoldsAll).await;
        self.send(&Message::Unchoke).await;
    }

    /// Gives signs of life, and nothing else, until something has happened.
    pub async fn alive_while<T>(&self, happening: impl Future<Output = T>) -> T {
        let signs = async {
            let mut pause = tokio::time::interval(Duration::from_secs(1));
            loop {
                pause.tick().await;
                self.send(&Message::Alive).await;
            }
        };
        tokio::select! {
            () = signs => unreachable!("signs of life never end"),
            outcome = happening => outcome,
        }
    }

    /// Reads until the other side ends the link, which it does without a word or
    /// because the protocol was broken.
    pub async fn is_shown_out(&self, what: &str) {
        let parting = self.parting().await;
        assert!(
            matches!(parting, None | Some(Farewell::Protocol)),
            "{what}: {parting:?}"
        );
    }
}
