//! Writes to standard output and standard error; a reader that has gone away is no error.

use std::io::{ErrorKind, Write, stderr, stdout};

/// Writes a text whole.
pub(crate) fn show(text: &str) -> anyhow::Result<()> {
    match stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes a line to standard error; where even that cannot be written, nobody is there to be told.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(stderr().lock(), "{line}");
}

/// An error with what it was caused by, each said once: some errors quote their cause or begin as their context does.
pub(crate) fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if cause.starts_with(&text) {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot listen: {source}; expected a free port")]
    struct Quoting {
        source: std::io::Error,
    }

    #[test]
    fn a_cause_is_told_once() {
        let quoting = anyhow::Error::from(Quoting { source: std::io::Error::other("taken") });
        assert_eq!(told(&quoting), "cannot listen: taken; expected a free port");
        let named: anyhow::Result<()> = Err(anyhow!("folder: no store")).context("folder");
        assert_eq!(told(&named.expect_err("an error")), "folder: no store");
        let wrapped: anyhow::Result<()> = Err(anyhow!("disk full")).context("the report cannot be written");
        assert_eq!(told(&wrapped.expect_err("an error")), "the report cannot be written: disk full");
    }
}
