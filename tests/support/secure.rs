//! A listener that speaks TLS as `apps.test`, and clients that believe its certificate and no other.

use std::net::SocketAddr;

use claviger::tls::Trust;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::world::{Plan, World};

impl Plan {
    /// A claviger that has such a listener too, with a certificate and key of its own in `tls.crt` and `tls.key`.
    pub fn secure(mut self) -> Self {
        self.config.push_str(SECURE);
        // where one listener has a public URL, the other needs one for logins
        self.public_host("127.0.0.1").also_at(SECURE_ORIGIN).certificate()
    }

    /// A fresh certificate and its key in these files, for listeners that a test configures itself.
    pub fn certificate(self) -> Self {
        let (certificate, key) = certificate("apps.test");
        self.file("tls.crt", &certificate).file("tls.key", &key)
    }
}

impl World {
    /// Where the listener is.
    pub async fn secure_at(&self) -> SocketAddr {
        self.claviger.address("secure").await
    }

    /// What believes its certificate.
    pub fn trust(&self) -> Trust {
        Trust::with_file(&self.file("tls.crt")).unwrap()
    }

    /// A connection to it that speaks this protocol.
    pub async fn tls(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        let stream = shake(self.secure_at().await, &self.trust(), protocol).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
        stream
    }
}

/// A handshake with `apps.test` there.
pub async fn shake(at: SocketAddr, trust: &Trust, protocol: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("apps.test").unwrap();
    TlsConnector::from(trust.client_config(&[protocol])).connect(name, stream).await
}

/// A fresh certificate for `name`, and its key.
pub fn certificate(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// What browsers call it.
pub const SECURE_ORIGIN: &str = "https://apps.test";

const SECURE: &str = r#"
[listen.secure]
address = "127.0.0.1:0"
public_url = "https://apps.test"
tls = { certificate = "tls.crt", key = "tls.key" }
"#;
