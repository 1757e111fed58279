//! The command `stormglass`.
fn main() {}
