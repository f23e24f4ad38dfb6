//! The system clipboard: texts go in, files come out.
//!
//! On X11 and Wayland the process that copied has to stay and serve what it
//! copied, so one connection is held for as long as the app runs. A clipboard
//! may answer slowly: both calls leave the async threads alone.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use passalong_engine::api::Problem;
use tauri::async_runtime::spawn_blocking;

use crate::problem::internal;

/// The clipboard, connected to when first used.
#[derive(Clone, Default)]
pub(crate) struct Clipboard(Arc<Mutex<Option<arboard::Clipboard>>>);

impl Clipboard {
    /// Puts a text on the clipboard.
    pub(crate) async fn copy(&self, text: String) -> Result<(), Problem> {
        self.with(move |clipboard| clipboard.set_text(text))
            .await
            .map_err(|error| {
                internal(
                    format!("The clipboard did not take the text ({error})."),
                    "Select the text in the window and copy it by hand.",
                )
            })
    }

    /// The files on the clipboard; none if it holds something else.
    pub(crate) async fn files(&self) -> Vec<PathBuf> {
        self.with(|clipboard| clipboard.get().file_list())
            .await
            .unwrap_or_default()
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut arboard::Clipboard) -> Result<T, arboard::Error> + Send + 'static,
    ) -> Result<T, arboard::Error> {
        let connection = Arc::clone(&self.0);
        let worked = spawn_blocking(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *connection {
                Some(clipboard) => work(clipboard),
                none => work(none.insert(arboard::Clipboard::new()?)),
            }
        });
        worked.await.unwrap_or_else(|error| {
            Err(arboard::Error::Unknown {
                description: error.to_string(),
            })
        })
    }
}
