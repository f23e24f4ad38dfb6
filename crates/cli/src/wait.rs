//! What a running command waits for: the engine's events, and being asked to end.

use passalong_engine::Engine;
use passalong_engine::api::{Event, Problem, ProblemCode};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

/// The engine's events, all of them and in order, however slowly they are read.
pub(crate) struct Events {
    events: mpsc::UnboundedReceiver<Event>,
}

impl Events {
    /// Everything from now on, after what is known now.
    pub(crate) async fn of(engine: &Engine) -> Events {
        let mut changes = engine.events();
        let (sender, events) = mpsc::unbounded_channel();
        let engine = engine.clone();
        send_all(&engine, &sender).await;
        tokio::spawn(async move {
            loop {
                match changes.recv().await {
                    Ok(event) => {
                        if sender.send(event).is_err() {
                            return;
                        }
                    }
                    Err(RecvError::Lagged(_)) => send_all(&engine, &sender).await,
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Events { events }
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}

async fn send_all(engine: &Engine, sender: &mpsc::UnboundedSender<Event>) {
    let snapshot = engine.snapshot().await;
    let shares = snapshot.shares.into_iter().rev();
    let transfers = snapshot.transfers.into_iter().rev();
    let events = shares
        .map(|share| Event::Share { share })
        .chain(transfers.map(|transfer| Event::Transfer { transfer }));
    for event in events {
        // Whoever listened may be gone.
        let _ = sender.send(event);
    }
}

/// Ctrl-C, and the other ways a system asks a program to end.
pub(crate) struct Interrupt {
    signals: mpsc::UnboundedReceiver<()>,
}

impl Interrupt {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Interrupt, Problem> {
        let (sender, signals) = mpsc::unbounded_channel();
        listen(sender).map_err(|error| {
            Problem::new(
                ProblemCode::Internal,
                format!("Signals cannot be listened for: {error}."),
                "Start it in another way.",
            )
        })?;
        Ok(Interrupt { signals })
    }

    /// Waits to be asked. Losing this future loses nothing.
    pub(crate) async fn asked(&mut self) {
        if self.signals.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends an engine in good order; being asked once more ends it at once.
    pub(crate) async fn shut_down(&mut self, engine: &Engine) {
        tokio::select! {
            () = engine.shutdown() => {}
            () = self.asked() => {}
        }
    }
}

#[cfg(unix)]
fn listen(sender: mpsc::UnboundedSender<()>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    // A hangup is left alone, so that nohup keeps its meaning.
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut signals = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(
            async move { while signals.recv().await.is_some() && sender.send(()).is_ok() {} },
        );
    }
    Ok(())
}

#[cfg(not(unix))]
fn listen(sender: mpsc::UnboundedSender<()>) -> std::io::Result<()> {
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() && sender.send(()).is_ok() {}
    });
    Ok(())
}
