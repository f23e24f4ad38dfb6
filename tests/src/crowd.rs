//! Several people after one share.

use passalong_engine::Engine;
use passalong_engine::api::{PersonView, Presence, Selection, TransferState};

use crate::{Person, is_over};

/// Sends no more than so many bytes a second from now on.
pub async fn cap(engine: &Engine, bytes_a_second: u64) {
    let mut settings = engine.snapshot().await.settings;
    settings.upload_limit = Some(bytes_a_second);
    engine.save_settings(settings).await.expect("settings");
}

/// How many people are connected.
pub fn connected(people: &[PersonView]) -> usize {
    let here = people.iter().filter(|p| p.presence == Presence::Connected);
    here.count()
}

/// Somebody who has opened an invite and looks at the list.
pub async fn looking(name: &str, link: &str) -> (Person, String) {
    let person = Person::new(name).await;
    let id = person.open(link).await.expect("an invite");
    person
        .transfer_until(&id, |t| t.state == TransferState::Offered)
        .await;
    (person, id)
}

/// Accepts everything.
pub async fn accept(person: &Person, id: &str) {
    let accepted = person.engine.accept(id, Selection::All).await;
    accepted.expect("accepted");
}

/// Waits until somebody has everything, and says how many seconds it took.
pub async fn done(person: &Person, id: &str) -> f64 {
    let transfer = person.transfer_until(id, |t| is_over(&t.state)).await;
    match transfer.state {
        TransferState::Done { seconds, .. } => seconds,
        other => panic!("not done: {other:?}"),
    }
}
