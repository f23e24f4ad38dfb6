//! Passing on: a share that was received whole is served to others under the
//! same invite, with the manifest its sharer signed.

use std::sync::Arc;

use passalong_proto::fetch::Fetch;
use passalong_proto::invite::Invite;
use passalong_proto::wire::Farewell;
use tokio::sync::{mpsc, oneshot, watch};

use crate::context::Context;
use crate::host::{Change, Host, Progress, Ready};
use crate::post::VISIT_QUEUE;
use crate::source::Shelf;

/// A running service of a received share.
pub(crate) struct Passing {
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

/// Starts serving what `fetch` has fetched.
pub(crate) fn start(
    context: &Arc<Context>,
    invite: &Invite,
    fetch: &Fetch,
    shelf: Arc<Shelf>,
) -> Option<Passing> {
    let manifest = Arc::clone(fetch.manifest()?);
    let total_bytes = manifest.bytes();
    let ready = Arc::new(Ready {
        manifest,
        signed: Arc::new(fetch.signed()?.clone()),
        shelf,
    });
    let secret = invite.secret;
    let (visit_sender, mut visits) = mpsc::channel(VISIT_QUEUE);
    context.post.register(secret, visit_sender);
    if let Some(lan) = context.lan() {
        lan.announce(&secret.lan_tag(), context.post.port());
    }
    let (progress, watched) = watch::channel(Progress {
        done_bytes: total_bytes,
        total_bytes,
        ready: Some(ready),
    });
    let (mut host, mut reports) = Host::new(Arc::clone(context), secret, watched);
    let (stop, mut stop_asked) = oneshot::channel();
    let (stopped_sender, stopped) = oneshot::channel();
    let context = Arc::clone(context);
    tokio::spawn(async move {
        // Held so that the host's watch stays open.
        let _progress = progress;
        loop {
            tokio::select! {
                Some(visit) = visits.recv() => host.welcome(visit),
                Some(report) = reports.recv() => {
                    if let Change::Gone = report.change {
                        host.forget(report.session);
                    }
                }
                _ = &mut stop_asked => break,
            }
        }
        context.post.unregister(&secret.id());
        if let Some(lan) = context.lan() {
            lan.withdraw(&secret.lan_tag());
        }
        host.close(Farewell::Closing).await;
        let _ = stopped_sender.send(());
    });
    Some(Passing { stop, stopped })
}

impl Passing {
    /// Stops serving and waits until everybody was told.
    pub(crate) async fn close(self) {
        let Passing { stop, stopped } = self;
        // If the task is gone already, so is what it served.
        let _ = stop.send(());
        let _ = stopped.await;
    }
}
