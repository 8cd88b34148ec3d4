//! HTTP/2, frame by frame.

use tokio_rustls::client::TlsStream;

use super::*;

/// A client that writes frames and reads them.
struct Frames(TlsStream<TcpStream>);

impl Frames {
    async fn connect(limits: Limits, settings: &[u8]) -> (Served, Self) {
        let (identity, trust) = testing::pair();
        let served = serve(Some(identity.server_config(&[b"h2"])), limits);
        let stream = TcpStream::connect(served.address).await.unwrap();
        let connector = TlsConnector::from(trust.client_config(&[b"h2"]));
        let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        let mut client = Self(stream);
        client.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        client.send(SETTINGS, 0, 0, settings).await.unwrap();
        (served, client)
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await?;
        self.0.flush().await
    }

    /// A request to `a.test`; its headers as HPACK literals (RFC 7541 §6.2.2).
    async fn request(&mut self, stream: u32, method: u8, path: &str, ends: bool) {
        let mut block = vec![method, 0x87, 0x04, u8::try_from(path.len()).unwrap()];
        block.extend(path.as_bytes());
        block.extend(b"\x01\x06a.test");
        self.send(HEADERS, END_HEADERS | u8::from(ends), stream, &block).await.unwrap();
    }

    /// The next frame's kind, stream and payload; none at the end.
    async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut header = [0; 9];
        self.0.read_exact(&mut header).await.ok()?;
        let [a, b, c, kind, _, s @ ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((kind, u32::from_be_bytes(s), payload))
    }

    /// The error code of the next GOAWAY.
    async fn goaway(&mut self) -> u32 {
        loop {
            let (kind, _, payload) = self.next().await.expect("it closed without a GOAWAY");
            if kind == GOAWAY {
                return u32::from_be_bytes(payload[4..8].try_into().unwrap());
            }
        }
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_HEADERS: u8 = 4;
const GET: u8 = 0x82;
const POST: u8 = 0x83;

#[tokio::test]
async fn a_flood_that_asks_for_nothing_gets_a_goaway() {
    // A13
    for (kind, payload) in [(PING, &[0; 8][..]), (SETTINGS, &[])] {
        let (_served, mut client) = Frames::connect(patient(), &[]).await;
        client.request(1, GET, "/", true).await;
        for _ in 0..1100 {
            if client.send(kind, 0, 0, payload).await.is_err() {
                break;
            }
        }
        assert_ne!(client.goaway().await, 0, "that is an error");
    }
}

#[tokio::test]
async fn an_idle_connection_gets_a_goaway() {
    // A14
    let (_served, mut client) = Frames::connect(Limits { idle: Duration::from_millis(20), ..patient() }, &[]).await;
    client.request(1, GET, "/", true).await;
    assert_eq!(client.goaway().await, 0);
    while client.next().await.is_some() {}
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_its_wait() {
    // A14: the connection and its other streams go on
    let (_served, mut client) = Frames::connect(Limits { body: Duration::from_millis(20), ..patient() }, &[]).await;
    client.request(1, POST, "/", false).await;
    client.send(DATA, 0, 1, b"hi").await.unwrap();
    let mut answered = Vec::new();
    while answered.len() < 2 {
        let (kind, stream, _) = client.next().await.unwrap();
        if kind == HEADERS {
            answered.push(stream);
            client.request(3, GET, "/", true).await;
        }
    }
    assert_eq!(answered, [1, 3]);
}

#[tokio::test]
async fn a_body_that_dribbles_ends_its_wait() {
    // A14: each byte is a frame, and no progress
    let (_served, mut client) = Frames::connect(Limits { body: Duration::from_millis(50), ..patient() }, &[]).await;
    client.request(1, POST, "/", false).await;
    loop {
        let dribble = async {
            client.send(DATA, 0, 1, b"x").await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        dribble.await;
        let next = tokio::time::timeout(Duration::from_millis(1), client.0.get_ref().0.readable()).await;
        if next.is_ok() && matches!(client.next().await, Some((HEADERS, 1, _))) {
            break;
        }
    }
}

#[tokio::test]
async fn so_many_streams_and_requests_are_allowed() {
    let (served, mut client) = Frames::connect(Limits { streams: 7, requests: 2, ..patient() }, &[]).await;
    let settings = loop {
        if let (SETTINGS, _, payload) = client.next().await.unwrap() {
            break payload;
        }
    };
    let streams = settings.chunks(6).find(|setting| setting.starts_with(&[0, 3])).unwrap();
    assert_eq!(streams, [0, 3, 0, 0, 0, 7]);
    for stream in [1, 3] {
        client.request(stream, GET, "/", true).await;
    }
    assert_eq!(client.goaway().await, 0);
    while client.next().await.is_some() {}
    assert_eq!(served.echo.handled.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_closed_window_does_not_hold_us_for_ever() {
    // A14: SETTINGS_INITIAL_WINDOW_SIZE 0, and no WINDOW_UPDATE ever
    let limits = Limits { body: Duration::from_millis(20), ..patient() };
    let (_served, mut client) = Frames::connect(limits, &[0, 4, 0, 0, 0, 0]).await;
    client.request(1, GET, "/large", true).await;
    while client.next().await.is_some() {}
}

#[tokio::test]
async fn crumbs_of_a_cookie_are_one_cookie() {
    // RFC 9113 §8.2.3
    let (_served, mut client) = Frames::connect(patient(), &[]).await;
    let mut block = b"\x82\x87\x04\x08/cookies\x01\x06a.test".to_vec();
    for crumb in ["a=1", "b=2", "c=3"] {
        block.extend(b"\x0f\x11\x03"); // literal without indexing, name 32: cookie
        block.extend(crumb.as_bytes());
    }
    client.send(HEADERS, END_HEADERS | 1, 1, &block).await.unwrap();
    let body = loop {
        if let (DATA, 1, body) = client.next().await.unwrap() {
            break body;
        }
    };
    assert_eq!(body, b"a=1; b=2; c=3");
}

#[tokio::test]
async fn connect_is_not_served_nor_offered() {
    // A4: no tunnel in a stream, and no extended CONNECT (RFC 8441) in our settings
    let (served, mut client) = Frames::connect(patient(), &[]).await;
    let block = b"\x02\x07CONNECT\x01\x0aa.test:443";
    client.send(HEADERS, END_HEADERS, 1, block).await.unwrap();
    loop {
        match client.next().await.unwrap() {
            (SETTINGS, _, payload) => {
                assert!(payload.chunks(6).all(|setting| !setting.starts_with(&[0, 8])));
            }
            (HEADERS, 1, block) => {
                // `:status`, not one of the indexed ones, then 405
                assert!(block.windows(3).any(|w| w == b"405") || !block.starts_with(&[0x88]), "{block:?}");
                break;
            }
            _ => {}
        }
    }
    assert_eq!(served.echo.handled.load(Ordering::Relaxed), 0);
}
