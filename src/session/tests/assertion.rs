//! Logins that came with a SAML response.

use super::*;
use crate::identity::SamlResponse;

/// Nothing renews a SAML response: it is evidence while STS takes it, and the session lives on without.
#[tokio::test]
async fn a_saml_response_is_evidence_until_sts_takes_it_no_more() {
    let house = House::with_corp().await;
    let response = SamlResponse {
        document: Secret::new("the-response"),
        roles: Vec::new(),
        taken_until: house.clock.now() + LIFE,
        session_duration: None,
        session_ends: None,
    };
    let tokens = Tokens { saml: Some(response), ..Tokens::default() };
    let signed_in = SignedIn { tokens, ..house.corp.signed_in("alice", false) };
    let (session, ticket) = house.sessions.start(signed_in, HERE).await.unwrap();
    let evidence = async || session.evidence(Duration::ZERO).await;
    house.sessions.sweep().await;
    assert!(matches!(evidence().await, Ok(Evidence::SamlResponse(r)) if r.document.matches("the-response")));
    house.clock.advance(LIFE);
    assert!(matches!(evidence().await, Err(EvidenceError::Expired)));
    assert!(house.open(&ticket).await.is_some(), "the session goes on, for keys that need no response");
    assert_eq!(house.corp.asked(), 0);
    house.sessions.sweep().await;
    assert!(session.tokens().saml.is_none(), "what is good for nothing is not kept");
}
