//! `claviger explain FILE`

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::{Method, Uri};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::check::columns::Columns;
use super::check::{injected, pretty, refuse, tell};
use crate::app::look_at;
use crate::built_in::Environment;
use crate::clock::{Clock as _, SystemClock, rfc3339};
use crate::config::Config;
use crate::generation::Generation;
use crate::identity::{
    Evidence, EvidenceError, EvidenceSource, Holder, HolderId, Identity, IdentitySource, SourceName, Subject,
};
use crate::policy::{Ask, Asked, Denied, Explanation, NormalPath, Told, Wanted, Way};
use crate::route::{Host, OURS, is_ours};

mod endpoint;

/// Say what would become of a request, and why: route, rule, role, and everything STS would be told and how.
///
/// Nothing is asked of anybody: the claims are taken from a file as if the identity provider had sent them. Exits with
/// 0 where the request would pass, 1 where it would not, and 2 for bad input.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The config file (TOML).
    file: PathBuf,
    /// The claims of who asks, as the source has verified them: a JSON object with at least what names the subject, which
    /// is `sub` unless the source has another `subject_claim`. Absent: nobody is logged in.
    #[arg(long = "as", value_name = "CLAIMS.JSON")]
    claims: Option<PathBuf>,
    /// The URL that is asked for; needed where no `--endpoint` is.
    #[arg(long, required_unless_present = "endpoint", default_value = "/", hide_default_value = true)]
    url: Uri,
    /// The `[endpoint.<name>]` at which an SDK asks, in place of a URL. Without `--as` the workload is who its token says.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["url", "method", "source"])]
    endpoint: Option<String>,
    /// The method.
    #[arg(long, default_value = "GET")]
    method: Method,
    /// The `[identity.<name>]` that vouches for the claims; needed where there are several.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The client's address.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    from: IpAddr,
    /// The role that is wanted, where the route offers several.
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// The time of the request, such as 2026-03-02T09:30:00Z; absent: now.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<SystemTime>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// What would become of the request.
struct Answer {
    route: Option<String>,
    /// Where it would go: to one of these.
    to: Option<String>,
    inject: Vec<String>,
    /// Why it would not even come to a decision.
    stopped: Option<String>,
    /// Something that is easily overlooked.
    note: Option<String>,
    /// The kind of credentials that the route uses.
    kind: Option<String>,
    explanation: Option<Explanation>,
}

impl Explain {
    pub(super) fn run(self) -> ExitCode {
        let (config, generation) = match look_at(&self.file, &Environment::of_this_process()) {
            Ok(built) => built,
            Err(errors) => return refuse(&self.file, &errors, self.json),
        };
        match self.explain(&config, &generation) {
            Ok((text, allowed)) => {
                tell(&text);
                if allowed { ExitCode::SUCCESS } else { ExitCode::from(1) }
            }
            Err(problem) => {
                eprintln!("claviger: {problem}");
                ExitCode::from(2)
            }
        }
    }

    /// What is to be told, and whether the request would pass; or what is wrong with the question.
    fn explain(&self, config: &Config, generation: &Generation) -> Result<(String, bool), String> {
        let now = self.at.unwrap_or_else(|| SystemClock.now());
        if let Some(endpoint) = &self.endpoint {
            return self.explain_endpoint(endpoint, config, generation, now);
        }
        let identity = self.identity(generation, now)?;
        let answer = self.answer(config, generation, identity.as_ref(), now)?;
        let text = if self.json {
            pretty(&self.as_json(identity.as_ref(), &answer, now))
        } else {
            self.as_text(identity.as_ref(), &answer, now)
        };
        Ok((text, answer.allowed()))
    }

    /// Who asks, as if the source had vouched for the claims.
    fn identity(&self, generation: &Generation, now: SystemTime) -> Result<Option<Identity>, String> {
        let Some(file) = &self.claims else { return Ok(None) };
        let (name, source) = self.source(generation)?;
        self.vouched(file, name, source, now).map(Some)
    }

    /// The identity that a source would make of the claims in a file.
    fn vouched(
        &self,
        file: &Path,
        name: &SourceName,
        source: &Arc<dyn IdentitySource>,
        now: SystemTime,
    ) -> Result<Identity, String> {
        let (id, claims) = source
            .read(read_claims(file)?)
            .map_err(|reason| format!("`{}` is not what identity.{name} would vouch for: {reason}", file.display()))?;
        let subject = Arc::new(Subject { source: Arc::clone(name), id });
        let ends = now + Duration::from_secs(3600);
        let holder = Holder { id: HolderId::random(), ends, evidence: Arc::new(NoEvidence) };
        Ok(Identity { subject, claims, ends_at: ends, holder })
    }

