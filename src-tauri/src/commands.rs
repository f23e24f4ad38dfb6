//! What the page may call. Each command is one step into the engine or one
//! into the desktop; `build.rs` and `capabilities/main.json` list the same names.

use std::path::PathBuf;

use passalong_engine::Engine;
use passalong_engine::api::{
    Audience, EntryView, HistoryEntry, Id, Opened, Problem, Selection, Settings, Snapshot,
};
use passalong_engine::doctor::Checkup;
use qrcode::QrCode;
use qrcode::render::svg;
use tauri::async_runtime::spawn_blocking;
use tauri::{AppHandle, Manager, State, WebviewWindow};
use tauri_plugin_dialog::{DialogExt, FileDialogBuilder, FilePath};
use tokio::sync::oneshot;

use crate::clipboard::Clipboard;
use crate::intake::{self, AtStart};
use crate::problem::internal;
use crate::window;

/// Entries of a list that the page gets at once: few enough to be taken in between two
/// frames.
const ENTRIES_AT_ONCE: u32 = 5000;

/// Everything there is to draw. The page listens to events before it asks,
/// so from here on nothing it is told gets lost.
#[tauri::command]
pub(crate) async fn snapshot(
    app: AppHandle,
    engine: State<'_, Engine>,
    at_start: State<'_, AtStart>,
) -> Result<Snapshot, Problem> {
    let snapshot = engine.snapshot().await;
    intake::receive(&app, at_start.take());
    Ok(snapshot)
}

/// Asks for files and shares them; nothing if the person thinks better of it.
#[tauri::command]
pub(crate) async fn choose_files(
    app: AppHandle,
    window: WebviewWindow,
) -> Result<Option<Id>, Problem> {
    let (answer, chosen) = oneshot::channel();
    picker(&window)
        .set_title("Share files")
        .pick_files(|files| drop(answer.send(files)));
    share_some(&app, paths(chosen.await.ok().flatten().unwrap_or_default())).await
}

/// Asks for folders and shares them; nothing if the person thinks better of it.
#[tauri::command]
pub(crate) async fn choose_folder(
    app: AppHandle,
    window: WebviewWindow,
) -> Result<Option<Id>, Problem> {
    let (answer, chosen) = oneshot::channel();
    picker(&window)
        .set_title("Share a folder")
        .pick_folders(|folders| drop(answer.send(folders)));
    share_some(&app, paths(chosen.await.ok().flatten().unwrap_or_default())).await
}

/// Shares the files on the clipboard; nothing if it holds none.
#[tauri::command]
pub(crate) async fn paste_files(
    app: AppHandle,
    clipboard: State<'_, Clipboard>,
) -> Result<Option<Id>, Problem> {
    share_some(&app, clipboard.files().await).await
}

#[tauri::command]
pub(crate) async fn set_audience(
    engine: State<'_, Engine>,
    id: Id,
    audience: Audience,
) -> Result<(), Problem> {
    engine.set_audience(&id, audience).await
}

#[tauri::command]
pub(crate) async fn stop_share(engine: State<'_, Engine>, id: Id) -> Result<(), Problem> {
    engine.stop_share(&id).await
}

#[tauri::command]
pub(crate) async fn forget(engine: State<'_, Engine>, id: Id) -> Result<(), Problem> {
    engine.forget(&id).await
}

#[tauri::command]
pub(crate) async fn copy_invite(app: AppHandle, id: Id) -> Result<(), Problem> {
    intake::copy_invite(&app, &id).await
}

/// The picture of a share's link, as SVG.
#[tauri::command]
pub(crate) async fn invite_qr(engine: State<'_, Engine>, id: Id) -> Result<String, Problem> {
    let link = intake::find_share(&engine, &id).await?.link;
    let code = QrCode::new(link.as_bytes()).map_err(|error| {
        internal(
            format!("The link does not fit a picture ({error})."),
            "Copy the invite instead.",
        )
    })?;
    Ok(code
        .render::<svg::Color<'_>>()
        .min_dimensions(240, 240)
        .build())
}

#[tauri::command]
pub(crate) async fn open_invite(
    engine: State<'_, Engine>,
    text: String,
) -> Result<Opened, Problem> {
    engine.open(&text).await
}

/// A part of a list, from an index on; empty after its last entry.
#[tauri::command]
pub(crate) async fn entries(
    engine: State<'_, Engine>,
    id: Id,
    from: u32,
) -> Result<Vec<EntryView>, Problem> {
    let part = from..from.saturating_add(ENTRIES_AT_ONCE);
    engine.some_entries(&id, part).await
}

#[tauri::command]
pub(crate) async fn accept(
    engine: State<'_, Engine>,
    id: Id,
    selection: Selection,
) -> Result<(), Problem> {
    engine.accept(&id, selection).await
}

#[tauri::command]
pub(crate) async fn decline(engine: State<'_, Engine>, id: Id) -> Result<(), Problem> {
    engine.decline(&id).await
}

