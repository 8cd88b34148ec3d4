//! The ground of SAML against documents of attackers: what is refused, for which reason, and what is still let in.

use claviger::saml::{Answer, Assertion, Expected, Guarded, Kind, Reason, Refused, SKEW, Trust, Verified, verify};

use crate::support::saml_attacks::{ALICE, OURSELVES, PROVIDER, Stage, Verdict, attacks};

fn trust() -> Trust {
    Trust { certificates: vec![PROVIDER.certificate.clone()], decryption: vec![OURSELVES.decryption()], cbc: false }
}

fn believed(document: &[u8], trust: &Trust) -> Result<Verified, Refused> {
    verify(Guarded::new(document, Kind::Response)?, trust)
}

fn accepted(document: &[u8], stage: &Stage, trust: &Trust) -> Result<Assertion, Refused> {
    believed(document, trust)?.accept(&Expected {
        issuer: &stage.issuer,
        destination: Some(&stage.acs_url),
        recipients: &[&stage.acs_url],
        audiences: &[&stage.audience],
        answer: Answer::To(&stage.request),
        authn_contexts: &[],
        now: stage.now,
        skew: SKEW,
    })
}

/// A15, A16, A17 and threats 1.4: every document of the table.
#[test]
fn every_attack_is_refused_and_every_control_is_alice() {
    let (stage, trust) = (Stage::alone(), trust());
    let attacks = attacks();
    let mut wrong = Vec::new();
    for attack in &attacks {
        let outcome = accepted(&attack.document(&stage), &stage, &trust);
        match (&outcome, attack.verdict) {
            (Ok(assertion), Verdict::Alice) if assertion.name_id.value == ALICE => {}
            (Err(refused), Verdict::Refused(because)) if format!("{:?}", refused.reason()).starts_with(because) => {}
            _ => {
                wrong.push(format!("{}: {:?}, expected {:?}", attack.name, outcome.map(|a| a.name_id), attack.verdict))
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), attacks.len(), wrong.join("\n"));
    let hostile = attacks.iter().filter(|attack| attack.verdict != Verdict::Alice).count();
    assert!(hostile >= 120, "there are {hostile}");
}

#[test]
fn without_a_pinned_certificate_nothing_is_believed() {
    let stage = Stage::alone();
    for attack in attacks().iter().filter(|attack| attack.verdict == Verdict::Alice) {
        let refused = accepted(&attack.document(&stage), &stage, &Trust { certificates: Vec::new(), ..trust() });
        assert_eq!(refused.unwrap_err().reason(), &Reason::NoCertificate, "{}", attack.name);
    }
}
