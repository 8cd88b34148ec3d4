//! Keys are changed with an overlap: what was signed before is believed after.

use std::fs;
use std::time::Duration;

use claviger::clock::{Clock as _, SystemClock};
use claviger::jose::{Expected, Signer, verify};

use super::{KEYS, kid};
use crate::support::world::Plan;

const ROUTES: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
allow = "signed-in"
inject = { kind = "identity_jwt", audience = "app" }
"#;

#[tokio::test]
async fn a_key_that_signed_before_stays_published() {
    let folder = tempfile::tempdir().unwrap();
    let pem = |name: &str| {
        let (signer, pem) = Signer::generate().unwrap();
        let file = folder.path().join(name);
        fs::write(&file, pem.expose()).unwrap();
        (signer.kid().to_owned(), format!("{{ file = {file:?} }}"))
    };
    let ((old, old_file), (new, new_file)) = (pem("old.pem"), pem("new.pem"));
    let plan = |keys: &str| Plan::with_routes(ROUTES).config(&format!("keys = {{ identity = [{keys}] }}"));

    let before = plan(&old_file).start().await;
    let alice = before.ticket("alice").await;
    before.get("/x", &alice).await;
    let token = before.upstream.last().all("x-claviger-identity")[0].to_owned();
    assert_eq!(kid(&token), old);

    let after = plan(&format!("{new_file}, {old_file}")).start().await;
    let alice = after.ticket("alice").await;
    after.get("/x", &alice).await;
    assert_eq!(kid(after.upstream.last().all("x-claviger-identity")[0]), new, "the first signs");
    assert!(after.told("app").await.is_ok());
    let keys = after.key_set(KEYS).await;
    assert_eq!(keys.document()["keys"][0]["kid"], *new, "and comes first");
    let now = SystemClock.now();
    let expected = Expected { issuer: &before.origin, audiences: &["app"], now, leeway: Duration::ZERO };
    assert!(verify(&token, &keys, &expected).is_ok(), "a token of the old key is believed by the new set");
    assert!(verify(&token, &after.key_set("/.claviger/issuer/jwks").await, &expected).is_err());
}
