//! Twenty-four peers after one share, in one process: some slow, some vanishing,
//! some lying. Every honest one gets everything, and afterwards nothing of any of
//! them is left behind. In a process of its own, as it counts what the process has.

use std::fs;
use std::time::{Duration, Instant};

use passalong_engine::api::TransferState;
use passalong_proto::wire::{FRAME_DATA, Message};
use passalong_tests::crowd::looking;
use passalong_tests::raw::RawPeer;
use passalong_tests::{Person, bytes, tree};
use tokio::task::JoinSet;

const HONEST: usize = 16;
const VANISHING: usize = 3;
const LIARS: usize = 3;
const LENGTH: usize = 16 << 20;
/// How long what was told to end may take, and how often it is looked whether it did.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

/// What the process has open, by kind.
fn handles() -> (usize, usize) {
    let open = fs::read_dir("/proc/self/fd").expect("a list of handles");
    let (mut sockets, mut files) = (0, 0);
    for handle in open.flatten() {
        match fs::read_link(handle.path()) {
            Ok(to) if to.to_string_lossy().starts_with("socket:") => sockets += 1,
            Ok(to) if to.is_absolute() => files += 1,
            _ => {}
        }
    }
    (sockets, files)
}

/// Says that it holds everything, and answers with bytes that are not those.
async fn lie(liar: RawPeer, link: String) -> RawPeer {
    let raw = liar.knock(&link).await;
    raw.greet().await;
    let listed = raw.listed().await;
    raw.send(&listed).await;
    raw.offer_all().await;
    // Until it is shown out.
    while let Some(message) = raw.receive().await {
        if let Message::Request { pieces } = message {
            for piece in pieces {
                for index in 0..(1usize << 20).div_ceil(FRAME_DATA) {
                    let offset = index * FRAME_DATA;
                    let length = FRAME_DATA.min((1 << 20) - offset);
                    raw.send_frame(piece, offset as u32, &vec![7; length]).await;
                }
            }
        }
    }
    raw.close().await;
    liar
}

async fn one_round() {
    let ana = Person::new("Ana").await;
    let content = bytes(24, LENGTH);
    let share = ana
        .share(&[
            ana.write("Set/film.bin", &content),
            ana.write("a.txt", b"text"),
        ])
        .await;
    ana.limit_upload(Some(12_000_000)).await;
    let slow = Person::new("Slow").await;
    slow.get(&share.link).await;
    slow.limit_upload(Some(100_000)).await;

    let mut honest = Vec::new();
    for index in 0..HONEST {
        honest.push(looking(&format!("Honest {index}"), &share.link).await);
    }
    let mut vanishing = Vec::new();
    for index in 0..VANISHING {
        vanishing.push(looking(&format!("Vanishing {index}"), &share.link).await);
    }
    for (person, id) in honest.iter().chain(&vanishing) {
        person.accept(id).await;
    }
    let mut lies = JoinSet::new();
    for (index, (person, id)) in honest.iter().take(LIARS).enumerate() {
        let begun = person
            .transfer_until(id, |t| {
                matches!(
                    t.state,
                    TransferState::Receiving { .. } | TransferState::Done { .. }
                )
            })
            .await;
        let liar = RawPeer::new(200 + index as u8).await;
        lies.spawn(lie(liar, begun.link));
    }
    for (person, id) in &vanishing {
        // Midway, without a word: the engine is dropped with everything it has.
        person
            .transfer_until(id, |t| match &t.state {
                TransferState::Receiving { progress } => progress.bytes > 0,
                state => matches!(state, TransferState::Done { .. }),
            })
            .await;
        person.engine.shutdown().await;
    }
    for (person, id) in &honest {
        person.done(id).await;
        let here = tree(&person.downloads());
        assert_eq!(here["film.bin"].as_ref(), Some(&content));
        assert_eq!(here["a.txt"].as_deref(), Some(&b"text"[..]));
    }
    for (person, _) in &honest {
        person.engine.shutdown().await;
    }
    slow.engine.shutdown().await;
    ana.engine.shutdown().await;
    // Liars that were never asked are let go by the silence of whom they met.
    while let Some(liar) = lies.join_next().await {
        drop(liar.expect("a liar that ends"));
    }
}

#[test]
fn all_honest_ones_complete_and_nothing_is_left() {
    // What the libraries open once for the whole process is open after this.
    let first = in_a_runtime(async {
        let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
        let share = ana.share(&[ana.write("a.txt", b"text")]).await;
        ben.get(&share.link).await;
        ana.engine.shutdown().await;
        ben.engine.shutdown().await;
    });
    assert_eq!(first, 0, "tasks are left of two");
    let before = handles();
    let tasks = in_a_runtime(one_round());
    assert_eq!(tasks, 0, "tasks are left");
    let after = left(before);
    assert_eq!(after, before, "sockets and files are left (sockets, files)");
}

/// What the process has open once it is as `before`, or what keeps being open.
fn left(before: (usize, usize)) -> (usize, usize) {
    // Connections end on threads that WebRTC keeps for the whole process, and nobody is
    // told when the last one did.
    let deadline = Instant::now() + PATIENCE;
    while handles() != before && Instant::now() < deadline {
        std::thread::sleep(LOOK);
    }
    handles()
}

/// Runs something in a runtime of its own, and says how many tasks it leaves.
fn in_a_runtime(round: impl Future<Output = ()>) -> usize {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        round.await;
        // What was told to end does so by itself; what does not is a leak.
        let metrics = tokio::runtime::Handle::current().metrics();
        let gone = async {
            let mut look = tokio::time::interval(LOOK);
            while metrics.num_alive_tasks() > 0 {
                look.tick().await;
            }
        };
        // Ended or not is seen below.
        let _ = tokio::time::timeout(PATIENCE, gone).await;
        metrics.num_alive_tasks()
    })
}
