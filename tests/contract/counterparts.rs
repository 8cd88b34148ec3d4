//! The counterparts by themselves: without claviger, are they as strict as the rest of the contract takes them to be?

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::agent::Agent;
use crate::keycloak::{ALICE, BOB, Keycloak, OTHER_REALM, REALM};
use crate::minio::{ALICES_BUCKETS, BOBS_BUCKETS, Minio, elements};
use crate::report::Report;

/// Requests that nobody signed; then tokens got by hand, exchanged by hand: MinIO's STS tells people apart, and refuses what Keycloak did not sign for it.
pub(crate) async fn check(keycloak: &Keycloak, minio: &Minio, proxy: &str, report: &mut Report) {
    let unsigned = Request::get(&minio.url).body(Full::<Bytes>::default()).expect("a request");
    let answer = Agent::new().send(unsigned).await.expect("MinIO answers");
    report.equal("MinIO refuses an unsigned request", 403, answer.status.as_u16());
    // Nobody listens there yet: the code is read off the redirect.
    let callback = format!("{proxy}/.claviger/callback");
    for (person, buckets) in [(ALICE, ALICES_BUCKETS), (BOB, BOBS_BUCKETS)] {
        let token = keycloak.id_token(REALM, person, &callback).await;
        let keys = minio.assume_role(&token).await.expect("MinIO's STS takes Keycloak's token");
        let seen = minio.buckets(&keys).await.join(", ");
        report.equal(&format!("by hand, {} sees the buckets", person.name), buckets.join(", "), seen);
    }
    let foreign = keycloak.id_token(OTHER_REALM, ALICE, &callback).await;
    let mut forged = keycloak.id_token(REALM, ALICE, &callback).await;
    let signature = forged.rfind('.').expect("a JWT has three parts") + 1;
    forged.replace_range(signature..signature + 4, "AAAA");
    for (what, token) in [("another realm's token", foreign), ("a forged token", forged)] {
        let refusal = minio.assume_role(&token).await.err().map(|answer| answer.text()).unwrap_or_default();
        let code = elements(&refusal, "Code").next().unwrap_or("none: it took it").to_owned();
        report.equal(&format!("MinIO's STS refuses {what}"), "InvalidParameterValue".to_owned(), code);
    }
}
