//! People for whole-system tests: each a real engine with a data folder and a
//! Downloads folder of its own, all on the loopback.
//!
//! Nothing here waits for a time to pass: a person is waited for until what
//! they show is what is expected, and a test that waits too long fails.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use passalong_engine::api::{
    Audience, Event, Id, Opened, Problem, Selection, ShareState, ShareView, TransferState,
    TransferView,
};
use passalong_engine::{Config, Engine};
use tempfile::TempDir;
use tokio::sync::broadcast::error::RecvError;

pub mod crowd;
pub mod dht;
pub mod meeting;
pub mod offering;
pub mod raw;
mod talk;

/// Longest wait for anything that should happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody with a computer.
pub struct Person {
    /// Their engine.
    pub engine: Engine,
    home: TempDir,
    config: Config,
}

/// Somebody whose app is closed.
pub struct Closed {
    home: TempDir,
    config: Config,
}

impl Closed {
    /// Opens the app again.
    pub async fn open(self) -> Person {
        let Closed { home, config } = self;
        let engine = Engine::start(config.clone()).await;
        let engine = engine.expect("the engine starts again");
        Person {
            engine,
            home,
            config,
        }
    }
}

impl Person {
    /// Somebody called `name` on 127.0.0.1, without local-network discovery and DHT.
    pub async fn new(name: &str) -> Person {
        Person::with(name, |_| {}).await
    }

    /// Somebody whose configuration is changed by `adjust`.
    pub async fn with(name: &str, adjust: impl FnOnce(&mut Config)) -> Person {
        let home = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(home.path().join("Downloads")).expect("a Downloads folder");
        let mut config = Config::new(home.path().join("data"));
        config.bind = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        config.lan = Some(false);
        config.dht = Some(false);
        config.port_mapping = Some(false);
        config.stun = Some(Vec::new());
        config.turn = Some(Vec::new());
        config.device_name = Some(name.to_owned());
        config.download_dir = Some(home.path().join("Downloads"));
        adjust(&mut config);
        let engine = Engine::start(config.clone())
            .await
            .expect("the engine starts");
        Person {
            engine,
            home,
            config,
        }
    }

    /// Closes the app and opens it again.
    pub async fn restart(self) -> Person {
        self.restart_after(|_| {}).await
    }

    /// The same; what `meanwhile` does to their home happens in between.
    pub async fn restart_after(self, meanwhile: impl FnOnce(&Path)) -> Person {
        let closed = self.close().await;
        meanwhile(closed.home.path());
        closed.open().await
    }

    /// Closes the app for now.
    pub async fn close(self) -> Closed {
        let Person {
            engine,
            home,
            config,
        } = self;
        engine.shutdown().await;
        drop(engine);
        // The last tasks of the old engine hold the folder for a moment.
        let lock = fs::File::open(config.data_dir.join("lock")).expect("a lock");
        while lock.try_lock().is_err() {
            tokio::task::yield_now().await;
        }
        Closed { home, config }
    }

    /// A file or folder of theirs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Their Downloads folder.
    pub fn downloads(&self) -> PathBuf {
        self.path("Downloads")
    }

