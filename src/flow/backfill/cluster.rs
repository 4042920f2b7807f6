//! Connects the processes of a run: who they are, that they mean the same work, and what happens when one is gone.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use timely::communication::allocator::zero_copy::stream::Stream;

/// How long processes wait for one another at the start.
const PATIENCE: Duration = Duration::from_secs(120);
/// How soon to try again.
const PAUSE: Duration = Duration::from_millis(50);
/// How long one try to reach a process, or to hear from it, keeps this one from looking whether it is to stop.
const TRY: Duration = Duration::from_millis(300);
/// After so long it is told for whom this process waits.
const QUIET: Duration = Duration::from_millis(1500);
/// How long a caller has to say who it is.
const GREETING: Duration = Duration::from_secs(5);
/// After so much silence a peer's host is asked whether it is still there, so often, so many times.
const SILENCE: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_secs(5);
const ASK_TIMES: u32 = 4;
/// What every greeting begins with; changes with what the processes say to each other.
const MAGIC: [u8; 8] = *b"gustfr01";
/// Bytes of timely's last message, which says that nothing more comes: a header of six zeros.
const LAST_MESSAGE: usize = 48;

/// The processes of a run, and which of them this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// This process, from 0.
    pub process: usize,
    /// `host:port` of every process, in the same order everywhere.
    pub hosts: Vec<String>,
}

/// Processes that could not come together.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// This process cannot listen at its own address.
    #[error(
        "process {process} cannot listen at {host}: {source}; expected this host's name or address and a free port"
    )]
    Listen {
        /// This process.
        process: usize,
        /// Its address in the hosts file.
        host: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A process did not come in time.
    #[error(
        "process {process} at {host} has not come in {seconds} s: {reason}; \
         start every process with the same --hosts, each with its own --process"
    )]
    Absent {
        /// The process.
        process: usize,
        /// Its address.
        host: String,
        /// How long it was waited for.
        seconds: u64,
        /// What was last seen of it.
        reason: String,
    },
    /// This process was told to stop before all had come.
    #[error("stopped while waiting for process {process} at {host}")]
    Stopped {
        /// The process that had not come.
        process: usize,
        /// Its address.
        host: String,
    },
    /// A process is about something else.
    #[error(
        "process {process} at {host} {what}; start all with the same program, pipeline, --workers and --hosts, over the same catalogue"
    )]
    Differs {
        /// The process.
        process: usize,
        /// Its address.
        host: String,
        /// What differs.
        what: String,
    },
    /// A connection that was there could not be used.
    #[error("the connection to process {process} cannot be used: {source}")]
    Broken {
        /// The process.
        process: usize,
        /// The system's reason.
        source: io::Error,
    },
}

/// What processes tell each other first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Greeting {
    process: u64,
    processes: u64,
    workers: u64,
    work: u64,
}

impl Greeting {
    const BYTES: usize = 40;

    fn bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let words = [u64::from_le_bytes(MAGIC), self.process, self.processes, self.workers, self.work];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// `None` where it is no greeting of this program.
    fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let mut words = bytes.chunks_exact(8).map(|word| word.iter().rev().fold(0, |all, b| all << 8 | u64::from(*b)));
        let mut next = || words.next().unwrap_or_default();
        let magic = next();
        let greeting = Greeting { process: next(), processes: next(), workers: next(), work: next() };
        (magic == u64::from_le_bytes(MAGIC)).then_some(greeting)
    }

    /// What another process has otherwise.
    fn difference(self, other: Greeting) -> Option<String> {
        let said = |what: &str, mine: u64, other: u64| Some(format!("has {other} {what}, this one {mine}"));
        match other {
            _ if other.processes != self.processes => said("processes", self.processes, other.processes),
            _ if other.workers != self.workers => said("workers", self.workers, other.workers),
            _ if other.work != self.work => Some("has other events, or another pipeline".into()),
            _ => None,
        }
    }
}

/// How long this process waits, and what ends it sooner.
struct Patience<'a> {
    begun: Instant,
    until: Instant,
    stop: &'a AtomicBool,
    /// The process that was told to be waited for.
    told: Cell<Option<usize>>,
}

impl<'a> Patience<'a> {
    fn new(stop: &'a AtomicBool) -> Self {
        let begun = Instant::now();
        Patience { begun, until: begun + PATIENCE, stop, told: Cell::new(None) }
    }

    /// The same, for no longer than a time from now.
    fn at_most(&self, time: Duration) -> Self {
        let until = self.until.min(Instant::now() + time);
        Patience { begun: self.begun, until, stop: self.stop, told: self.told.clone() }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.is_stopped() || Instant::now() >= self.until
    }
}

impl Cluster {
    /// A connection to every other process, by number; `work` is the same number wherever the same work is meant.
    ///
    /// # Errors
    /// Where a process does not come in time, or means something else, or `stop` is set meanwhile.
    pub(super) fn connect(
        &self,
        workers: usize,
        work: u64,
        stop: &AtomicBool,
    ) -> Result<Vec<Option<Peer>>, ClusterError> {
        let count = self.hosts.len();
        let own = Greeting { process: self.process as u64, processes: count as u64, workers: workers as u64, work };
        let patience = Patience::new(stop);
        let listener = self.listen()?;
        let mut peers: Vec<Option<Peer>> = (0..count).map(|_| None).collect();
        for (process, peer) in peers.iter_mut().enumerate().take(self.process) {
            *peer = Some(self.peer(process, self.call(process, own, &patience)?)?);
        }
        while let Some(process) = (self.process + 1..count).find(|p| peers.get(*p).is_some_and(Option::is_none)) {
            let (from, stream) = self.answer(&listener, own, &patience, process)?;
            let fresh = peers.get_mut(from).filter(|peer| from > self.process && peer.is_none());
            match fresh {
                Some(peer) => *peer = Some(self.peer(from, stream)?),
                None => return Err(self.differs(from, "is there twice".into())),
            }
        }
        Ok(peers)
    }

