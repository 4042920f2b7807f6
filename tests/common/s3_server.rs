//! A real S3 protocol server over a folder, inside the test's own process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// The key and the secret that [`S3Server::start`] and the client's environment may share.
pub const KEYS: (&str, &str) = ("AKEXAMPLE", "SKEXAMPLE");

/// A request as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    /// `/bucket/key`, without the query.
    pub path: String,
    /// The header `range`.
    pub range: Option<String>,
}

/// What is asked of the server, and how it misbehaves.
#[derive(Debug)]
struct Watch {
    seen: Mutex<Vec<Seen>>,
    /// So many requests more are answered with 503.
    busy: AtomicUsize,
    /// So many requests more are answered at all.
    left: AtomicUsize,
}

impl Watch {
    /// Counts one down; `false` where nothing is left.
    fn take(counter: &AtomicUsize) -> bool {
        counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
    }
}

/// A server on a loopback port, gone when dropped. A bucket is a folder below its root.
pub struct S3Server {
    /// `http://127.0.0.1:port`
    pub endpoint: String,
    root: PathBuf,
    watch: Arc<Watch>,
    runtime: Option<Runtime>,
}

impl S3Server {
    /// Serves `root`; with `auth` (key, secret) only to those who sign with it.
    pub fn start(root: &Path, auth: Option<(&str, &str)>) -> S3Server {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
        if let Some((key, secret)) = auth {
            builder.set_auth(s3s::auth::SimpleAuth::from_single(key, secret));
        }
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (seen, busy, left) = (Mutex::default(), AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        let watch = Arc::new(Watch { seen, busy, left });
        runtime.spawn(serve(listener, builder.build(), watch.clone()));
        S3Server { endpoint, root: root.to_path_buf(), watch, runtime: Some(runtime) }
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.watch.seen.lock().unwrap().clone()
    }

    /// Answers the next requests with 503.
    pub fn be_busy(&self, requests: usize) {
        self.watch.busy.store(requests, Ordering::SeqCst);
    }

    /// Answers so many requests more, then hangs up on every one.
    pub fn go_away_after(&self, requests: usize) {
        self.watch.left.store(requests, Ordering::SeqCst);
    }

    /// Makes a bucket and returns its folder.
    pub fn bucket(&self, name: &str) -> PathBuf {
        let folder = self.root.join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

async fn serve(listener: TcpListener, service: S3Service, watch: Arc<Watch>) {
    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        // Without it every small answer waits 40 ms for an acknowledgement.
        socket.set_nodelay(true).unwrap();
        let (service, watch) = (service.clone(), watch.clone());
        let watched = service_fn(move |request| answer(service.clone(), watch.clone(), request));
        let connection = server.serve_connection(TokioIo::new(socket), watched).into_owned();
        tokio::spawn(async move {
            // A client that hangs up is none of the server's business.
            let _ = connection.await;
        });
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn answer(
    service: S3Service,
    watch: Arc<Watch>,
    request: Request<Incoming>,
) -> Result<Response<s3s::Body>, Failure> {
    let range = request.headers().get("range").map(|value| value.to_str().unwrap().to_string());
    let (method, path) = (request.method().to_string(), request.uri().path().to_string());
    watch.seen.lock().unwrap().push(Seen { method, path, range });
    if !Watch::take(&watch.left) {
        return Err("gone".into());
    }
    if Watch::take(&watch.busy) {
        let text =
            "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
        return Ok(Response::builder().status(503).body(s3s::Body::from(text.to_string()))?);
    }
    Ok(Service::call(&service, request).await?)
}

/// Puts [`KEYS`] into the environment, where the client's credential chain finds them first.
pub fn set_credentials() {
    // SAFETY: only Rust code reads the environment in these tests, under the standard library's lock.
    unsafe {
        std::env::set_var("AWS_ACCESS_KEY_ID", KEYS.0);
        std::env::set_var("AWS_SECRET_ACCESS_KEY", KEYS.1);
        std::env::set_var("AWS_EC2_METADATA_DISABLED", "true");
    }
}
