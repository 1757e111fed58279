//! The physical world: nodes with clocks, disks and servers, joined by links, struck by faults and
//! put to work by clients. It knows no ring, no lock and no queue.

pub mod any;
pub mod clock;
pub mod cluster;
pub mod directory;
mod disk;
pub mod dist;
pub mod fault;
pub mod load;
pub mod network;
pub mod node;
pub mod placement;
pub mod popularity;
pub mod raft;
pub mod station;
mod strike;
pub mod surroundings;
#[cfg(test)]
mod tests;
mod transport;
