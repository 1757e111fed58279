//! The physical world.

pub mod placement;
pub mod popularity;
