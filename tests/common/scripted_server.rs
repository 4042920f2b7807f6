//! An HTTP server that answers as it is told, one connection a reply: for failures that a real server will not show.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What happens to one request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A whole answer: status line, further header lines, body.
    Whole(&'static str, &'static str, &'static str),
    /// An answer that announces more bytes than come before the connection ends.
    Cut(&'static str, usize),
    /// The connection ends without an answer.
    HangUp,
    /// Nothing, for longer than the client is patient.
    Silence(Duration),
}

/// The answer of a server that throttles.
pub const SLOW_DOWN: Reply = Reply::Whole(
    "503 Slow Down",
    "content-type: application/xml\r\n",
    "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
);

/// A server on a loopback port that gives each of its replies once and the last one for ever.
pub struct ScriptedServer {
    /// `http://127.0.0.1:port`
    pub endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl ScriptedServer {
    /// Starts answering.
    pub fn start(replies: &[Reply]) -> ScriptedServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, replies) = (requests.clone(), replies.to_vec());
        thread::spawn(move || {
            for socket in listener.incoming() {
                let socket = socket.unwrap();
                let head = head(&socket);
                if head.is_empty() {
                    continue;
                }
                let mut seen = seen.lock().unwrap();
                let reply = replies.get(seen.len()).or(replies.last()).unwrap().clone();
                seen.push(head);
                thread::spawn(move || answer(socket, &reply));
            }
        });
        ScriptedServer { endpoint, requests }
    }

    /// The request lines and headers that have come so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn head(socket: &TcpStream) -> String {
    let lines = BufReader::new(socket).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

fn answer(mut socket: TcpStream, reply: &Reply) {
    let text = match reply {
        Reply::Whole(status, headers, body) => {
            format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        }
        Reply::Cut(body, announced) => {
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {announced}\r\n\r\n{body}")
        }
        Reply::HangUp => return,
        Reply::Silence(time) => return thread::sleep(*time),
    };
    // The client may have hung up, and may be right to.
    let _ = socket.write_all(text.as_bytes());
}
