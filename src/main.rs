//! foretell.
fn main() {}
