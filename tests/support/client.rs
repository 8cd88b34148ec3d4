//! A plain HTTP/1.1 client that sends exactly what it is told.

use std::net::SocketAddr;

use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::wire::Wire;

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("no JSON ({e}): {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn location(&self) -> &str {
        self.header("location")
    }
}

/// Sends one request on a connection of its own; `Host` is the address unless `headers` has one.
pub async fn send(
    to: SocketAddr,
    method: Method,
    target: &str,
    headers: &HeaderMap,
    body: impl Into<Vec<u8>>,
) -> Answer {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(target);
    if !headers.contains_key("host") {
        request = request.header("host", to.to_string());
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::<bytes::Bytes>::from(body.into())).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map(|b| b.to_bytes().to_vec()).unwrap_or_default();
    drop(sender);
    connection.abort();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// Writes these bytes and reads until the other side closes: for what no well-behaved client would send.
pub async fn raw(to: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut wire = Wire::to(to).await;
    wire.send(bytes).await;
    wire.rest().await
}

/// Headers from pairs.
pub fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    map
}
