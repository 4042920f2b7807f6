//! What the processes of a run tell each other first, so that they mean the same work.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::cluster::{Patience, TRY};

/// What every greeting begins with; changes with what the processes say to each other.
const MAGIC: [u8; 8] = *b"gustfr02";

/// What processes tell each other first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) process: u64,
    pub(super) processes: u64,
    pub(super) workers: u64,
    /// The same number wherever the same work is meant.
    pub(super) work: u64,
    /// What the process marks its output with.
    pub(super) nonce: u64,
}

impl Greeting {
    const BYTES: usize = 48;

    fn bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let words = [u64::from_le_bytes(MAGIC), self.process, self.processes, self.workers, self.work, self.nonce];
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
        let greeting = Greeting { process: next(), processes: next(), workers: next(), work: next(), nonce: next() };
        (magic == u64::from_le_bytes(MAGIC)).then_some(greeting)
    }

    /// What another process has otherwise.
    pub(super) fn difference(self, other: Greeting) -> Option<String> {
        let said = |what: &str, mine: u64, other: u64| Some(format!("has {other} {what}, this one {mine}"));
        match other {
            _ if other.processes != self.processes => said("processes", self.processes, other.processes),
            _ if other.workers != self.workers => said("workers", self.workers, other.workers),
            _ if other.work != self.work => Some("has other events, or another pipeline".into()),
            _ => None,
        }
    }
}

/// Says who this is and hears who the other is; `waiting` is called again and again meanwhile.
pub(super) fn greet(
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
