//! The engine.
pub mod api;
