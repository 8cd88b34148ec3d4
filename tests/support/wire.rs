//! A connection byte by byte: for what hyper would not send, and for upstreams that misbehave.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use super::watched::{PATIENCE, until};

/// One end of a connection.
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    heads: Arc<watch::Sender<Vec<String>>>,
}

impl Wire {
    /// A connection to there.
    pub async fn to(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).await.unwrap(), Arc::default())
    }

    /// A connection to there, from an address of this machine.
    pub async fn from(here: &str, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(here.parse().unwrap(), 0)).unwrap();
        Self::of(socket.connect(address).await.unwrap(), Arc::default())
    }

    /// Asks for a path and reads the whole answer, which must have a length: its head.
    pub async fn ask(&mut self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        self.answer().await
    }

    /// The next answer's head; its body is read too.
    pub async fn answer(&mut self) -> String {
        let head = self.head().await;
        let length =
            head.to_lowercase().split("content-length: ").nth(1).map(|rest| rest.split('\r').next().unwrap().parse());
        self.bytes(length.map_or(0, Result::unwrap)).await;
        head
    }

    fn of(stream: TcpStream, heads: Arc<watch::Sender<Vec<String>>>) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new(), heads }
    }

    /// Sends these bytes, if the other side still listens.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Sends these bytes again and again, until the other side does not listen any more.
    pub async fn flood(&mut self, bytes: &str) {
        while self.is_heard(bytes).await {}
    }

    /// Sends these bytes; whether the other side still listens.
    pub async fn is_heard(&mut self, bytes: &str) -> bool {
        self.stream.write_all(bytes.as_bytes()).await.is_ok()
    }

    /// A message's head with its empty line; empty where the other side has closed.
    pub async fn head(&mut self) -> String {
        let head = self.up_to(b"\r\n\r\n").await;
        if !head.is_empty() {
            self.heads.send_modify(|heads| heads.push(head.clone()));
        }
        head
    }

    /// Everything up to the end of `end`; empty where the other side closes before.
    pub async fn up_to(&mut self, end: &[u8]) -> String {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return String::from_utf8(self.unread.drain(..at + end.len()).collect()).unwrap();
            }
            if self.more().await == 0 {
                return String::new();
            }
        }
    }

    /// So many bytes.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.more().await > 0, "it closed after {:?}", String::from_utf8_lossy(&self.unread));
        }
        self.unread.drain(..count).collect()
    }

    /// Whatever has come, waiting for at least a byte; nothing at the end.
    pub async fn some(&mut self) -> Vec<u8> {
        if self.unread.is_empty() {
            self.more().await;
        }
        std::mem::take(&mut self.unread)
    }

    /// Everything until the other side closes or resets.
    pub async fn rest(mut self) -> String {
        while self.more().await > 0 {}
        String::from_utf8_lossy(&self.unread).into_owned()
    }

    /// How many bytes came; none at the end, of whatever kind.
    async fn more(&mut self) -> usize {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await;
        let so_far = || String::from_utf8_lossy(&self.unread).into_owned();
        read.unwrap_or_else(|_| panic!("nothing comes any more, and it does not close; so far: {}", so_far()))
            .unwrap_or_default()
    }
}

/// An upstream that does with each connection as it is told.
pub struct Behind {
    pub at: SocketAddr,
    heads: Arc<watch::Sender<Vec<String>>>,
}

impl Behind {
    /// `script` has each connection to itself; it is closed at the script's end.
    pub async fn new<F>(script: impl Fn(Wire) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let heads = Arc::default();
        let kept = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(script(Wire::of(stream, Arc::clone(&kept))));
            }
        });
        Self { at, heads }
    }

    /// One that answers every request, which must have no body, with these bytes.
    pub async fn answering(answer: &str) -> Self {
        let answer: Arc<str> = answer.into();
        Self::new(move |mut wire| {
            let answer = Arc::clone(&answer);
            async move {
                while !wire.head().await.is_empty() {
                    wire.send(&*answer).await;
                }
            }
        })
        .await
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// The heads of all requests it has read.
    pub fn heads(&self) -> Vec<String> {
        self.heads.borrow().clone()
    }

    /// Waits until the heads it has read are as they should be.
    pub async fn until(&self, is_as_it_should_be: impl Fn(&[String]) -> bool) {
        until(&self.heads, |heads| is_as_it_should_be(heads)).await;
    }
}