#[tauri::command]
pub(crate) async fn cancel(engine: State<'_, Engine>, id: Id) -> Result<(), Problem> {
    engine.cancel(&id).await
}

#[tauri::command]
pub(crate) async fn retry(engine: State<'_, Engine>, id: Id) -> Result<(), Problem> {
    engine.retry(&id).await
}

#[tauri::command]
pub(crate) async fn pause(engine: State<'_, Engine>, id: Id) -> Result<(), Problem> {
    engine.pause(&id).await
}

#[tauri::command]
pub(crate) async fn resume(engine: State<'_, Engine>, id: Id) -> Result<(), Problem> {
    engine.resume(&id).await
}

#[tauri::command]
pub(crate) async fn pass_on(engine: State<'_, Engine>, id: Id) -> Result<(), Problem> {
    engine.pass_on(&id).await
}

#[tauri::command]
pub(crate) async fn stop_passing(engine: State<'_, Engine>, id: Id) -> Result<(), Problem> {
    engine.stop_passing(&id).await
}

#[tauri::command]
pub(crate) async fn history(engine: State<'_, Engine>) -> Result<Vec<HistoryEntry>, Problem> {
    engine.history().await
}

#[tauri::command]
pub(crate) async fn clear_history(engine: State<'_, Engine>) -> Result<(), Problem> {
    engine.clear_history().await
}

/// Asks where a transfer's files should go; false if the person thinks better of it.
#[tauri::command]
pub(crate) async fn choose_destination(
    window: WebviewWindow,
    engine: State<'_, Engine>,
    id: Id,
) -> Result<bool, Problem> {
    match pick_folder(&window, "Save to").await {
        Some(folder) => engine.set_destination(&id, folder).await.map(|()| true),
        None => Ok(false),
    }
}

/// Opens the file manager where a transfer's files are.
#[tauri::command]
pub(crate) async fn show_in_folder(engine: State<'_, Engine>, id: Id) -> Result<(), Problem> {
    let location = engine.location(&id).await?;
    let shown = location.display().to_string();
    let revealed = spawn_blocking(move || tauri_plugin_opener::reveal_item_in_dir(location)).await;
    let reason = match revealed {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Err(internal(
        format!("No file manager opened ({reason})."),
        format!("The files are in {shown}."),
    ))
}

#[tauri::command]
pub(crate) async fn reply_code(engine: State<'_, Engine>, id: Id) -> Result<String, Problem> {
    engine.reply_code(&id).await
}

/// Looks whether others can reach this computer.
#[tauri::command]
pub(crate) async fn check_connection(engine: State<'_, Engine>) -> Result<Checkup, Problem> {
    Ok(engine.check_connection().await)
}

#[tauri::command]
pub(crate) async fn copy_text(
    clipboard: State<'_, Clipboard>,
    text: String,
) -> Result<(), Problem> {
    clipboard.copy(text).await
}

#[tauri::command]
pub(crate) async fn rename_device(engine: State<'_, Engine>, name: String) -> Result<(), Problem> {
    engine.rename_device(&name).await
}

#[tauri::command]
pub(crate) async fn save_settings(
    engine: State<'_, Engine>,
    settings: Settings,
) -> Result<(), Problem> {
    engine.save_settings(settings).await
}

/// Asks for a folder for received files, for the page to put in the settings;
/// nothing if the person thinks better of it.
#[tauri::command]
pub(crate) async fn choose_download_folder(
    window: WebviewWindow,
) -> Result<Option<String>, Problem> {
    let folder = pick_folder(&window, "Save received files to").await;
    let folder = folder
        .map(|folder| folder.into_os_string().into_string())
        .transpose();
    folder.map_err(|_| {
        internal(
            "That folder's name is not valid Unicode.",
            "Choose another folder.",
        )
    })
}

#[tauri::command]
pub(crate) async fn quit(app: AppHandle) {
    window::quit(&app).await;
}

/// A file dialog over the window, at home.
fn picker(window: &WebviewWindow) -> FileDialogBuilder<tauri::Wry> {
    let dialog = window.dialog().file().set_parent(window);
    match window.path().home_dir() {
        Ok(home) => dialog.set_directory(home),
        Err(_) => dialog,
    }
}

async fn pick_folder(window: &WebviewWindow, title: &str) -> Option<PathBuf> {
    let (answer, chosen) = oneshot::channel();
    picker(window)
        .set_title(title)
        .pick_folder(|folder| drop(answer.send(folder)));
    chosen.await.ok().flatten()?.into_path().ok()
}

fn paths(chosen: Vec<FilePath>) -> Vec<PathBuf> {
    chosen
        .into_iter()
        .filter_map(|path| path.into_path().ok())
        .collect()
}

async fn share_some(app: &AppHandle, paths: Vec<PathBuf>) -> Result<Option<Id>, Problem> {
    if paths.is_empty() {
        return Ok(None);
    }
    intake::share(app, paths).await.map(Some)
}
