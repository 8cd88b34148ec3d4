//! An upstream that keeps every byte it is sent, and reads them as the strictest server would.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::gate::Gate;

/// Everything that reached it.
#[derive(Clone)]
pub struct Recorder {
    pub at: SocketAddr,
    records: Arc<Mutex<Records>>,
    /// Where requests wait whose target has the word `held`.
    pub gate: Gate,
}

#[derive(Default)]
struct Records {
    requests: Vec<Arrived>,
    faults: Vec<String>,
    raw: Vec<u8>,
}

/// A request that arrived whole.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub method: String,
    pub target: String,
    /// The header lines as they came.
    pub lines: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Arrived {
    /// All values of a header, for a server that takes `-`, `_` and `.` for the same (CVE-2024-45614).
    pub fn all(&self, name: &str) -> Vec<&str> {
        let folded = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
        let same = self.lines.iter().filter(|(found, _)| folded(found) == folded(name));
        same.map(|(_, value)| value.as_str()).collect()
    }
}

impl Recorder {
    /// On a free port of loopback.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let records: Arc<Mutex<Records>> = Arc::default();
        let kept = Arc::clone(&records);
        let gate = Gate::closed();
        let before = gate.clone();
        // a thread of its own: how fast it answers must not depend on what the attackers do
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let listener = listener.into_std().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    let (records, gate) = (Arc::clone(&kept), before.clone());
                    tokio::spawn(Line { stream, unread: Vec::new(), records, gate }.serve());
                }
            });
        });
        Self { at, records, gate }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// The requests that arrived whole so far.
    pub fn requests(&self) -> Vec<Arrived> {
        self.records.lock().unwrap().requests.clone()
    }

    pub fn count(&self) -> usize {
        self.records.lock().unwrap().requests.len()
    }

    /// What a strict server would not have taken, so far.
    pub fn faults(&self) -> Vec<String> {
        self.records.lock().unwrap().faults.clone()
    }

    /// Every byte that arrived, on whichever connection.
    pub fn raw(&self) -> Vec<u8> {
        self.records.lock().unwrap().raw.clone()
    }

    /// Forgets what arrived so far.
    pub fn clear(&self) {
        *self.records.lock().unwrap() = Records::default();
    }
}

/// One connection.
struct Line {
    stream: TcpStream,
    unread: Vec<u8>,
    records: Arc<Mutex<Records>>,
    gate: Gate,
}

/// Why a connection is not read any further.
enum End {
    Closed,
    Fault(String),
}

impl Line {
    async fn serve(mut self) {
        loop {
            match self.request().await {
                Ok(request) => {
                    let (head, more) = answer(&request);
                    let held = request.target.contains("held");
                    self.records.lock().unwrap().requests.push(request);
                    if held {
                        self.gate.pass().await;
                    }
                    if self.write(&head, more).await.is_err() {
                        return;
                    }
                }
                Err(End::Closed) => return,
                Err(End::Fault(fault)) => {
                    self.records.lock().unwrap().faults.push(fault);
                    return;
                }
            }
        }
    }

    async fn write(&mut self, head: &[u8], mut more: usize) -> std::io::Result<()> {
        self.stream.write_all(head).await?;
        while more > 0 {
            let piece = more.min(PIECE.len());
            self.stream.write_all(&PIECE[..piece]).await?;
            more -= piece;
        }
        Ok(())
    }

    async fn request(&mut self) -> Result<Arrived, End> {
        let line = self.line().await?;
        let [method, target, "HTTP/1.1"] = line.split(' ').collect::<Vec<_>>()[..] else {
            return fault("request line", &line);
        };
        if !method.bytes().all(|byte| byte.is_ascii_uppercase()) || !(target.starts_with('/') || target == "*") {
            return fault("request line", &line);
        }
        let (method, target) = (method.to_owned(), target.to_owned());
        let lines = self.fields().await?;
        let values = |name: &str| {
            lines
                .iter()
                .filter(|(found, _)| found.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.clone())
                .collect::<Vec<_>>()
        };
        if values("host").len() != 1 {
            return fault("hosts", &format!("{lines:?}"));
        }
        let (body, trailers) = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
            ([], []) => (Vec::new(), Vec::new()),
            ([length], []) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
                let length = length.parse().map_err(|_| End::Fault(format!("length {length}")))?;
                (self.bytes(length).await?, Vec::new())
            }
            ([], [coding]) if coding == "chunked" => self.chunks().await?,
            (lengths, codings) => return fault("framing", &format!("{lengths:?} {codings:?}")),
        };
        Ok(Arrived { method, target, lines, body, trailers })
    }

    async fn chunks(&mut self) -> Result<(Vec<u8>, Vec<(String, String)>), End> {
        let mut body = Vec::new();
        loop {
            let size = self.line().await?;
            if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return fault("chunk size", &size);
            }
            let size = usize::from_str_radix(&size, 16).map_err(|_| End::Fault(format!("chunk size {size}")))?;
            if size == 0 {
                return Ok((body, self.fields().await?));
            }
            body.extend(self.bytes(size).await?);
            let end = self.line().await?;
            if !end.is_empty() {
                return fault("chunk end", &end);
            }
        }
    }

    /// Header lines up to the empty one.
    async fn fields(&mut self) -> Result<Vec<(String, String)>, End> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(fields);
            }
            let Some((name, value)) = line.split_once(':') else { return fault("header line", &line) };
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(token) {
                return fault("header name", &line);
            }
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    /// A line that ends with CRLF and has neither elsewhere, nor NUL.
    async fn line(&mut self) -> Result<String, End> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).into_owned();
                return match line.strip_suffix("\r\n") {
                    Some(line) if !line.contains(['\r', '\0']) => Ok(line.to_owned()),
                    _ => fault("line end", &line),
                };
            }
            self.more().await?;
        }
    }

    async fn bytes(&mut self, count: usize) -> Result<Vec<u8>, End> {
        while self.unread.len() < count {
            self.more().await?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    async fn more(&mut self) -> Result<(), End> {
        let before = self.unread.len();
        match self.stream.read_buf(&mut self.unread).await {
            Ok(1..) => {
                let mut records = self.records.lock().unwrap();
                if records.raw.len() < MOST_RAW {
                    records.raw.extend_from_slice(&self.unread[before..]);
                }
                Ok(())
            }
            _ => Err(End::Closed),
        }
    }
}

/// What the target asks for: `/…?bytes=N`, `/…?raw=<an answer>`, or two bytes. So many bytes are to follow.
fn answer(request: &Arrived) -> (Vec<u8>, usize) {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let asked = |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, v)| v);
    if let Some(raw) = asked("raw") {
        return (raw.into_owned().into_bytes(), 0);
    }
    match asked("bytes").and_then(|length| length.parse().ok()) {
        Some(length) => (format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes(), length),
        None if request.method == "HEAD" => (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n".to_vec(), 0),
        None => (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(), 0),
    }
}

fn fault<T>(what: &str, text: &str) -> Result<T, End> {
    Err(End::Fault(format!("{what}: {text:?}")))
}

/// Enough for every case, and bounded in a flood.
const MOST_RAW: usize = 16 << 20;
static PIECE: [u8; 16 << 10] = [b'x'; 16 << 10];
