//! What can go wrong with watching a run.

use std::net::SocketAddr;

/// Metrics, logs or their endpoint could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The address is taken, forbidden or not of this machine.
    #[error("cannot serve metrics on {address}: {source}; expected a free address of this machine (port 0 takes any)")]
    Listen {
        /// Where the endpoint was to listen.
        address: SocketAddr,
        /// The system's own words.
        source: std::io::Error,
    },
    /// The endpoint's thread could not be started.
    #[error("cannot start the thread that serves metrics: {0}")]
    Thread(std::io::Error),
    /// The metrics could not be written as text.
    #[error("cannot write the metrics as text: {0}")]
    Exposition(#[from] prometheus::Error),
    /// A log level or filter that cannot be read.
    #[error(
        "`{filter}` is no log level: {reason}; expected off, error, warn, info, debug, trace or `gustfront=debug,warn`"
    )]
    Filter {
        /// What was asked for.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something else in this process has taken the logs already.
    #[error("the logs of this process are set up already")]
    LogsTaken,
}