    /// Writes a file of theirs, folders included, and says where it is.
    pub fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(&path, content).expect("a file");
        path
    }

    /// Shares with anyone and waits until the share is ready.
    pub async fn share(&self, paths: &[PathBuf]) -> ShareView {
        self.share_with(paths, Audience::Anyone).await
    }

    /// Shares and waits until the share is ready.
    pub async fn share_with(&self, paths: &[PathBuf], audience: Audience) -> ShareView {
        let id = self
            .engine
            .share(paths.to_vec(), None, audience)
            .await
            .expect("a share");
        self.share_until(&id, |share| share.state == ShareState::Ready)
            .await
    }

    /// Opens an invite.
    pub async fn open(&self, text: &str) -> Result<Id, Problem> {
        match self.engine.open(text).await? {
            Opened::Transfer { id } => Ok(id),
            other => panic!("not an invite: {other:?}"),
        }
    }

    /// Opens an invite and waits for the list.
    pub async fn look(&self, link: &str) -> Id {
        let id = self.open(link).await.expect("an invite");
        self.transfer_until(&id, |t| t.state == TransferState::Offered)
            .await;
        id
    }

    /// Waits for the list and accepts everything.
    pub async fn accept(&self, id: &str) {
        self.transfer_until(id, |t| t.state == TransferState::Offered)
            .await;
        let accepted = self.engine.accept(id, Selection::All).await;
        accepted.expect("accepted");
    }

    /// Opens an invite and accepts everything.
    pub async fn begin(&self, link: &str) -> Id {
        let id = self.open(link).await.expect("an invite");
        self.accept(&id).await;
        id
    }

    /// Opens an invite, accepts everything and waits until nothing more happens.
    pub async fn get(&self, link: &str) -> TransferView {
        let id = self.begin(link).await;
        self.transfer_until(&id, |t| is_over(&t.state)).await
    }

    /// Waits until more than so many bytes of a running transfer are here.
    pub async fn receiving(&self, id: &str, more_than: u64) -> TransferView {
        let receiving = |t: &TransferView| matches!(&t.state, TransferState::Receiving { progress } if progress.bytes > more_than);
        self.transfer_until(id, receiving).await
    }

    /// Waits until a transfer is over and everything is here.
    pub async fn done(&self, id: &str) -> TransferView {
        let over = self.transfer_until(id, |t| is_over(&t.state)).await;
        assert!(is_done(&over), "{:?}", over.state);
        over
    }

    /// Waits until a transfer is over and has failed, and gives what went wrong.
    pub async fn failed(&self, id: &str) -> Problem {
        let over = self.transfer_until(id, |t| is_over(&t.state)).await;
        match over.state {
            TransferState::Failed { problem, .. } => problem,
            other => panic!("not failed: {other:?}"),
        }
    }

    /// Sends at most so many bytes a second from now on.
    pub async fn limit_upload(&self, bytes: Option<u64>) {
        let mut settings = self.engine.snapshot().await.settings;
        settings.upload_limit = bytes;
        let saved = self.engine.save_settings(settings).await;
        saved.expect("saved");
    }

    /// Waits until a share of theirs looks as expected.
    pub async fn share_until(&self, id: &str, expected: impl Fn(&ShareView) -> bool) -> ShareView {
        let look = async {
            let mut events = self.engine.events();
            loop {
                let snapshot = self.engine.snapshot().await;
                if let Some(share) = snapshot
                    .shares
                    .into_iter()
                    .find(|s| s.id == id && expected(s))
                {
                    return share;
                }
                if let Err(RecvError::Closed) = events.recv().await {
                    panic!("the engine is gone");
                }
            }
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(share) => share,
            Err(_) => panic!(
                "waited in vain; shares: {:#?}",
                self.engine.snapshot().await.shares
            ),
        }
    }

    /// Waits until a transfer of theirs looks as expected.
    pub async fn transfer_until(
        &self,
        id: &str,
        expected: impl Fn(&TransferView) -> bool,
    ) -> TransferView {
        let look = async {
            let mut events = self.engine.events();
            loop {
                let snapshot = self.engine.snapshot().await;
                let found = snapshot
                    .transfers
                    .into_iter()
                    .find(|t| t.id == id && expected(t));
                if let Some(transfer) = found {
                    return transfer;
                }
                if let Err(RecvError::Closed) = events.recv().await {
                    panic!("the engine is gone");
                }
            }
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(transfer) => transfer,
            Err(_) => {
                panic!(
                    "waited in vain; transfers: {:#?}",
                    self.engine.snapshot().await.transfers
                )
            }
        }
    }

    /// Waits for the next event that `wanted` picks out.
    pub async fn event<T>(&self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let mut events = self.engine.events();
        let look = async {
            loop {
                match events.recv().await {
                    Ok(event) => {
                        if let Some(found) = wanted(&event) {
                            return found;
                        }
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => panic!("the engine is gone"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, look)
            .await
            .expect("the event comes")
    }
}

/// Whether nothing more happens to a transfer by itself.
pub fn is_over(state: &TransferState) -> bool {
    matches!(
        state,
        TransferState::Done { .. }
            | TransferState::Declined
            | TransferState::Cancelled
            | TransferState::Failed { .. }
    )
}

/// Whether everything is here.
pub fn is_done(transfer: &TransferView) -> bool {
    matches!(transfer.state, TransferState::Done { .. })
}

/// Bytes that look random and are the same every time.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut content = Vec::with_capacity(length + 8);
    while content.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    content.truncate(length);
    content
}

/// Everything below a folder: paths with their content, folders with none.
pub fn tree(dir: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut stack = vec![dir.to_owned()];
    while let Some(folder) = stack.pop() {
        for child in fs::read_dir(&folder).expect("a folder") {
            let path = child.expect("an entry").path();
            let name = path
                .strip_prefix(dir)
                .expect("below")
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                found.insert(name, None);
                stack.push(path);
            } else {
                found.insert(name, Some(fs::read(&path).expect("a file")));
            }
        }
    }
    found
}
