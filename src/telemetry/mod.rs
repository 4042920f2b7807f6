//! What a run tells the world while it runs: metrics, health, logs, progress.

mod endpoint;
mod error;
mod health;
pub mod logs;
mod metrics;
mod progress;

pub use endpoint::{Endpoint, serve, serve_with};
pub use error::TelemetryError;
pub use health::{Health, health};
pub use metrics::{Metrics, Watch, metrics};
pub use progress::Progress;

/// Where `/metrics`, `/healthz` and `/readyz` are served unless told otherwise: this machine only.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:9464";
