//! The one window: opening it, files dropped on it, and closing it.
//!
//! Drops are taken here, so that the page never handles a path. Closing asks
//! the engine first what would be cut off.

use std::time::Duration;

use passalong_engine::Engine;
use tauri::async_runtime::spawn;
use tauri::{
    App, AppHandle, DragDropEvent, Emitter, Manager, WebviewWindowBuilder, Window, WindowEvent,
};

use crate::args::{Args, Side};
use crate::intake::{self, Intake};

const LABEL: &str = "main";

/// How long quitting waits for the engine to say goodbye to everybody.
const GOODBYE: Duration = Duration::from_secs(5);

/// Opens the window that the configuration describes.
pub(crate) fn open(app: &App, args: &Args) -> tauri::Result<()> {
    let config = app
        .config()
        .app
        .windows
        .iter()
        .find(|window| window.label == LABEL);
    let mut builder =
        WebviewWindowBuilder::from_config(app, config.ok_or(tauri::Error::WindowNotFound)?)?;
    if let Some(folder) = args.data_dir() {
        builder = builder.data_directory(folder.join("window"));
    }
    if let Some(name) = &args.name {
        builder = builder.title(format!("{name} · Passalong"));
    }
    if let Some(side) = args.place
        && let Some(monitor) = app.primary_monitor()?
    {
        let scale = monitor.scale_factor();
        let area = monitor.work_area();
        let (corner, size) = (
            area.position.to_logical::<f64>(scale),
            area.size.to_logical::<f64>(scale),
        );
        let width = size.width / 2.0;
        let left = if side == Side::Left {
            corner.x
        } else {
            corner.x + width
        };
        builder = builder
            .position(left, corner.y)
            .inner_size(width, size.height.min(800.0));
    }
    builder.build()?;
    Ok(())
}

/// Files dropped, and the close button.
pub(crate) fn on_event(window: &Window, event: &WindowEvent) {
    let app = window.app_handle();
    match event {
        WindowEvent::DragDrop(DragDropEvent::Drop { paths, .. }) => {
            intake::receive(app, Intake::of_paths(paths.clone()));
        }
        WindowEvent::CloseRequested { api, .. } => {
            api.prevent_close();
            spawn(close_or_ask(app.clone()));
        }
        _ => {}
    }
}

/// Brings the window to the front.
pub(crate) fn raise(app: &AppHandle) {
    if let Some(window) = app.get_webview_window(LABEL) {
        let raised = window
            .unminimize()
            .and_then(|()| window.show())
            .and_then(|()| window.set_focus());
        if let Err(error) = raised {
            tracing::warn!("the window stayed behind: {error}");
        }
    }
}

/// Whether the person is looking at the window.
pub(crate) fn is_focused(app: &AppHandle) -> bool {
    app.get_webview_window(LABEL)
        .is_some_and(|window| window.is_focused().unwrap_or(false))
}

/// Quits if nothing is at stake; else the page asks.
async fn close_or_ask(app: AppHandle) {
    match app.state::<Engine>().at_stake().await {
        Some(at_stake) if app.emit("closing", &at_stake).is_ok() => raise(&app),
        _ => quit(&app).await,
    }
}

/// Takes the window away, lets the engine finish and ends the app.
pub(crate) async fn quit(app: &AppHandle) {
    if let Some(window) = app.get_webview_window(LABEL) {
        // The app ends in a moment either way.
        drop(window.hide());
    }
    let engine = app.state::<Engine>();
    if tokio::time::timeout(GOODBYE, engine.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("the engine took longer than {GOODBYE:?} to stop");
    }
    app.exit(0);
}
