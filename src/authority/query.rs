//! The AWS Query protocol: parameters from the query string and a form body, each at most once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::refusal::Refusal;

/// The parameters of one call. Each is taken once; what is left at the end was not understood, and refused.
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads query string and form body together.
    ///
    /// # Errors
    /// A parameter that comes twice, wherever: two readers could take different ones for the truth.
    pub(super) fn read(query: &str, form: &[u8]) -> Result<Self, Refusal> {
        let mut parameters = BTreeMap::new();
        let pairs = form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(form));
        for (name, value) in pairs {
            if parameters.len() == MAX_PARAMETERS {
                return Err(Refusal::validation(format!("more than {MAX_PARAMETERS} parameters")));
            }
            match parameters.entry(name.into_owned()) {
                Entry::Vacant(entry) => entry.insert(value.into_owned()),
                Entry::Occupied(entry) => {
                    let name: String = entry.key().chars().take(100).collect();
                    return Err(Refusal::validation(format!("the parameter `{name}` is given more than once")));
                }
            };
        }
        Ok(Self(parameters))
    }

    /// Takes a parameter out.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Takes a parameter out that must be there, within these lengths in characters.
    pub(super) fn text(&mut self, name: &str, shortest: usize, longest: usize) -> Result<String, Refusal> {
        let member = member_name(name);
        let text = self.take(name).ok_or_else(|| Refusal::constraint(None, &member, "Member must not be null"))?;
        within(&text, &member, shortest, longest)?;
        Ok(text)
    }

    /// The same for a parameter that may be absent.
    pub(super) fn optional_text(
        &mut self,
        name: &str,
        shortest: usize,
        longest: usize,
    ) -> Result<Option<String>, Refusal> {
        let text = self.take(name);
        if let Some(text) = &text {
            within(text, &member_name(name), shortest, longest)?;
        }
        Ok(text)
    }

    /// Takes `name.member.1`, `name.member.2` … out, as far as they go without a gap.
    pub(super) fn list(&mut self, name: &str, longest: usize) -> Result<Vec<String>, Refusal> {
        let mut list = Vec::new();
        while let Some(value) = self.take(&format!("{name}.member.{}", list.len() + 1)) {
            list.push(value);
            at_most(list.len(), name, longest)?;
        }
        Ok(list)
    }

    /// Takes `name.member.N.Key` and `name.member.N.Value` out.
    pub(super) fn pairs(&mut self, name: &str, longest: usize) -> Result<Vec<(String, String)>, Refusal> {
        let mut list = Vec::new();
        while let Some(key) = self.take(&format!("{name}.member.{}.Key", list.len() + 1)) {
            let value = format!("{name}.member.{}.Value", list.len() + 1);
            let value = self
                .take(&value)
                .ok_or_else(|| Refusal::constraint(None, &member_name(&value), "Member must not be null"))?;
            list.push((key, value));
            at_most(list.len(), name, longest)?;
        }
        Ok(list)
    }

    /// Ends the reading. Passing over a parameter that AWS knows and we don't, such as `PolicyArns`, would give more
    /// than was asked for.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        match self.0.into_keys().find(|name| !name.to_ascii_lowercase().starts_with("x-amz-")) {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().take(100).collect();
                Err(Refusal::validation(format!("the parameter `{name}` is not supported here")))
            }
        }
    }
}

/// The name that AWS's validator uses: `roleSessionName` for `RoleSessionName`.
pub(super) fn member_name(parameter: &str) -> String {
    let mut characters = parameter.chars();
    characters.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + characters.as_str())
}

fn within(text: &str, member: &str, shortest: usize, longest: usize) -> Result<(), Refusal> {
    let length = text.chars().count();
    // a long value is a token or a policy: it is named, not repeated
    let shown = if length <= 200 { text } else { "…" };
    if length < shortest {
        let rule = format!("Member must have length greater than or equal to {shortest}");
        return Err(Refusal::constraint(Some(shown), member, &rule));
    }
    if length > longest {
        let rule = format!("Member must have length less than or equal to {longest}");
        return Err(Refusal::constraint(Some(shown), member, &rule));
    }
    Ok(())
}

fn at_most(length: usize, name: &str, longest: usize) -> Result<(), Refusal> {
    if length <= longest {
        return Ok(());
    }
    let rule = format!("Member must have length less than or equal to {longest}");
    Err(Refusal::constraint(Some("…"), &member_name(name), &rule))
}

/// 50 tags in two parameters each, 50 transitive keys, and room for the rest.
const MAX_PARAMETERS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_and_form_are_one_list() {
        let mut query = Query::read("Action=A", b"Version=V&x=a%26b+c").unwrap();
        assert_eq!(query.take("Action").unwrap(), "A");
        assert_eq!(query.take("Version").unwrap(), "V");
        assert_eq!(query.take("x").unwrap(), "a&b c");
        query.finish().unwrap();
    }

    #[test]
    fn a_parameter_given_twice_is_refused() {
        for (query, form) in [("a=1&a=1", ""), ("", "a=1&a=2"), ("a=1", "a=2"), ("%61=1", "a=1")] {
            assert!(Query::read(query, form.as_bytes()).is_err(), "{query} {form}");
        }
    }

    #[test]
    fn lists_are_read_and_leftovers_refused() {
        let form = b"Tags.member.1.Key=a&Tags.member.1.Value=1&Tags.member.3.Key=c&Keys.member.1=a&Keys.member.2=b";
        let mut query = Query::read("", form).unwrap();
        assert_eq!(query.pairs("Tags", 50).unwrap(), [("a".to_owned(), "1".to_owned())]);
        assert_eq!(query.list("Keys", 50).unwrap(), ["a", "b"]);
        assert!(query.finish().unwrap_err().message.contains("`Tags.member.3.Key`"));
    }

    #[test]
    fn lists_end_at_their_limit() {
        let form: String = (1..=51).map(|n| format!("Keys.member.{n}=k{n}&")).collect();
        assert!(Query::read("", form.as_bytes()).unwrap().list("Keys", 50).is_err());
    }
}
