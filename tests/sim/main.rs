//! The simulation itself: that it finds what it is to find, and goes the same way twice.

#[cfg(target_os = "linux")]
mod kernel;
mod network;
mod scenarios;
mod world;
