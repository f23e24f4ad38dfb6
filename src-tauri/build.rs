//! Names the commands that the page may be allowed to call, so that
//! `capabilities/main.json` lists each of them, and nothing else gets through.

use std::process::ExitCode;

fn main() -> ExitCode {
    let commands = tauri_build::AppManifest::new().commands(&[
        "accept",
        "cancel",
        "check_connection",
        "choose_destination",
        "choose_download_folder",
        "choose_files",
        "choose_folder",
        "clear_history",
        "copy_invite",
        "copy_text",
        "decline",
        "entries",
        "forget",
        "history",
        "invite_qr",
        "open_invite",
        "pass_on",
        "paste_files",
        "pause",
        "quit",
        "rename_device",
        "reply_code",
        "resume",
        "retry",
        "save_settings",
        "set_audience",
        "show_in_folder",
        "snapshot",
        "stop_passing",
        "stop_share",
    ]);
    match tauri_build::try_build(tauri_build::Attributes::new().app_manifest(commands)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