    /// The source that is named, else the only one.
    fn source<'g>(&self, generation: &'g Generation) -> Result<(&'g SourceName, &'g Arc<dyn IdentitySource>), String> {
        let known = || generation.sources.keys().map(AsRef::as_ref).collect::<Vec<&str>>().join(", ");
        let mut sources = generation.sources.iter();
        match (&self.source, sources.next(), sources.next()) {
            (_, None, _) => Err("the config has no section [identity.<name>] that could vouch for the claims".into()),
            (None, Some(only), None) => Ok(only),
            (None, ..) => Err(format!("say with --source who vouches for the claims; it may be one of: {}", known())),
            (Some(name), ..) => {
                let source = generation.sources.get_key_value(name.as_str());
                source.ok_or_else(|| format!("there is no [identity.{name}]; it may be one of: {}", known()))
            }
        }
    }

    fn answer(
        &self,
        config: &Config,
        generation: &Generation,
        identity: Option<&Identity>,
        now: SystemTime,
    ) -> Result<Answer, String> {
        let authority =
            self.url.authority().ok_or("--url must be a whole URL, such as https://wiki.example.com/page")?;
        let host = Host::parse(authority.as_str()).map_err(|_| format!("`{authority}` is not a host"))?;
        let mut answer = Answer {
            kind: None,
            route: None,
            to: None,
            inject: Vec::new(),
            stopped: None,
            note: None,
            explanation: None,
        };
        let path = match NormalPath::parse(self.url.path()) {
            Ok(path) => path,
            Err(problem) => {
                answer.stopped = Some(format!("{problem}; the answer is 400"));
                return Ok(answer);
            }
        };
        if is_ours(path.as_str()) {
            answer.stopped = Some(format!("`{OURS}/` is claviger's own on every host and goes to no upstream"));
            return Ok(answer);
        }
        let Some(route) = generation.routes.find(&host, &path) else {
            answer.stopped = Some(if generation.routes.has_host(&host) {
                format!("no route of the host `{}` is for this path; the answer is 404", host.as_str())
            } else {
                format!("no route is for the host `{}`; the answer is 404", host.as_str())
            });
            return Ok(answer);
        };
        answer.route = Some(route.name.to_string());
        if let Err(problem) = route.admit(&path) {
            answer.stopped = Some(format!("{problem}; the answer is 400"));
            return Ok(answer);
        }
        if let Some(written) = config.route.get(&route.name) {
            let query = self.url.query().map_or_else(String::new, |query| format!("?{query}"));
            let target = format!("{}{query}", route.rewrite.apply(&path));
            let each = written.upstream.addresses.iter().map(|address| format!("{address}{target}"));
            let as_asked = format!("https://{}{target}", host.as_str());
            answer.to = Some(match written.upstream.as_asked && written.upstream.addresses.is_empty() {
                true => as_asked,
                false => each.collect::<Vec<_>>().join(", "),
            });
            answer.inject = injected(written).into_iter().map(str::to_owned).collect();
            let section = route.credentials.as_ref().and_then(|name| config.credentials.get(name));
            answer.kind = section.and_then(|section| section.get("kind")?.as_str()).map(str::to_owned);
        }
        let counts = |identity: &&Identity| route.counts(&identity.subject.source);
        if let Some(who) = identity.filter(|identity| !counts(identity)) {
            answer.note =
                Some(format!("identity.{} does not count on this route, so nobody is logged in", who.subject.source));
        }
        answer.explanation = Some(route.policy.explain(Ask {
            identity: identity.filter(counts),
            method: &self.method,
            path: &path,
            peer: self.from,
            role: self.role.as_deref().map_or(Wanted::Any, Wanted::Named),
            now,
        }));
        Ok(answer)
    }

    fn as_text(&self, identity: Option<&Identity>, answer: &Answer, now: SystemTime) -> String {
        let who = identity.map_or_else(|| "nobody".to_owned(), name);
        let mut text = format!("{} {}\nas {who}, from {}, at {}\n\n", self.method, self.url, self.from, rfc3339(now));
        if let Some(note) = &answer.note {
            let _ = writeln!(text, "Note: {note}.\n");
        }
        if let Some(stopped) = &answer.stopped {
            let _ = writeln!(text, "Denied: {stopped}.");
            return text;
        }
        let Some(explanation) = &answer.explanation else { return text };
        let route = answer.route.as_deref().unwrap_or_default();
        let mut rows = Columns::indented();
        match &explanation.rule {
            Some(rule) => {
                let _ = writeln!(text, "Allowed by `{rule}` of `route.{route}`.\n");
                rows.row(["goes to".into(), answer.to.clone().unwrap_or_default()]);
                if !answer.inject.is_empty() {
                    rows.row(["inject".into(), answer.inject.join(", ")]);
                }
                let kind = answer.kind.as_deref().unwrap_or_default();
                explanation.grant.iter().for_each(|asked| tell_of(asked, kind, &mut rows));
            }
            None => {
                let _ = writeln!(text, "Denied at `route.{route}`: {}.\n", why(explanation));
                for verdict in &explanation.rules {
                    let needs =
                        verdict.needs.as_ref().map_or_else(|| "lets pass".to_owned(), |needs| format!("needs {needs}"));
                    rows.row([verdict.rule.clone(), needs]);
                }
            }
        }
        for offered in &explanation.roles {
            let theirs = match (&offered.role, &offered.needs) {
                (Some(role), _) => role.clone(),
                (None, Some(needs)) => format!("not theirs: needs {needs}"),
                (None, None) => "not theirs".to_owned(),
            };
            rows.row([format!("offers {}", offered.name), theirs]);
        }
        let _ = write!(text, "{rows}");
        text
    }

    fn as_json(&self, identity: Option<&Identity>, answer: &Answer, now: SystemTime) -> Value {
        json!({
            "allowed": answer.allowed(),
            "method": self.method.as_str(),
            "url": self.url.to_string(),
            "as": identity.map(|identity| json!({"source": identity.subject.source, "id": identity.subject.id})),
            "from": self.from,
            "at": rfc3339(now),
            "route": answer.route,
            "to": answer.to,
            "inject": answer.inject,
            "note": answer.note,
            "stopped": answer.stopped,
            "credentials_kind": answer.kind,
            "policy": answer.explanation,
        })
    }
}

