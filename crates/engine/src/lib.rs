//! Passalong without a window: peer connections, carriers, disk and state behind
//! one handle, [`Engine`], which takes requests and gives a stream of events.
//!
//! `api` is what crosses to a window or a command line. Only `link` knows
//! WebRTC, only `store` knows the database, only `post`, `lan` and `dht` know how
//! knocks travel; protocol decisions are made in `passalong-proto`.

pub mod api;
mod board;
mod carrying;
mod config;
mod context;
mod dht;
pub mod doctor;
mod engine;
mod ice;
mod knocking;
mod lan;
mod lane;
mod limits;
mod link;
mod names;
mod network;
mod pace;
mod peer;
mod portmap;
mod post;
mod problem;
mod pulse;
mod share;
mod sink;
mod source;
mod store;
mod swarm;
mod transfer;
mod turns;

pub use config::Config;
pub use engine::Engine;
pub use problem::size;

/// Bytes from the system's random source.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[allow(clippy::expect_used)] // A system without randomness cannot keep a secret; stop here.
    getrandom::fill(&mut bytes).expect("the system has a random source");
    bytes
}
