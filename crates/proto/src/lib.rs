//! Passalong's protocol as a pure library: bytes and time are arguments, results
//! are values. There is no clock, socket, disk or source of randomness in here,
//! so everything can be tested by the thousand and simulated in one process.
//!
//! Whatever comes from a peer is hostile until a type of this crate has parsed it.

pub mod ahead;
pub mod code;
pub mod congestion;
pub mod datagram;
pub mod fetch;
pub mod invite;
pub mod keys;
pub mod knock;
pub mod lanes;
pub mod manifest;
pub mod membership;
pub mod mux;
pub mod pieces;
pub mod placement;
pub mod rendezvous;
pub mod safe_path;
pub mod scheduler;
pub mod sending;
pub mod serve;
pub mod signed_hashes;
pub mod simulation;
pub mod slots;
pub mod tree;
pub mod wire;
