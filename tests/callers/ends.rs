//! What a token opened ends with the token: streams both ways and upgraded connections, as a login's do.

use serde_json::json;

use super::issuer::{Issuer, now};
use crate::reload::{edit, reload};
use crate::support::wire::{Behind, Wire};
use crate::support::world::World;

#[tokio::test]
async fn what_is_open_is_cut_when_the_token_ends() {
    let issuer = Issuer::start();
    let upstream = held().await;
    let route = format!("[route.app]\nhost = \"*\"\nupstream = \"{}\"\nallow = \"signed-in\"", upstream.url());
    let world = issuer.plan("leeway = \"0s\"", &route).start().await;
    let lasting = issuer.token_of("lasting");
    let mut others = opened(&world, &lasting, SWITCH).await;

    let mut claims = issuer.claims();
    claims["exp"] = json!(now() + 3);
    let ending = issuer.token(&claims);
    let tunnel = opened(&world, &ending, SWITCH).await;
    let stream = opened(&world, &ending, STREAM).await;
    let mut upload = Wire::to(world.at).await;
    upload.send(asked(&world, &ending, UPLOAD)).await;

    assert_eq!(tunnel.rest().await, "");
    assert!(now() >= claims["exp"].as_u64().unwrap(), "not before its time");
    assert!(!stream.rest().await.contains("\r\n0\r\n"), "it must not look like the whole answer");
    let answer = upload.rest().await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    others.send("still here").await;
    assert_eq!(others.bytes(10).await, b"still here");
}

/// A reload that takes the issuer away ends what its tokens opened, at once; one that only says more of it does not.
#[tokio::test]
async fn what_is_open_is_cut_when_its_source_is_gone_or_another_speaks_by_its_name() {
    for another_issuer in [false, true] {
        let issuer = Issuer::start();
        let upstream = held().await;
        let route = format!("[route.app]\nhost = \"*\"\nupstream = \"{}\"\nallow = \"signed-in\"", upstream.url());
        let world = issuer.plan("leeway = \"0s\"", &route).start().await;
        let token = issuer.token_of("batch");
        let mut tunnel = opened(&world, &token, SWITCH).await;
        let stream = opened(&world, &token, STREAM).await;
        for (from, to) in [("leeway = \"0s\"", "leeway = \"1s\""), ("leeway = \"1s\"", "leeway = \"2s\"")] {
            edit(&world, from, to);
            reload(&world).await;
            tunnel.send("still here").await;
            assert_eq!(tunnel.bytes(10).await, b"still here", "a mere edit");
        }
        let (from, to) = match another_issuer {
            false => ("[identity.services]", "[identity.others]"),
            true => ("leeway = \"2s\"", "leeway = \"2s\"\nsubject_claim = \"client_id\""),
        };
        edit(&world, from, to);
        assert_eq!(reload(&world).await["message"], "the config was reloaded");
        assert_eq!(tunnel.rest().await, "");
        assert!(!stream.rest().await.contains("\r\n0\r\n"), "it must not look like the whole answer");
    }
}

/// Switches protocols and echoes, begins an answer that never ends, or waits for a whole upload.
pub async fn held() -> Behind {
    Behind::new(async |mut wire: Wire| {
        let head = wire.head().await.to_lowercase();
        if head.contains("\r\nupgrade:") {
            wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello").await;
            loop {
                match wire.some().await {
                    bytes if bytes.is_empty() => return,
                    bytes => wire.send(bytes).await,
                }
            }
        } else if head.starts_with("get ") {
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
            wire.some().await;
        } else if !wire.up_to(b"\r\n0\r\n\r\n").await.is_empty() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await; // for an upload that looks whole
        }
    })
    .await
}

/// A request that has been let in, up to its first bytes.
async fn opened(world: &World, token: &str, request: &str) -> Wire {
    let mut wire = Wire::to(world.at).await;
    wire.send(asked(world, token, request)).await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 101") || head.starts_with("HTTP/1.1 200"), "{head}");
    wire.up_to(b"hello").await;
    wire
}

fn asked(world: &World, token: &str, request: &str) -> String {
    let (line, rest) = request.split_once("\r\n").unwrap();
    format!("{line}\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n{rest}", world.at)
}

pub const SWITCH: &str = "GET /tunnel HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
pub const STREAM: &str = "GET /stream HTTP/1.1\r\n\r\n";
const UPLOAD: &str = "POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
