//! Truly signed, but not for us, not now, or not in answer to us (A17, SAML-Profiles §4.1.4.3).

use super::Verdict::{Alice, Refused};
use super::{Attack, PROVIDER, Shape, Stage, Verdict, changed, cut, honest, resigned, value, without};

/// What is made of an honest text.
type Change = fn(&str, &Stage) -> String;

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = said();
    attacks.extend(around());
    attacks
}

/// Something else in the assertion, which the provider signed so.
fn said() -> Vec<Attack> {
    let said = |name: &str, verdict: Verdict, change: Change| {
        Attack::new(format!("said: {name}"), verdict, move |s: &Stage| {
            resigned(&change(&honest(s, false, false), s), "saml:Assertion", &PROVIDER, &Shape::usual())
        })
    };
    let (missing, mismatch, time) = (Refused("Missing"), Refused("Mismatch"), Refused("Time"));
    vec![
        said("control: nothing else", Alice, |text, _| text.to_owned()),
        said("no Conditions", missing, |text, _| without(text, "saml:Conditions")),
        said("empty Conditions", missing, |text, _| {
            changed(text, cut(text, "saml:Conditions"), "<saml:Conditions></saml:Conditions>")
        }),
        said("no AudienceRestriction", missing, |text, _| without(text, "saml:AudienceRestriction")),
        said("an empty AudienceRestriction", mismatch, |text, _| without(text, "saml:Audience")),
        said("another audience", mismatch, |text, s| {
            changed(text, &format!("<saml:Audience>{}<", s.audience), "<saml:Audience>https://other.example.org/<")
        }),
        said("an audience that begins as ours", mismatch, |text, s| {
            changed(
                text,
                &format!("<saml:Audience>{}<", s.audience),
                &format!("<saml:Audience>{}.evil.example<", s.audience),
            )
        }),
        said("an audience in other case", mismatch, |text, s| {
            changed(
                text,
                &format!("<saml:Audience>{}<", s.audience),
                &format!("<saml:Audience>{}<", s.audience.to_uppercase()),
            )
        }),
        said("two restrictions, one not ours", mismatch, |text, _| {
            let more = "<saml:AudienceRestriction><saml:Audience>urn:x</saml:Audience></saml:AudienceRestriction></saml:Conditions>";
            changed(text, "</saml:Conditions>", more)
        }),
        said("control: one of two audiences is ours", Alice, |text, _| {
            changed(
                text,
                "</saml:AudienceRestriction>",
                "<saml:Audience>urn:x</saml:Audience></saml:AudienceRestriction>",
            )
        }),
        said("control: to be used once", Alice, |text, _| {
            changed(text, "</saml:Conditions>", "<saml:OneTimeUse></saml:OneTimeUse></saml:Conditions>")
        }),
        said("an unknown condition", Refused("Structure"), |text, _| {
            changed(text, "</saml:Conditions>", "<saml:Condition></saml:Condition></saml:Conditions>")
        }),
        said("conditions of five minutes ago", time, |text, s| {
            let conditions = cut(text, "saml:Conditions");
            let past = changed(conditions, &s.at(300), &s.at(-61));
            text.replacen(conditions, &past, 1)
        }),
        said("control: conditions that ended within the skew", Alice, |text, s| {
            let conditions = cut(text, "saml:Conditions");
            text.replacen(conditions, &changed(conditions, &s.at(300), &s.at(-59)), 1)
        }),
        said("conditions not yet", time, |text, s| {
            changed(text, &format!("NotBefore=\"{}\"", s.at(0)), &format!("NotBefore=\"{}\"", s.at(61)))
        }),
        said("Conditions twice", missing, |text, _| {
            let conditions = cut(text, "saml:Conditions").to_owned();
            changed(text, &conditions, &format!("{conditions}{conditions}"))
        }),
        said("a confirmation of yesterday (CVE-2026-1190)", time, |text, s| {
            confirmed(text, |data| changed(data, &s.at(300), &s.at(-86_400)))
        }),
        said("a confirmation without end", missing, |text, s| {
            confirmed(text, |data| changed(data, &format!(" NotOnOrAfter=\"{}\"", s.at(300)), ""))
        }),
        said("a confirmation not yet", time, |text, s| {
            let later = format!(" NotBefore=\"{}\" NotOnOrAfter", s.at(120));
            confirmed(text, |data| changed(data, " NotOnOrAfter", &later))
        }),
        said("a confirmation whose end is no time", mismatch, |text, s| {
            confirmed(text, |data| changed(data, &s.at(300), "tomorrow"))
        }),
        said("another recipient", mismatch, |text, s| {
            confirmed(text, |data| changed(data, &s.acs_url, "https://other.example.org/acs"))
        }),
        said("AWS's recipient", mismatch, |text, s| {
            confirmed(text, |data| changed(data, &s.acs_url, "https://signin.aws.amazon.com/saml"))
        }),
        said("a recipient with a slash more", mismatch, |text, s| {
            confirmed(text, |data| changed(data, &s.acs_url, &format!("{}/", s.acs_url)))
        }),
        said("no recipient", missing, |text, s| {
            confirmed(text, |data| changed(data, &format!(" Recipient=\"{}\"", s.acs_url), ""))
        }),
        said("in answer to another", mismatch, |text, s| confirmed(text, |data| changed(data, &s.request, "_another"))),
        said("in answer to nobody", missing, |text, s| {
            confirmed(text, |data| changed(data, &format!(" InResponseTo=\"{}\"", s.request), ""))
        }),
        said("a holder of a key", missing, |text, _| changed(text, "cm:bearer", "cm:holder-of-key")),
        said("sender-vouches", missing, |text, _| changed(text, "cm:bearer", "cm:sender-vouches")),
        said("no confirmation", missing, |text, _| without(text, "saml:SubjectConfirmation")),
        said("no data of the confirmation", missing, |text, _| without(text, "saml:SubjectConfirmationData")),
        said("control: one of two confirmations holds", Alice, |text, _| {
            let one = cut(text, "saml:SubjectConfirmation").to_owned();
            changed(text, &one, &format!("{}{one}", one.replace("Recipient=\"https://", "Recipient=\"http://")))
        }),
        said("no Subject", missing, |text, _| without(text, "saml:Subject")),
        said("no NameID", missing, |text, _| without(text, "saml:NameID")),
        said("an empty NameID", missing, |text, _| {
            changed(text, cut(text, "saml:NameID"), "<saml:NameID> </saml:NameID>")
        }),
        said("markup in the NameID", missing, |text, _| {
            changed(text, "</saml:NameID>", "<saml:b></saml:b></saml:NameID>")
        }),
        said("two NameID", missing, |text, _| {
            let one = cut(text, "saml:NameID").to_owned();
            changed(text, &one, &format!("{one}{one}"))
        }),
        said("two Subject", missing, |text, _| {
            let one = cut(text, "saml:Subject").to_owned();
            changed(text, &one, &format!("{one}{one}"))
        }),
        said("another issuer", mismatch, |text, s| {
            let assertion = cut(text, "saml:Assertion");
            text.replacen(assertion, &changed(assertion, &s.issuer, "https://other.example.org/"), 1)
        }),
        said("an issuer that is no entity", mismatch, |text, _| {
            let assertion = cut(text, "saml:Assertion");
            text.replacen(assertion, &changed(assertion, "<saml:Issuer>", "<saml:Issuer Format=\"urn:x\">"), 1)
        }),
        said("no AuthnStatement", missing, |text, _| without(text, "saml:AuthnStatement")),
        said("two AuthnStatement", missing, |text, _| {
            let one = cut(text, "saml:AuthnStatement").to_owned();
            changed(text, &one, &format!("{one}{one}"))
        }),
        said("a login that has ended", time, |text, s| {
            changed(
                text,
                &format!("SessionNotOnOrAfter=\"{}\"", s.at(3600)),
                &format!("SessionNotOnOrAfter=\"{}\"", s.at(0)),
            )
        }),
        said("a login of tomorrow", time, |text, s| {
            changed(text, &format!("AuthnInstant=\"{}\"", s.at(0)), &format!("AuthnInstant=\"{}\"", s.at(86_400)))
        }),
        said("issued tomorrow", time, |text, s| {
            let assertion = cut(text, "saml:Assertion");
            let later = changed(
                assertion,
                &format!("IssueInstant=\"{}\"", s.at(0)),
                &format!("IssueInstant=\"{}\"", s.at(86_400)),
            );
            text.replacen(assertion, &later, 1)
        }),
        said("issued at no time", mismatch, |text, s| {
            let assertion = cut(text, "saml:Assertion");
            let never = changed(assertion, &format!("IssueInstant=\"{}\"", s.at(0)), "IssueInstant=\"0\"");
            text.replacen(assertion, &never, 1)
        }),
        said("no ID", Refused("SignatureShape"), |text, _| text.to_owned()).with_assertion_id(""),
        said("an ID that is a pointer", Refused("SignatureShape"), |text, _| text.to_owned())
            .with_assertion_id("element(/1/2)"),
    ]
}

