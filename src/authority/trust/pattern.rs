//! IAM's wildcards: `*` is any run of characters, `?` is one.

/// Whether `text` matches `pattern`, in time that grows with their product and no faster.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (mut rest, mut text) = (pattern, text);
    // where to go on when the run that the last `*` stands for must be one longer
    let mut retry: Option<(&str, &str)> = None;
    loop {
        let (mut pattern_after, mut text_after) = (rest.chars(), text.chars());
        match (pattern_after.next(), text_after.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                rest = pattern_after.as_str();
                retry = Some((rest, text));
                continue;
            }
            (Some(p), Some(t)) if p == '?' || p == t => {
                (rest, text) = (pattern_after.as_str(), text_after.as_str());
                continue;
            }
            _ => {}
        }
        let Some((after_star, run_end)) = retry else { return false };
        let mut longer = run_end.chars();
        if longer.next().is_none() {
            return false;
        }
        (rest, text) = (after_star, longer.as_str());
        retry = Some((after_star, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_in_iam() {
        for (pattern, text, matched) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a", "a", true),
            ("a", "b", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "é", true),
            ("a*c", "abcbc", true),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "axcxb", false),
            ("*suffix", "no suffi", false),
            ("repo:me/*", "repo:you/x", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, text), matched, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_against_a_long_text_end_soon() {
        assert!(!matches(&"*a".repeat(64), &"a".repeat(63)));
        assert!(!matches(&format!("{}b", "a*".repeat(64)), &"a".repeat(4096)));
    }
}
