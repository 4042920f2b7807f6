//! Serves `/metrics`, `/healthz` and `/readyz` over HTTP from a thread of its own.

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::oneshot;

use super::{Health, TelemetryError, health, metrics};

/// A running endpoint; it stops when this is dropped.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Serves this process's metrics and health on an address; port 0 takes any free port.
///
/// # Errors
/// [`TelemetryError::Listen`] where the address is taken, forbidden or not of this machine.
pub fn serve(address: SocketAddr) -> Result<Endpoint, TelemetryError> {
    serve_with(address, health())
}

/// As [`serve`], with a health of the caller's own.
///
/// # Errors
/// [`TelemetryError::Listen`] where the address is taken, forbidden or not of this machine.
pub fn serve_with(address: SocketAddr, health: &'static Health) -> Result<Endpoint, TelemetryError> {
    let listen = |source| TelemetryError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(listen)?;
    listener.set_nonblocking(true).map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(TelemetryError::Thread)?;
    let listener = runtime.block_on(async { tokio::net::TcpListener::from_std(listener) }).map_err(listen)?;
    let (stop, stopped) = oneshot::channel();
    let answer = move || {
        runtime.spawn(async move { axum::serve(listener, router(health)).await });
        // Ends when the endpoint is dropped; leaving the runtime then closes every connection.
        runtime.block_on(stopped).ok();
    };
    let thread = std::thread::Builder::new().name("telemetry".into()).spawn(answer).map_err(TelemetryError::Thread)?;
    Ok(Endpoint { address, stop: Some(stop), thread: Some(thread) })
}

impl Endpoint {
    /// The address it listens on, with the port that was found.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// The three pages.
fn router(health: &'static Health) -> Router {
    Router::new()
        .route("/metrics", get(exposition))
        .route("/healthz", get(move || async move { alive(health) }))
        .route("/readyz", get(move || async move { ready(health) }))
}

/// Every metric in the text format of Prometheus.
async fn exposition() -> Response {
    match metrics().text() {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// 200 while the workers get somewhere, 503 once they have been silent too long.
fn alive(health: &Health) -> Response {
    let silence = health.silence().as_secs();
    if health.is_stalled() {
        let words = format!("stalled: no worker has made progress for {silence} s\n");
        return (StatusCode::SERVICE_UNAVAILABLE, words).into_response();
    }
    format!("ok: progress {silence} s ago\n").into_response()
}

/// 200 once the input could be listed, 503 before.
fn ready(health: &Health) -> Response {
    if health.is_ready() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not ready: the input has not been listed yet\n").into_response()
}