impl Answer {
    fn allowed(&self) -> bool {
        self.explanation.as_ref().is_some_and(|explanation| explanation.rule.is_some())
    }
}

/// Why there is no leave, in a sentence; the rules follow it.
fn why(explanation: &Explanation) -> &str {
    match explanation.denied.as_deref() {
        Some(denied) if denied == Denied::Anonymous.to_string() => {
            "nobody is logged in; a browser is sent to log in where it can, a program is answered with 401"
        }
        Some(denied) if explanation.rules.iter().any(|verdict| verdict.needs.is_none()) => denied,
        _ => "no rule allows it; the answer is 403",
    }
}

/// Says what STS would be asked, each value with the way it is told.
fn tell_of(asked: &Asked, kind: &str, rows: &mut Columns) {
    match &asked.after {
        Some(before) => {
            tell_of(before, kind, rows);
            rows.row(["then".into(), "by the keys of that role".into(), format!("by {}", asked.call)]);
        }
        None => {
            rows.row(["credentials".into(), format!("{} ({kind})", asked.credentials), format!("by {}", asked.call)])
        }
    }
    rows.row(["role".into(), asked.role.clone(), way(Way::Parameter).into()]);
    let mut told = |label: String, told: &Told, value: String| rows.row([label, value, way(told.told).into()]);
    told("session name".into(), &asked.session_name, asked.session_name.value.clone());
    for tag in &asked.tags {
        let chained = if tag.transitive { "transitive tag" } else { "tag" };
        told(format!("{chained} {}", tag.key), &tag.told, tag.told.value.clone());
    }
    if let Some(source) = &asked.source_identity {
        told("source identity".into(), source, source.value.clone());
    }
    if let Some(duration) = &asked.duration {
        told("duration".into(), duration, format!("{} s", duration.value));
    }
    let mut row = |label: &str, value: &str| rows.row([label.into(), value.into(), way(Way::Parameter).into()]);
    asked.external_id.iter().for_each(|id| row("external id", id));
    asked.policy.iter().for_each(|policy| row("session policy", policy));
    asked.policy_arns.iter().for_each(|arn| row("session policy", arn));
}

fn way(way: Way) -> &'static str {
    match way {
        Way::Parameter => "as a parameter of the call",
        Way::MintedClaim => "as a claim in the minted token",
        Way::Assertion => "by the identity provider, in its SAML response",
        Way::No => "not told",
    }
}

fn name(identity: &Identity) -> String {
    format!("{}/{}", identity.subject.source, identity.subject.id)
}

fn read_claims(file: &Path) -> Result<Map<String, Value>, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|e| format!("`{shown}` can't be read: {e}"))?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(claims)) => Ok(claims),
        Ok(_) => Err(format!("`{shown}` is not a JSON object of claims")),
        Err(e) => Err(format!("`{shown}` is not JSON: {e}")),
    }
}

/// An RFC 3339 time.
fn moment(text: &str) -> Result<SystemTime, String> {
    let parsed = OffsetDateTime::parse(text, &Rfc3339);
    parsed.map(SystemTime::from).map_err(|_| "expected a time such as 2026-03-02T09:30:00Z".to_owned())
}

/// Nothing is proven here, and nothing is asked for.
#[derive(Debug)]
struct NoEvidence;

#[async_trait]
impl EvidenceSource for NoEvidence {
    async fn evidence(&self, _valid_for: Duration) -> Result<Evidence, EvidenceError> {
        Err(EvidenceError::Expired)
    }
}

#[cfg(test)]
mod tests;