/// Something else around a signed assertion, and in a signed Response.
fn around() -> Vec<Attack> {
    let mut attacks = Vec::new();
    let (missing, mismatch, time) = (Refused("Missing"), Refused("Mismatch"), Refused("Time"));
    let cases: [(&str, Verdict, Change); 13] = [
        ("another destination", mismatch, |text, s| {
            changed(text, &format!("Destination=\"{}\"", s.acs_url), "Destination=\"https://other.example.org/\"")
        }),
        ("a destination that begins as ours", mismatch, |text, s| {
            changed(text, &format!("Destination=\"{}\"", s.acs_url), &format!("Destination=\"{}.evil\"", s.acs_url))
        }),
        ("no destination", missing, |text, s| changed(text, &format!(" Destination=\"{}\"", s.acs_url), "")),
        ("in answer to another", mismatch, |text, s| {
            changed(text, &format!("InResponseTo=\"{}\"", s.request), "InResponseTo=\"_another\"")
        }),
        ("in answer to nobody", missing, |text, s| changed(text, &format!(" InResponseTo=\"{}\"", s.request), "")),
        ("no Status", missing, |text, _| without(text, "samlp:Status")),
        ("an empty Status", missing, |text, _| {
            changed(text, cut(text, "samlp:Status"), "<samlp:Status></samlp:Status>")
        }),
        ("a failure", Refused("Status"), |text, _| changed(text, "status:Success", "status:Responder")),
        ("a status that ends in success", Refused("Status"), |text, _| {
            changed(text, "status:Success", "status:NotSuccess")
        }),
        ("another issuer", mismatch, |text, s| changed(text, &s.issuer, "https://other.example.org/")),
        ("issued tomorrow", time, |text, s| changed(text, &s.at(0), &s.at(86_400))),
        ("issued at no time", mismatch, |text, s| changed(text, &s.at(0), "now")),
        ("version 3", Refused("Structure"), |text, _| changed(text, "Version=\"2.0\"", "Version=\"3.0\"")),
    ];
    for (name, verdict, change) in cases {
        attacks.push(Attack::new(format!("around a signed assertion: {name}"), verdict, move |s| {
            change(&honest(s, false, true), s)
        }));
        attacks.push(Attack::new(format!("in a signed Response: {name}"), verdict, move |s| {
            resigned(&change(&honest(s, false, false), s), "samlp:Response", &PROVIDER, &Shape::usual())
        }));
    }
    // a failure without an assertion is the provider's "no"
    attacks.push(Attack::new("around: a failure and no assertion", Refused("Status"), |s| {
        changed(&without(&honest(s, false, false), "saml:Assertion"), "status:Success", "status:Responder")
    }));
    attacks
}

fn confirmed(text: &str, change: impl Fn(&str) -> String) -> String {
    let data = cut(text, "saml:SubjectConfirmationData");
    text.replacen(data, &change(data), 1)
}

impl Attack {
    /// As it was, and the assertion and the reference to it of another ID.
    fn with_assertion_id(self, id: &'static str) -> Self {
        let Self { name, verdict, .. } = self;
        Self::new(name, verdict, move |s: &Stage| {
            let bare = honest(s, false, false);
            let old = value(cut(&bare, "saml:Assertion"), "ID").to_owned();
            resigned(&bare.replace(&old, id), "saml:Assertion", &PROVIDER, &Shape::usual())
        })
    }
}
