//! What a run tells the world while it runs: metrics, logs, progress.
