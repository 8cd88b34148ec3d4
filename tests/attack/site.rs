//! A claviger to attack: plain and TLS listeners, public and private routes, and a recording upstream behind it.

use std::net::SocketAddr;
use std::path::Path;

use claviger::tls::Trust;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::recorder::Recorder;
use crate::support::world::{Plan, World};

/// The site, until dropped.
pub struct Site {
    pub world: World,
    /// Where the TLS listener is.
    pub secure_at: SocketAddr,
    pub recorder: Recorder,
    trust: Trust,
    folder: tempfile::TempDir,
}

impl Site {
    /// A site as most attacks need it.
    pub async fn start() -> Self {
        Self::with("", |plan| plan).await
    }

    /// One with more routes: `{recorder}` and `{folder}` stand for the upstream and a folder
    /// with a certificate and an empty file of users.
    pub async fn with(more: &str, plan: impl FnOnce(Plan) -> Plan) -> Self {
        let (folder, recorder) = (tempfile::tempdir().unwrap(), Recorder::start().await);
        let trust = certificate(folder.path());
        std::fs::write(folder.path().join("users.toml"), "").unwrap();
        let written = |text: &str| {
            text.replace("{folder}", folder.path().to_str().unwrap()).replace("{recorder}", &recorder.url())
        };
        let usual = Plan::with_routes(&format!("{}\n{}", written(ROUTES), written(more)));
        let usual = usual.public_host("127.0.0.1").also_at("https://apps.test").log("info");
        let world = plan(usual).start().await;
        let secure_at = world.claviger.address("secure").await;
        Self { world, secure_at, recorder, trust, folder }
    }

    /// Where the certificate is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What connects over TLS, and speaks this protocol there.
    pub fn connector(&self, protocol: &[u8]) -> TlsConnector {
        TlsConnector::from(self.trust.client_config(&[protocol]))
    }

    /// A connection over TLS that speaks this protocol.
    pub async fn tls(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.secure_at).await.unwrap();
        stream.set_nodelay(true).unwrap();
        self.connector(protocol).connect(ServerName::try_from("apps.test").unwrap(), stream).await.unwrap()
    }
}

/// Makes a certificate for `apps.test` there; what believes it.
fn certificate(folder: &Path) -> Trust {
    let made = rcgen::generate_simple_self_signed(["apps.test".to_owned()]).unwrap();
    std::fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    Trust::with_file(&folder.join("tls.crt")).unwrap()
}

const ROUTES: &str = r#"
[listen.secure]
address = "127.0.0.1:0"
public_url = "https://apps.test"
tls = { certificate = "{folder}/tls.crt", key = "{folder}/tls.key" }

[route.private]
host = "*"
upstream = "{recorder}"
allow = "signed-in"
inject = { kind = "headers" }

[route.public]
host = "*"
path = "/public"
upstream = "{recorder}"
allow = "anyone"
"#;

/// Further: a store whose requests are signed, behind which is [`World::upstream`].
pub const SIGNED: &str = r#"
[route.store]
host = "*"
path = "/store"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/{claims.department}"
tags = { department = "{claims.department}" }
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
"#;
