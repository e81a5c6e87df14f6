//! The simulation itself: that it finds what it is to find, and goes the same way twice.

mod world;
