//! What SAML logins cost: claviger's CPU time from the POST at the ACS on, each for a login that a browser has begun.

use std::path::Path;

use futures_util::future::join_all;

mod hostile;
mod site;

use crate::meter::Meter;
use crate::support::saml_attacks::attacks;
use crate::table::{Goal, Row, Table};

use site::{Begun, SamlSite};

/// Every row of it.
pub(crate) async fn rows(binary: &Path, upstream: &str, kept: &Path, table: &mut Table) {
    let site = SamlSite::start(binary, upstream, kept).await;
    println!("SAML logins");
    login(&site, table).await;
    dearest(&site, table).await;
    large(&site, table).await;
    parallel(&site, table).await;
}

/// From a good POST to the session.
async fn login(site: &SamlSite, table: &mut Table) {
    let mut logins = Vec::new();
    for n in 0..WARM + LOGINS {
        let begun = site.begin().await;
        let document = begun.response_of(&format!("person-{n}"));
        assert!((4000..=4500).contains(&document.len()), "4 KB, and not {}", document.len());
        logins.push((begun, document));
    }
    let warm = logins.split_off(LOGINS);
    for (mut begun, document) in warm {
        begun.log_in(&document).await;
    }
    let meter = Meter::of(site.process.pid());
    for (begun, document) in &mut logins {
        begun.log_in(document).await;
    }
    let each = meter.milliseconds() / LOGINS as f64;
    table.add(Row::alone("SAML login, 4 KB, ms CPU", each, Goal { must: 1.0, aim: 0.7 }));
}

/// The dearest of what is read at all: the attack documents, and whatever else costs much below the limits.
async fn dearest(site: &SamlSite, table: &mut Table) {
    let mut costs = Vec::new();
    for attack in attacks() {
        costs.push((cost(site, 3, |begun| begun.form(attack.document(&begun.stage()))).await, attack.name));
    }
    for (name, form) in hostile::dear() {
        costs.push((cost(site, 10, form).await, name.to_owned()));
    }
    let dearest = told("documents", costs);
    table.add(Row::alone("SAML, dearest document, ms CPU", dearest, Goal { must: 50.0, aim: 10.0 }));
}

/// The dearest of what is larger than is read.
async fn large(site: &SamlSite, table: &mut Table) {
    let mut costs = Vec::new();
    for (name, form) in hostile::large() {
        costs.push((cost(site, 20, form).await, name.to_owned()));
    }
    let dearest = told("forms of 432 KB", costs);
    table.add(Row::alone("SAML, hostile 432 KB, ms CPU", dearest, Goal { must: 5.0, aim: 2.5 }));
}

/// All at once, each in a browser of their own: whoever is let in as somebody else is counted.
async fn parallel(site: &SamlSite, table: &mut Table) {
    let people: Vec<String> = (0..PEOPLE).map(|n| format!("parallel-{n}")).collect();
    let logins = people.iter().map(async |who| {
        let mut begun = site.begin().await;
        let document = begun.response_of(who);
        begun.log_in(&document).await;
        begun.who().await == *who
    });
    let wrong = join_all(logins).await.into_iter().filter(|is_right| !is_right).count();
    let what = format!("SAML, {PEOPLE} at once, wrong people");
    table.add(Row::alone(&what, wrong as f64, Goal { must: 0.0, aim: 0.0 }));
}

/// Milliseconds of CPU for a POST that is refused, or leads on; without what the login cost before. The mean.
async fn cost(site: &SamlSite, times: u32, form: impl Fn(&Begun) -> String) -> f64 {
    let mut sum = 0.0;
    for _ in 0..times {
        let mut begun = site.begin().await;
        let form = form(&begun);
        let meter = Meter::of(site.process.pid());
        let answer = begun.post(form).await;
        sum += meter.milliseconds();
        assert!([303, 400].contains(&answer.status.as_u16()), "{}: {}", answer.status, answer.text());
    }
    sum / f64::from(times)
}

/// Says which are the dearest; what the first of them costs.
fn told(what: &str, mut costs: Vec<(f64, String)>) -> f64 {
    costs.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    println!("the dearest of {} {what}:", costs.len());
    costs.iter().take(5).for_each(|(cost, name)| println!("  {cost:7.3} ms  {name}"));
    costs[0].0
}

/// Enough for a mean.
const LOGINS: usize = 300;
/// Before that: what is done once.
const WARM: usize = 20;
const PEOPLE: usize = 200;
