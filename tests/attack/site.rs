//! A claviger to attack: plain and TLS listeners, public and private routes, and a recording upstream behind it.

use std::net::SocketAddr;

use tokio_rustls::TlsConnector;

use crate::recorder::Recorder;
use crate::support::routes::{APP, PUBLIC};
use crate::support::world::{Plan, World};

/// The site, until dropped.
pub struct Site {
    pub world: World,
    /// Where the TLS listener is.
    pub secure_at: SocketAddr,
    pub recorder: Recorder,
}

impl Site {
    /// A site as most attacks need it.
    pub async fn start() -> Self {
        Self::with("", |plan| plan).await
    }

    /// One with more routes; beside its config are a certificate and an empty file of users.
    pub async fn with(more: &str, plan: impl FnOnce(Plan) -> Plan) -> Self {
        let recorder = Recorder::start().await;
        let recorded = [APP, PUBLIC].concat().replace("{upstream}", &recorder.url());
        let usual = Plan::with_routes(&[&recorded, more, "\n"].concat()).log("info").file("users.toml", "").secure();
        let world = plan(usual).start().await;
        let secure_at = world.secure_at().await;
        Self { world, secure_at, recorder }
    }

    /// What connects over TLS, and speaks this protocol there.
    pub fn connector(&self, protocol: &[u8]) -> TlsConnector {
        TlsConnector::from(self.world.trust().client_config(&[protocol]))
    }
}

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