    fn host(&self, process: usize) -> String {
        self.hosts.get(process).cloned().unwrap_or_default()
    }

    fn listen(&self) -> Result<TcpListener, ClusterError> {
        let host = self.host(self.process);
        let made = TcpListener::bind(&host).and_then(|l| l.set_nonblocking(true).map(|()| l));
        made.map_err(|source| ClusterError::Listen { process: self.process, host, source })
    }

    /// Calls a process until it answers.
    fn call(&self, process: usize, own: Greeting, patience: &Patience<'_>) -> Result<TcpStream, ClusterError> {
        let host = self.host(process);
        loop {
            let greeted = reach(&host).and_then(|stream| {
                let heard = || self.tell(process, "it has not answered", patience);
                greet(stream, own, patience, heard)
            });
            let reason = match greeted {
                Ok((stream, other)) if other.process == process as u64 => {
                    return own.difference(other).map_or(Ok(stream), |what| Err(self.differs(process, what)));
                }
                Ok((_, other)) => return Err(self.differs(process, format!("is process {}", other.process))),
                Err(error) => error.to_string(),
            };
            self.wait(process, &reason, patience)?;
        }
    }

    /// Takes the next process that calls; a stranger is sent away.
    fn answer(
        &self,
        listener: &TcpListener,
        own: Greeting,
        patience: &Patience<'_>,
        awaited: usize,
    ) -> Result<(usize, TcpStream), ClusterError> {
        loop {
            let accepted = listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(false)?;
                greet(stream, own, &patience.at_most(GREETING), || ())
            });
            match accepted {
                Ok((stream, other)) => {
                    let process = usize::try_from(other.process).unwrap_or(usize::MAX);
                    return own
                        .difference(other)
                        .map_or(Ok((process, stream)), |what| Err(self.differs(process, what)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(awaited, "it has not called", patience)?
                }
                Err(error) => {
                    tracing::warn!("a caller that is no process of this run was sent away: {error}");
                    self.wait(awaited, "it has not called", patience)?;
                }
            }
        }
    }

    /// Says for whom this process waits, once, where that takes a while.
    fn tell(&self, process: usize, reason: &str, patience: &Patience<'_>) {
        if patience.begun.elapsed() >= QUIET && patience.told.replace(Some(process)) != Some(process) {
            tracing::info!("waiting for process {process} at {}: {reason}", self.host(process));
        }
    }

    fn wait(&self, process: usize, reason: &str, patience: &Patience<'_>) -> Result<(), ClusterError> {
        if patience.is_stopped() {
            return Err(ClusterError::Stopped { process, host: self.host(process) });
        }
        self.tell(process, reason, patience);
        if !patience.is_over() {
            thread::sleep(PAUSE);
            return Ok(());
        }
        let (host, seconds, reason) = (self.host(process), PATIENCE.as_secs(), reason.to_string());
        Err(ClusterError::Absent { process, host, seconds, reason })
    }

    fn differs(&self, process: usize, what: String) -> ClusterError {
        ClusterError::Differs { process, host: self.host(process), what }
    }

    fn peer(&self, process: usize, stream: TcpStream) -> Result<Peer, ClusterError> {
        let made = watch(&stream).map(|()| Peer {
            stream,
            name: format!("process {process} at {}", self.host(process)),
            tail: Tail::default(),
        });
        made.map_err(|source| ClusterError::Broken { process, source })
    }
}

/// Tries once to reach a process.
fn reach(host: &str) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TRY) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Says who this is and hears who the other is; `waiting` is called again and again meanwhile.
fn greet(
    mut stream: TcpStream,
    own: Greeting,
    patience: &Patience<'_>,
    waiting: impl Fn(),
) -> io::Result<(TcpStream, Greeting)> {
    stream.set_read_timeout(Some(TRY))?;
    stream.set_write_timeout(Some(TRY))?;
    stream.write_all(&own.bytes())?;
    let mut bytes = [0; Greeting::BYTES];
    let mut heard = 0;
    while let Some(rest) = bytes.get_mut(heard..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => heard += more,
            Err(error) if patience.is_over() || !is_pause(&error) => return Err(error),
            Err(_) => waiting(),
        }
    }
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    let other = Greeting::from_bytes(bytes);
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "it does not speak as this program does");
    other.map(|other| (stream, other)).ok_or_else(strange)
}

/// Whether nothing came for a while, or a signal did.
fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

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
    tail: Tail,
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
    /// Ends this process.
    fn gone(&self, reason: &str) -> ! {
        tracing::error!(
            "{} is gone ({reason}): no process can go on without it; what was committed stays, and a rerun of all \
             processes goes on from there",
            self.name
        );
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
        Ok(Peer { stream: self.stream.try_clone()?, name: self.name.clone(), tail: self.tail })
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
