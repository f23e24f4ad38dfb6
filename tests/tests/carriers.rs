//! The ways a knock travels: the local network, a reply code, a TURN server.

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};

use passalong_engine::api::{CarrierState, Opened, Route, TransferState, TurnServer};
use passalong_tests::{Person, bytes, is_done};

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_code_is_enough_on_the_local_network() {
    let ana = Person::with("Ana", |config| config.lan = Some(true)).await;
    let ben = Person::with("Ben", |config| config.lan = Some(true)).await;
    let share = ana.share(&[ana.write("a.bin", &bytes(1, 100_000))]).await;
    let done = ben.get(&share.code).await;
    assert!(is_done(&done), "{:?}", done.state);
    assert!(std::fs::read(ben.downloads().join("a.bin")).expect("a file") == bytes(1, 100_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_finds_nobody_meets_by_reply_code() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    let share = ana.share(&[ana.write("a.bin", &bytes(1, 100_000))]).await;
    let id = ben.open(&share.code).await.expect("an invite");
    let lonely = ben
        .transfer_until(&id, |t| {
            matches!(&t.state, TransferState::Connecting { carriers, .. } if !carriers.is_empty())
        })
        .await;
    let TransferState::Connecting { carriers, .. } = lonely.state else {
        unreachable!()
    };
    for shown in carriers {
        assert_ne!(shown.state, CarrierState::Answered, "{:?}", shown.carrier);
    }
    let code = ben.engine.reply_code(&id).await.expect("a reply code");
    assert!(
        code.len() < 800,
        "{} characters are too many to send",
        code.len()
    );
    let opened = ana
        .engine
        .open(&format!("Ben says:\n{code}\n"))
        .await
        .expect("her share");
    let Opened::Reply {
        share: for_share,
        from,
        ..
    } = opened
    else {
        panic!("{opened:?}")
    };
    assert_eq!((for_share, from.name.as_str()), (share.id.clone(), "Ben"));
    ben.accept(&id).await;
    ben.done(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_code_completes_what_a_reply_code_began() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let id = ben.open(&share.code).await.expect("an invite");
    let code = ben.engine.reply_code(&id).await.expect("a reply code");
    let opened = ana.engine.open(&code).await.expect("her share");
    let Opened::Reply { answer_code, .. } = opened else {
        panic!("{opened:?}")
    };
    // Ana's own call may have come first; then nothing waits for the code.
    match ben.engine.open(&answer_code).await {
        Ok(opened) => assert_eq!(opened, Opened::Answer { id: id.clone() }),
        Err(problem) => assert!(problem.message.contains("does not belong"), "{problem:?}"),
    }
    ben.transfer_until(&id, |t| t.state == TransferState::Offered)
        .await;
    let problem = ben
        .engine
        .open(&code)
        .await
        .expect_err("it is not Ben's to answer");
    assert!(problem.message.contains("does not belong"), "{problem:?}");
    let cut = &answer_code[..answer_code.len() / 2];
    assert!(ben.engine.open(cut).await.is_err());
}

/// A coturn server on the loopback, ended with the test.
struct Turn {
    server: Child,
    port: u16,
}

impl Turn {
    fn start() -> Turn {
        let port = UdpSocket::bind("127.0.0.1:0")
            .and_then(|s| s.local_addr())
            .expect("a port")
            .port();
        let server = Command::new("turnserver")
            .args([
                "-n",
                "--listening-ip=127.0.0.1",
                "--relay-ip=127.0.0.1",
                "--lt-cred-mech",
            ])
            .args([
                "--user=ana:secret",
                "--realm=passalong.test",
                "--allow-loopback-peers",
            ])
            .args([
                "--no-tls",
                "--no-dtls",
                "--no-cli",
                "--no-tcp",
                "--log-file=/dev/null",
            ])
            .args([
                "--min-port=49200",
                "--max-port=49400",
                "--pidfile=/dev/null",
            ])
            .arg(format!("--listening-port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("coturn is installed; the setup script does that");
        let turn = Turn { server, port };
        turn.wait();
        turn
    }

    /// Asks for a STUN binding (RFC 8489 §6) until one is given.
    fn wait(&self) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket
            .set_read_timeout(Some(std::time::Duration::from_millis(100)))
            .expect("a timeout");
        let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
        for _ in 0..100 {
            let _ = socket.send_to(&request, ("127.0.0.1", self.port));
            if socket.recv(&mut [0; 512]).is_ok() {
                return;
            }
        }
        panic!("coturn does not answer");
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_tell_no_addresses_meet_through_a_turn_server() {
    let turn = Turn::start();
    let relayed = |config: &mut passalong_engine::Config| {
        config.relay_only = true;
        config.turn = Some(vec![TurnServer {
            url: format!("turn:127.0.0.1:{}", turn.port),
            username: "ana".to_owned(),
            password: "secret".to_owned(),
        }]);
    };
    let (ana, ben) = (
        Person::with("Ana", relayed).await,
        Person::with("Ben", relayed).await,
    );
    let share = ana.share(&[ana.write("a.bin", &bytes(1, 3_000_000))]).await;
    let id = ben.open(&share.link).await.expect("an invite");
    let offered = ben
        .transfer_until(&id, |t| t.state == TransferState::Offered)
        .await;
    assert_eq!(offered.route, Some(Route::Relayed));
    ben.accept(&id).await;
    ben.done(&id).await;
    assert!(std::fs::read(ben.downloads().join("a.bin")).expect("a file") == bytes(1, 3_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stun_server_that_answers_is_used_and_one_that_does_not_is_no_hindrance() {
    let turn = Turn::start();
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let silent_port = silent.local_addr().expect("an address").port();
    let servers = |config: &mut passalong_engine::Config| {
        config.stun = Some(vec![
            format!("stun:127.0.0.1:{}", turn.port),
            format!("stun:127.0.0.1:{silent_port}"),
            "stun:no-such-host.invalid:3478".to_owned(),
        ]);
    };
    let (ana, ben) = (
        Person::with("Ana", servers).await,
        Person::with("Ben", servers).await,
    );
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let done = ben.get(&share.link).await;
    assert!(is_done(&done), "{:?}", done.state);
}
