//! Everything that people hand to the app from outside the page: files
//! dropped, chosen, pasted or named at start, and links that were opened.
//!
//! What is shared is announced the same way however it came in. Paths are
//! passed to the engine as the system gave them, Unicode or not.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use passalong_engine::Engine;
use passalong_engine::api::{Audience, Id, Problem, ShareView};
use serde::Serialize;
use tauri::async_runtime::spawn;
use tauri::{AppHandle, Emitter, Manager};

use crate::clipboard::Clipboard;
use crate::problem::gone;

/// What came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Intake {
    /// Files and folders to share, together.
    pub(crate) paths: Vec<PathBuf>,
    /// Links to open, each on its own.
    pub(crate) links: Vec<String>,
}

impl Intake {
    /// Only paths.
    pub(crate) fn of_paths(paths: Vec<PathBuf>) -> Intake {
        Intake {
            paths,
            links: Vec::new(),
        }
    }

    /// Only links.
    #[cfg(target_os = "macos")]
    pub(crate) fn of_links(urls: Vec<tauri::Url>) -> Intake {
        Intake {
            paths: Vec::new(),
            links: urls.into_iter().map(String::from).collect(),
        }
    }
}

/// What the command line asked for, until the page is there to show it.
pub(crate) struct AtStart(Mutex<Intake>);

impl AtStart {
    pub(crate) fn new(intake: Intake) -> AtStart {
        AtStart(Mutex::new(intake))
    }

    /// Hands it over, once.
    pub(crate) fn take(&self) -> Intake {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A line for the page's status line.
#[derive(Clone, Serialize)]
struct Notice {
    text: &'static str,
}

/// Shares and opens what came in; problems go to the page.
pub(crate) fn receive(app: &AppHandle, intake: Intake) {
    let app = app.clone();
    spawn(async move {
        let engine = app.state::<Engine>();
        if !intake.paths.is_empty()
            && let Err(problem) = share(&app, intake.paths).await
        {
            report(&app, &problem);
        }
        for link in intake.links {
            if let Err(problem) = engine.open(&link).await {
                report(&app, &problem);
            }
        }
    });
}

/// Shares files and folders with anyone who gets the invite, and copies the
/// invite if the settings say so.
pub(crate) async fn share(app: &AppHandle, paths: Vec<PathBuf>) -> Result<Id, Problem> {
    let engine = app.state::<Engine>();
    let id = engine.share(paths, None, Audience::Anyone).await?;
    if engine.snapshot().await.settings.copy_invite {
        copy_invite(app, &id).await?;
    }
    Ok(id)
}

/// Puts a share's link on the clipboard and says so.
pub(crate) async fn copy_invite(app: &AppHandle, id: &str) -> Result<(), Problem> {
    let share = find_share(&app.state::<Engine>(), id).await?;
    app.state::<Clipboard>().copy(share.link).await?;
    tell(app, "Invite copied");
    Ok(())
}

/// The share with this id.
pub(crate) async fn find_share(engine: &Engine, id: &str) -> Result<ShareView, Problem> {
    let shares = engine.snapshot().await.shares;
    shares
        .into_iter()
        .find(|share| share.id == id)
        .ok_or_else(gone)
}

/// Puts a line in the page's status line.
pub(crate) fn tell(app: &AppHandle, text: &'static str) {
    if let Err(error) = app.emit("notice", Notice { text }) {
        tracing::warn!("the page did not get a notice: {error}");
    }
}

fn report(app: &AppHandle, problem: &Problem) {
    if let Err(error) = app.emit("problem", problem) {
        tracing::warn!("the page did not get a problem: {error}");
    }
}
