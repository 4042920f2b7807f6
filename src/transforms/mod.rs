//! Fields to fields: pure functions without I/O.
