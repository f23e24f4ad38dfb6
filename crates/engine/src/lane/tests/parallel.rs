//! Connections that are made beside a link whose data channel is slow.

use passalong_proto::wire::FIRST_PARALLEL;

use super::*;

/// Carries about a thousand datagrams a second.
fn slow_road() -> Trouble {
    Trouble {
        pause: Duration::from_millis(1),
        ..Trouble::default()
    }
}

/// Different pieces of 1 MiB, more than any test sends.
fn whole_pieces() -> Vec<Piece> {
    const COUNT: usize = 1000;
    let length = PIECE_LEN as usize;
    let bytes: Vec<u8> = (0..length + COUNT)
        .map(|at| (at % 251) as u8 ^ (at >> 8) as u8)
        .collect();
    let bytes = Bytes::from(bytes);
    (0..COUNT)
        .map(|number| {
            let piece = PieceRef {
                entry: 0,
                piece: number as u32,
            };
            (piece, bytes.slice(number..number + length))
        })
        .collect()
}

/// Sends pieces of 1 MiB, one after the other, until so many came on connections beside
/// the link. Says which pieces were sent.
async fn until_beside(pair: &mut Pair, arrived: &mut Arrived, count: usize) -> Vec<Piece> {
    let all = whole_pieces();
    let (told, mut enough) = watch::channel(false);
    let Pair {
        knocker, answerer, ..
    } = pair;
    let sending = async {
        let mut sent = 0;
        while !*enough.borrow_and_update() {
            send_all(&mut knocker.lanes, &all[sent..=sent]).await;
            sent += 1;
        }
        sent
    };
    let receiving = async {
        let mut beside = 0;
        while beside < count {
            let whole = arrived.whole.len();
            let lane = arrived.frame(answerer, &all).await;
            let is_beside = lane >= FIRST_PARALLEL;
            beside += usize::from(is_beside && arrived.whole.len() > whole);
        }
        told.send_replace(true);
        // What is under way must not wait for somebody to read it.
        loop {
            arrived.frame(answerer, &all).await;
        }
    };
    let sent = tokio::select! {
        sent = sending => sent,
        () = receiving => unreachable!("it reads for ever"),
    };
    all[..sent].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_channel_that_is_too_slow_gets_connections_beside_it_that_carry_pieces() {
    let mut pair = linked(slow_road(), false).await;
    let mut arrived = Arrived::default();
    let sent = until_beside(&mut pair, &mut arrived, 8).await;
    arrived.all(&mut pair.answerer, &sent).await;
    let lanes = BTreeSet::from([DATA_CHANNEL, FIRST_PARALLEL]);
    assert_eq!(arrived.lanes, lanes);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beside_a_link_that_break_lose_only_what_was_on_its_way_on_them() {
    let mut pair = linked(slow_road(), false).await;
    let mut arrived = Arrived::default();
    let mut sent = until_beside(&mut pair, &mut arrived, 2).await;
    let broken = Arc::clone(&pair.knocker.lanes.strands.borrow()[0]);
    broken.close().await;
    let lost = timeout(PATIENCE, pair.knocker.lost.recv()).await;
    let lost = lost.unwrap().unwrap();
    assert_eq!(lost.lane, FIRST_PARALLEL);
    assert!(!lost.pieces.is_empty());
    assert!(!pair.knocker.lanes.has_room(0, 1));

    // As the receiver does: what comes on the lane that broke is not read any more.
    let lost: BTreeSet<u32> = lost.pieces.iter().map(|piece| piece.piece).collect();
    sent.retain(|(piece, _)| !arrived.whole.contains_key(&piece.piece));
    let (again, rest): (Vec<Piece>, Vec<Piece>) = sent
        .into_iter()
        .partition(|(piece, _)| lost.contains(&piece.piece));
    arrived.parts.retain(|(lane, _), _| *lane == DATA_CHANNEL);
    let expected = [again.clone(), rest].concat();
    let mut missing: BTreeSet<u32> = expected.iter().map(|(piece, _)| piece.piece).collect();
    let Pair {
        knocker, answerer, ..
    } = &mut pair;
    let receiving = async {
        while !missing.is_empty() {
            arrived
                .frame_but_of(answerer, &expected, FIRST_PARALLEL)
                .await;
            missing.retain(|piece| !arrived.whole.contains_key(piece));
        }
    };
    tokio::join!(send_all(&mut knocker.lanes, &again), receiving);
    for (piece, bytes) in &expected {
        assert!(
            arrived.whole[&piece.piece] == *bytes,
            "piece {}",
            piece.piece
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_way_to_other_traffic_ends_the_connections_beside_a_link() {
    let mut pair = linked(slow_road(), false).await;
    let mut arrived = Arrived::default();
    let sent = until_beside(&mut pair, &mut arrived, 1).await;
    pair.manner.send_replace(Manner::Polite);
    let lost = timeout(PATIENCE, pair.knocker.lost.recv()).await;
    assert_eq!(lost.unwrap().unwrap().lane, FIRST_PARALLEL);
    assert!(!pair.knocker.lanes.has_room(0, 1));
    drop(sent);
}
