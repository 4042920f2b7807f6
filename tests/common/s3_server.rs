//! A real S3 protocol server over a folder, inside the test's own process.

use std::fs;
use std::path::{Path, PathBuf};

use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// The key and the secret that [`S3Server::start`] and the client's environment may share.
pub const KEYS: (&str, &str) = ("AKEXAMPLE", "SKEXAMPLE");

/// A server on a loopback port, gone when dropped. A bucket is a folder below its root.
pub struct S3Server {
    /// `http://127.0.0.1:port`
    pub endpoint: String,
    root: PathBuf,
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
        runtime.spawn(serve(listener, builder.build()));
        S3Server { endpoint, root: root.to_path_buf(), runtime: Some(runtime) }
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

async fn serve(listener: TcpListener, service: S3Service) {
    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        // Without it every small answer waits 40 ms for an acknowledgement.
        socket.set_nodelay(true).unwrap();
        let connection = server.serve_connection(TokioIo::new(socket), service.clone()).into_owned();
        tokio::spawn(async move {
            // A client that hangs up is none of the server's business.
            let _ = connection.await;
        });
    }
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
