//! Connects the processes of a run: who they are, that they mean the same work, and what happens when one is gone.

use std::cell::Cell;
use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::greeting::{Greeting, greet};
use super::peer::Peer;
use crate::flow::running::{Running, key_of};
use crate::storage::StorageError;

/// How long processes wait for one another at the start.
const PATIENCE: Duration = Duration::from_secs(120);
/// How soon to try again.
const PAUSE: Duration = Duration::from_millis(50);
/// How long one try to reach a process, or to hear from it, keeps this one from looking whether it is to stop.
pub(super) const TRY: Duration = Duration::from_millis(300);
/// After so long it is told for whom this process waits.
const QUIET: Duration = Duration::from_millis(1500);
/// How long a caller has to say who it is.
const GREETING: Duration = Duration::from_secs(5);
/// How long a file system that hosts share may take to show one what another wrote.
const SHOWN: Duration = Duration::from_secs(2);

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
    /// A process does not write where this one does.
    #[error(
        "process {process} at {host} writes to another place than this one: its mark `{key}` is not in {output}; \
         start all with the same --output, a bucket or a folder that every host shares"
    )]
    Elsewhere {
        /// The process.
        process: usize,
        /// Its address.
        host: String,
        /// The object that it left in its output.
        key: String,
        /// The output of this process.
        output: String,
    },
    /// The output cannot be read.
    #[error(transparent)]
    Output(#[from] StorageError),
    /// A connection that was there could not be used.
    #[error("the connection to process {process} cannot be used: {source}")]
    Broken {
        /// The process.
        process: usize,
        /// The system's reason.
        source: io::Error,
    },
}

/// How long this process waits, and what ends it sooner.
pub(super) struct Patience<'a> {
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

    pub(super) fn is_over(&self) -> bool {
        self.is_stopped() || Instant::now() >= self.until
    }
}

impl Cluster {
    /// What this run is called by all of its processes.
    pub(super) fn name(&self) -> String {
        self.hosts.join(" ")
    }

    /// A connection to every other process, by number; `work` is the same number wherever the same work is meant.
    ///
    /// # Errors
    /// Where a process does not come in time, means something else or writes elsewhere, or `stop` is set meanwhile.
    pub(super) fn connect(
        &self,
        workers: usize,
        work: u64,
        running: &Arc<Running>,
        stop: &AtomicBool,
    ) -> Result<Vec<Option<Peer>>, ClusterError> {
        let (count, nonce) = (self.hosts.len(), running.nonce());
        let (process, processes) = (self.process as u64, count as u64);
        let own = Greeting { process, processes, workers: workers as u64, work, nonce };
        let patience = Patience::new(stop);
        let listener = self.listen()?;
        let mut peers: Vec<Option<Peer>> = (0..count).map(|_| None).collect();
        for (process, peer) in peers.iter_mut().enumerate().take(self.process) {
            let (other, stream) = self.call(process, own, &patience)?;
            *peer = Some(self.peer(process, other, stream, running)?);
        }
        while let Some(process) = (self.process + 1..count).find(|p| peers.get(*p).is_some_and(Option::is_none)) {
            let (other, stream) = self.answer(&listener, own, &patience, process)?;
            let from = usize::try_from(other.process).unwrap_or(usize::MAX);
            let fresh = peers.get_mut(from).filter(|peer| from > self.process && peer.is_none());
            match fresh {
                Some(peer) => *peer = Some(self.peer(from, other, stream, running)?),
                None => return Err(self.differs(from, "is there twice".into())),
            }
        }
        self.find_marks(&peers, running)?;
        Ok(peers)
    }

    /// Makes sure that every other process writes where this one does.
    fn find_marks(&self, peers: &[Option<Peer>], running: &Running) -> Result<(), ClusterError> {
        let until = Instant::now() + SHOWN;
        for (process, peer) in peers.iter().enumerate() {
            let Some(peer) = peer else { continue };
            while running.look(peer.nonce())?.is_none() {
                if Instant::now() >= until {
                    let (host, output) = (self.host(process), running.output().to_string());
                    return Err(ClusterError::Elsewhere { process, host, key: key_of(peer.nonce()), output });
                }
                thread::sleep(PAUSE);
            }
        }
        Ok(())
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
    fn call(
        &self,
        process: usize,
        own: Greeting,
        patience: &Patience<'_>,
    ) -> Result<(Greeting, TcpStream), ClusterError> {
        let host = self.host(process);
        loop {
            let greeted = reach(&host).and_then(|stream| {
                let heard = || self.tell(process, "it has not answered", patience);
                greet(stream, own, patience, heard)
            });
            let reason = match greeted {
                Ok((stream, other)) if other.process == process as u64 => {
                    return own.difference(other).map_or(Ok((other, stream)), |what| Err(self.differs(process, what)));
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
    ) -> Result<(Greeting, TcpStream), ClusterError> {
        loop {
            let accepted = listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(false)?;
                greet(stream, own, &patience.at_most(GREETING), || ())
            });
            match accepted {
                Ok((stream, other)) => {
                    let process = usize::try_from(other.process).unwrap_or(usize::MAX);
                    return own.difference(other).map_or(Ok((other, stream)), |what| Err(self.differs(process, what)));
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

    fn peer(
        &self,
        process: usize,
        greeting: Greeting,
        stream: TcpStream,
        running: &Arc<Running>,
    ) -> Result<Peer, ClusterError> {
        let name = format!("process {process} at {}", self.host(process));
        Peer::new(name, greeting.nonce, stream, running.clone())
            .map_err(|source| ClusterError::Broken { process, source })
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
