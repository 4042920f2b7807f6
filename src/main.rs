//! The `gustfront` program: reads the command line and calls the library.

fn main() {}
