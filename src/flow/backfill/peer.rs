//! A connection between two processes of a run, and what happens when one of them is gone.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use timely::communication::allocator::zero_copy::stream::Stream;

use crate::flow::running::Running;

/// After so much silence a peer's host is asked whether it is still there, so often, so many times.
const SILENCE: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_secs(5);
const ASK_TIMES: u32 = 4;
/// Bytes of timely's last message, which says that nothing more comes: a header of six zeros.
const LAST_MESSAGE: usize = 48;

/// Makes the system notice when the other host is gone without a word.
fn watch(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let asking = TcpKeepalive::new().with_time(SILENCE).with_interval(ASK_EVERY).with_retries(ASK_TIMES);
    socket.set_tcp_keepalive(&asking)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(SILENCE + ASK_EVERY * ASK_TIMES))?;
    Ok(())
}

/// A connection to another process. Where that process is gone before it was through, this one ends too: timely has no
/// way on without it, and a rerun of all goes on from what was committed.
pub(super) struct Peer {
    stream: TcpStream,
    name: String,
    nonce: u64,
    tail: Tail,
    /// This process's mark, which it takes away before it ends.
    running: Arc<Running>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The last bytes received.
#[derive(Clone, Copy, Debug, Default)]
struct Tail {
    zeros: usize,
}

impl Tail {
    fn see(&mut self, bytes: &[u8]) {
        let zeros = bytes.iter().rev().take(LAST_MESSAGE).take_while(|byte| **byte == 0).count();
        self.zeros = if zeros == bytes.len() { (self.zeros + zeros).min(LAST_MESSAGE) } else { zeros };
    }

    /// Whether the other side said that nothing more comes.
    fn is_last(self) -> bool {
        self.zeros >= LAST_MESSAGE
    }
}

impl Peer {
    /// A connection that notices when the other host is gone.
    ///
    /// # Errors
    /// Where the system cannot be told to look.
    pub(super) fn new(name: String, nonce: u64, stream: TcpStream, running: Arc<Running>) -> io::Result<Peer> {
        watch(&stream)?;
        Ok(Peer { stream, name, nonce, tail: Tail::default(), running })
    }

    /// Which process it is, and where.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What that process marks its output with.
    pub(super) fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Ends this process.
    fn gone(&self, reason: &str) -> ! {
        tracing::error!(
            "{} is gone ({reason}): no process can go on without it; what was committed stays, and a rerun of all \
             processes goes on from there",
            self.name
        );
        self.running.leave();
        std::process::exit(2)
    }
}

impl Read for Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) if !self.tail.is_last() => self.gone("it closed the connection"),
                Ok(read) => {
                    self.tail.see(buffer.get(..read).unwrap_or_default());
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => self.gone(&error.to_string()),
            }
        }
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => self.gone(&error.to_string()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Stream for Peer {
    fn try_clone(&self) -> io::Result<Self> {
        let (name, running) = (self.name.clone(), self.running.clone());
        Ok(Peer { stream: self.stream.try_clone()?, name, nonce: self.nonce, tail: self.tail, running })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.stream.set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self.stream.shutdown(how) {
            // The other side may have closed first.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            done => done,
        }
    }
}

impl Drop for Peer {
    /// Timely's threads panic where a message is cut off; without them the workers would wait for ever.
    fn drop(&mut self) {
        if thread::panicking() {
            self.gone("it broke off within a message");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_host_that_falls_silent_is_given_half_a_minute() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        watch(&stream).expect("watched");
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().expect("a setting") && stream.nodelay().expect("a setting"));
        let asked =
            socket.tcp_keepalive_interval().expect("a setting") * socket.tcp_keepalive_retries().expect("a setting");
        let half_a_minute = Duration::from_secs(30);
        assert_eq!(socket.tcp_keepalive_time().expect("a setting") + asked, half_a_minute);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().expect("a setting"), Some(half_a_minute), "of what is not acknowledged");
    }
}
