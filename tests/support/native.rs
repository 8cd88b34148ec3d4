//! A developer's tools as a client of the provider.

use claviger::provider::Client;

/// Comes back to whatever port it gets (RFC 8252 §7.3).
pub fn client() -> Client {
    Client {
        redirect_uris: vec!["http://127.0.0.1/callback".parse().unwrap()],
        id_token_on_refresh: true,
        ..Client::new("claviger-cli")
    }
}
