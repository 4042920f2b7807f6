//! Human-readable logs on standard error that leave progress bars whole.

use std::io::{IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::TelemetryError;
use super::progress::bars;

/// Sets up the logs of this process, once: `level` beats the environment variable `RUST_LOG`, which beats `info`.
///
/// A plain level (`debug`) is that of this program, with other crates at `warn`; a filter
/// (`gustfront=debug,aws_config=trace`) is taken as it is. Colours are for terminals, unless `NO_COLOR` is set.
///
/// # Errors
/// [`TelemetryError::Filter`] for a level or filter that cannot be read, [`TelemetryError::LogsTaken`] the second time.
pub fn start(level: Option<&str>) -> Result<(), TelemetryError> {
    let environment = std::env::var("RUST_LOG").ok();
    let filter = filter(level.or(environment.as_deref()).unwrap_or("info"))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours(std::io::stderr().is_terminal(), std::env::var("NO_COLOR").ok().as_deref()))
        .with_target(false)
        // It would be reported on standard error, which is what could not be written.
        .log_internal_errors(false)
        .with_writer(|| BesideBars);
    logs.try_init().map_err(|_| TelemetryError::LogsTaken)
}

/// Reads a plain level or a list of `target=level`.
fn filter(text: &str) -> Result<EnvFilter, TelemetryError> {
    let bad = |reason: String| TelemetryError::Filter { filter: text.into(), reason };
    let text = text.trim();
    if text.is_empty() {
        return filter("info");
    }
    if text.contains(['=', ',']) {
        return EnvFilter::try_new(text).map_err(|e| bad(e.to_string()));
    }
    let level: LevelFilter = text.parse().map_err(|_| bad("there is no such level".into()))?;
    let others = level.min(LevelFilter::WARN);
    EnvFilter::try_new(format!("{others},gustfront={level}")).map_err(|e| bad(e.to_string()))
}

/// Whether to colour: on terminals, unless `NO_COLOR` holds anything.
fn colours(terminal: bool, no_color: Option<&str>) -> bool {
    terminal && no_color.is_none_or(str::is_empty)
}

/// Writes to standard error with the progress bars out of the way.
struct BesideBars;

impl Write for BesideBars {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        bars().suspend(|| std::io::stderr().write(buffer))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_level_is_for_this_program_and_quiets_the_others() {
        assert_eq!(filter("debug").unwrap().to_string(), "gustfront=debug,warn");
        assert_eq!(filter("error").unwrap().to_string(), "gustfront=error,error");
        assert_eq!(filter("").unwrap().to_string(), "gustfront=info,warn");
    }

    #[test]
    fn a_filter_is_taken_as_it_is_and_nonsense_is_named() {
        assert_eq!(filter("gustfront=trace,off").unwrap().to_string(), "gustfront=trace,off");
        let message = filter("loud").unwrap_err().to_string();
        assert!(message.contains("`loud`") && message.contains("expected off, error"), "{message}");
        assert!(filter("gustfront=loud").is_err());
    }

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        assert!(colours(true, None) && colours(true, Some("")));
        assert!(!colours(true, Some("1")) && !colours(false, None));
    }
}
