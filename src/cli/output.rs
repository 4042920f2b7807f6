//! Writes to standard output; a reader that has gone away is no error.

use std::io::{ErrorKind, Write, stdout};

/// Writes a text whole.
pub(crate) fn show(text: &str) -> anyhow::Result<()> {
    match stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
