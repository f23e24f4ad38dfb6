//! An invite whose people are all offline: a wait, not an error. It outlives restarts
//! and ends by itself when somebody comes.

use std::time::Duration;

use passalong_engine::api::{Carrier, CarrierState, Opened, TransferState, TransferView};
use passalong_proto::invite::InviteSecret;
use passalong_proto::keys::ShareKey;
use passalong_tests::raw::RawPeer;
use passalong_tests::{Person, bytes, is_done};
use tokio::time::Instant;

/// Within this time of somebody coming online it starts.
const STARTS: Duration = Duration::from_secs(20);

fn is_waiting(transfer: &TransferView) -> bool {
    matches!(transfer.state, TransferState::Waiting { .. })
}

fn is_searched(transfer: &TransferView) -> bool {
    matches!(&transfer.state,
        TransferState::Connecting { carriers, .. } | TransferState::Waiting { carriers, .. }
            if !carriers.is_empty())
}

/// How the reply code goes.
fn by_paste(transfer: &TransferView) -> Option<CarrierState> {
    let (TransferState::Connecting { carriers, .. } | TransferState::Waiting { carriers, .. }) =
        &transfer.state
    else {
        return None;
    };
    let paste = carriers.iter().find(|each| each.carrier == Carrier::Paste);
    paste.map(|paste| paste.state)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_whose_people_are_all_offline_waits_and_starts_by_itself() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    let share = ana.share(&[ana.write("a.bin", &bytes(1, 100_000))]).await;
    let ana = ana.close().await;
    let id = ben.open(&share.link).await.expect("an invite");
    let waiting = ben.transfer_until(&id, is_waiting).await;
    assert_eq!(waiting.from, None, "nobody was met");
    let TransferState::Waiting { seconds, .. } = waiting.state else {
        unreachable!()
    };
    assert!(seconds >= 10, "{seconds}");
    let begun = Instant::now();
    let ana = ana.open().await;
    ben.accept(&id).await;
    assert!(begun.elapsed() < STARTS, "{:?}", begun.elapsed());
    let done = ben.done(&id).await;
    assert_eq!(done.from.expect("Ana").name, "Ana");
    ana.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_outlives_restarts_before_anybody_was_met_or_the_list_seen() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    let share = ana.share(&[ana.write("a.bin", &bytes(1, 100_000))]).await;
    let ana = ana.close().await;
    let id = ben.open(&share.link).await.expect("an invite");
    let first = ben.transfer_until(&id, is_searched).await;
    let ben = ben.restart().await;
    let again = ben.transfer_until(&id, is_waiting).await;
    assert_eq!(
        (again.code, again.created_at),
        (first.code, first.created_at)
    );
    // Once more, from the wait itself.
    let ben = ben.restart().await;
    ben.transfer_until(&id, is_searched).await;
    let begun = Instant::now();
    let _ana = ana.open().await;
    ben.accept(&id).await;
    assert!(begun.elapsed() < STARTS, "{:?}", begun.elapsed());
    ben.done(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_met_in_an_earlier_run_is_waited_for_by_name() {
    let (ana, ben, cleo) = (
        Person::new("Ana").await,
        Person::new("Ben").await,
        Person::new("Cleo").await,
    );
    ana.limit_upload(Some(1 << 20)).await;
    let share = ana.share(&[ana.write("a.bin", &bytes(1, 30 << 20))]).await;
    let id = ben.begin(&share.link).await;
    cleo.begin(&share.link).await;
    // Cleo, too, is met; Ana is the one whose share it is.
    ben.transfer_until(&id, |t| {
        let met = |name| t.people.iter().any(|person| person.device.name == name);
        met("Ana") && met("Cleo") && t.people.iter().any(|person| person.sharer)
    })
    .await;
    let ana = ana.close().await;
    cleo.engine.shutdown().await;
    let ben = ben.restart().await;
    let alone = ben
        .transfer_until(&id, |t| matches!(t.state, TransferState::Stalled { .. }))
        .await;
    assert_eq!(alone.from.expect("known before anybody is met").name, "Ana");
    assert_eq!(alone.route, None);
    let ana = ana.open().await;
    ana.limit_upload(None).await;
    let done = ben.done(&id).await;
    assert!(is_done(&done));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_network_makes_for_a_new_knock_at_once() {
    let ben = Person::new("Ben").await;
    let raw = RawPeer::new(7).await;
    let secret: InviteSecret = ShareKey::from_seed([7; 32]).secret();
    let id = ben.open(&raw.link_to(secret)).await.expect("an invite");
    // A session that was heard is passed over when it is heard again, so each of these
    // is of a connection that was made anew.
    let (first, _) = raw.next_knock(&secret).await;
    for _ in 0..3 {
        ben.engine.network_changed();
        let (next, _) = raw.next_knock(&secret).await;
        assert_ne!(next.knock.session, first.knock.session);
        assert_ne!(next.knock.offer.ufrag, first.knock.offer.ufrag);
    }
    ben.transfer_until(&id, is_searched).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_code_from_another_network_is_shown_as_gone_and_a_new_one_works() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let id = ben.open(&share.code).await.expect("an invite");
    let old = ben.engine.reply_code(&id).await.expect("a reply code");
    ben.transfer_until(&id, |t| by_paste(t) == Some(CarrierState::Trying))
        .await;
    ben.engine.network_changed();
    ben.transfer_until(&id, |t| by_paste(t) == Some(CarrierState::Unavailable))
        .await;
    let new = ben.engine.reply_code(&id).await.expect("a reply code");
    assert_ne!(new, old);
    let opened = ana.engine.open(&new).await.expect("her share");
    assert!(matches!(opened, Opened::Reply { .. }), "{opened:?}");
    ben.accept(&id).await;
    ben.done(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_can_be_cancelled_and_is_not_taken_up_again() {
    let ben = Person::new("Ben").await;
    let raw = RawPeer::new(8).await;
    let secret: InviteSecret = ShareKey::from_seed([8; 32]).secret();
    let id = ben.open(&raw.link_to(secret)).await.expect("an invite");
    raw.next_knock(&secret).await;
    ben.engine.cancel(&id).await.expect("cancelled");
    let ben = ben.restart().await;
    ben.transfer_until(&id, |t| t.state == TransferState::Cancelled)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_check_runs_beside_everything_else_and_names_its_cause() {
    let ben = Person::new("Ben").await;
    let checkup = ben.engine.check_connection().await;
    let cause = checkup.cause.expect("no STUN server is set");
    let finding = checkup
        .findings
        .iter()
        .find(|finding| finding.topic == cause && finding.remedy.is_some());
    assert!(finding.is_some(), "{checkup:#?}");
}
