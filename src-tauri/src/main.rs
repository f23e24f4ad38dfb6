//! The Passalong window: a builder, one-line commands and events to the page.
//!
//! Everything is decided in the engine or shown by the page; this crate only
//! carries between the two, and to the desktop: dialogs, clipboard, drops,
//! links, notifications.

#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

mod args;
mod clipboard;
mod commands;
mod events;
mod intake;
mod problem;
mod window;

use std::process::ExitCode;

use clap::Parser;
use passalong_engine::Engine;
use passalong_engine::api::Problem;
use tauri::async_runtime::{block_on, spawn};
use tauri::{App, AppHandle, Manager};
use tauri_plugin_dialog::{DialogExt, MessageDialogKind};

use crate::args::Args;
use crate::clipboard::Clipboard;
use crate::intake::AtStart;

fn main() -> ExitCode {
    let args = Args::parse();
    #[cfg(target_os = "linux")]
    if let Err(error) = without_dmabuf() {
        eprintln!("Passalong could not start itself: {error}");
        return ExitCode::FAILURE;
    }
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("PASSALONG_LOG"))
        .with_writer(std::io::stderr)
        .init();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Passalong could not open its window: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts this program again with WebKitGTK's DMA-BUF renderer off, unless
/// the person has chosen: with some graphics drivers it leaves the window blank.
#[cfg(target_os = "linux")]
fn without_dmabuf() -> std::io::Result<()> {
    use std::os::unix::process::CommandExt;

    const SWITCH: &str = "WEBKIT_DISABLE_DMABUF_RENDERER";
    if std::env::var_os(SWITCH).is_some() {
        return Ok(());
    }
    Err(std::process::Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(SWITCH, "1")
        .exec())
}

fn run(args: Args) -> tauri::Result<()> {
    let mut context = tauri::generate_context!();
    // One window for each data folder: what a second start is matched by.
    if let Some(suffix) = args.instance() {
        let identifier = &mut context.config_mut().identifier;
        identifier.push('.');
        identifier.push_str(&suffix);
    }
    let builder = tauri::Builder::default()
        .plugin(tauri_plugin_single_instance::init(|app, argv, cwd| {
            window::raise(app);
            match Args::try_parse_from(argv) {
                Ok(args) => intake::receive(app, args.intake(cwd.as_ref())),
                Err(error) => tracing::warn!("another start asked for something odd: {error}"),
            }
        }))
        .plugin(tauri_plugin_dialog::init())
        .plugin(
            tauri_plugin_opener::Builder::new()
                .open_js_links_on_click(false)
                .build(),
        )
        .plugin(tauri_plugin_notification::init());
    #[cfg(target_os = "macos")]
    let builder = builder.plugin(tauri_plugin_deep_link::init());
    builder
        .invoke_handler(tauri::generate_handler![
            commands::accept,
            commands::cancel,
            commands::check_connection,
            commands::choose_destination,
            commands::choose_download_folder,
            commands::choose_files,
            commands::choose_folder,
            commands::clear_history,
            commands::copy_invite,
            commands::copy_text,
            commands::decline,
            commands::entries,
            commands::forget,
            commands::history,
            commands::invite_qr,
            commands::open_invite,
            commands::pass_on,
            commands::paste_files,
            commands::pause,
            commands::quit,
            commands::rename_device,
            commands::reply_code,
            commands::resume,
            commands::retry,
            commands::save_settings,
            commands::set_audience,
            commands::show_in_folder,
            commands::snapshot,
            commands::stop_passing,
            commands::stop_share,
        ])
        .on_window_event(window::on_event)
        .setup(move |app| {
            match block_on(Engine::start(args.config()?)) {
                Ok(engine) => open(app, engine, &args)?,
                Err(problem) => explain_and_exit(app.handle(), &problem),
            }
            Ok(())
        })
        .run(context)
}

/// Puts the engine behind the commands and opens the window.
fn open(app: &App, engine: Engine, args: &Args) -> tauri::Result<()> {
    let handle = app.handle();
    spawn(events::forward(
        handle.clone(),
        engine.clone(),
        engine.events(),
    ));
    spawn(leave_when_told(handle.clone()));
    app.manage(engine);
    app.manage(Clipboard::default());
    app.manage(AtStart::new(
        args.intake(&std::env::current_dir().unwrap_or_default()),
    ));
    #[cfg(target_os = "macos")]
    {
        use tauri_plugin_deep_link::DeepLinkExt;
        let handle = handle.clone();
        app.deep_link().on_open_url(move |event| {
            intake::receive(&handle, intake::Intake::of_links(event.urls()));
        });
    }
    window::open(app, args)
}

/// Says in a dialog why there is no window, then ends.
fn explain_and_exit(app: &AppHandle, problem: &Problem) {
    let exit = app.clone();
    app.dialog()
        .message(format!("{}\n\n{}", problem.message, problem.remedy))
        .title("Passalong cannot start")
        .kind(MessageDialogKind::Error)
        .show(move |_| exit.exit(1));
}

/// Ends the app when the system or a terminal asks it to.
async fn leave_when_told(app: AppHandle) {
    let interrupted = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => {
                tokio::select! {
                    _ = terminated.recv() => {}
                    _ = interrupted => {}
                }
            }
            Err(_) => drop(interrupted.await),
        }
    }
    #[cfg(not(unix))]
    drop(interrupted.await);
    window::quit(&app).await;
}
