//! What an endpoint for SDKs would ask STS for, and for whom.

use std::fmt::Write as _;
use std::time::SystemTime;

use http::Method;
use serde_json::json;

use super::{Explain, name, tell_of};
use crate::cli::check::columns::Columns;
use crate::cli::check::pretty;
use crate::clock::rfc3339;
use crate::config::Config;
use crate::generation::Generation;
use crate::identity::Identity;
use crate::policy::{Ask, NormalPath, Wanted};
use crate::web::chain;

impl Explain {
    /// What is to be told, and whether there would be a role; or what is wrong with the question.
    pub(super) fn explain_endpoint(
        &self,
        endpoint: &str,
        config: &Config,
        generation: &Generation,
        now: SystemTime,
    ) -> Result<(String, bool), String> {
        let known = || generation.endpoints.keys().map(AsRef::as_ref).collect::<Vec<&str>>().join(", ");
        let built = generation.endpoints.get(endpoint);
        let built = built.ok_or_else(|| format!("there is no [endpoint.{endpoint}]; it may be one of: {}", known()))?;
        let written = |key: &str| config.endpoint.get(endpoint).and_then(|table| table.get(key)?.as_str());
        let identity = self.workload(written("identity"), generation, now)?;
        let path = NormalPath::parse("/").map_err(|error| error.to_string())?;
        let role = self.role.as_deref().map_or(Wanted::Any, Wanted::Named);
        let ask = Ask { identity: Some(&identity), method: &Method::GET, path: &path, peer: self.from, role, now };
        let explanation = built.explain(ask);
        let explanation =
            explanation.ok_or_else(|| format!("who asks at endpoint.{endpoint} is known by the request"))?;
        let allowed = explanation.grant.is_some();
        if self.json {
            let who = json!({"source": identity.subject.source, "id": identity.subject.id});
            let told = json!({
                "allowed": allowed, "endpoint": endpoint, "on": built.binding().to_string(), "as": who,
                "at": rfc3339(now), "policy": explanation,
            });
            return Ok((pretty(&told), allowed));
        }
        let (on, who) = (built.binding(), name(&identity));
        let mut text = format!("endpoint.{endpoint} on {on}\nas {who}, at {}\n\n", rfc3339(now));
        let mut rows = Columns::indented();
        if let Some(asked) = &explanation.grant {
            let section = written("credentials").and_then(|name| config.credentials.get(name));
            let kind = section.and_then(|section| section.get("kind")?.as_str()).unwrap_or_default();
            let _ = writeln!(text, "STS would be asked.\n");
            tell_of(asked, kind, &mut rows);
        } else {
            let _ = writeln!(text, "Denied: {}.\n", explanation.denied.as_deref().unwrap_or("there is no role"));
        }
        for offered in &explanation.roles {
            let role = offered.role.clone().unwrap_or_else(|| "not the workload's".to_owned());
            rows.row([format!("offers {}", offered.name), role]);
        }
        let _ = write!(text, "{rows}");
        Ok((text, allowed))
    }

    /// Who the workload is: by the claims that are given, else by its own token as it is now.
    fn workload(&self, source: Option<&str>, generation: &Generation, now: SystemTime) -> Result<Identity, String> {
        let source = source.and_then(|source| generation.sources.get_key_value(source));
        let (called, source) = source.ok_or("who asks at this endpoint is known by the request")?;
        match &self.claims {
            Some(file) => self.vouched(file, called, source, now),
            None => source.own().map_err(|error| {
                format!(
                    "identity.{called} can't say who the workload is: {}; --as can, by a file of claims",
                    chain(&error)
                )
            }),
        }
    }
}
