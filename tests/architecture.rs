//! The shape of `src/`, kept by reading it: who may use whom, how long a file may be, where a print may stand.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom. What is not listed for a module it may not use; a module that is not listed fails the test.
///
/// Levels go up: nothing uses what is above it. The other side (`users`, `provider`, `authority`, `demo`) stands apart
/// and is reached over HTTP; it shares the ground with us and nothing else.
const MAY_USE: &[(&str, &str)] = &[
    // Ground: it knows nothing of the domain.
    ("secret", ""),
    ("clock", ""),
    ("files", ""),
    ("arn", ""),
    ("web", "tls"),         // a connection has its client's certificate
    ("telemetry", "clock"), // access lines carry times as `clock` prints them
    ("built_in", "clock files secret"),
    ("tls", "clock secret"),
    ("fetch", "clock secret telemetry tls web"),
    ("trace", "fetch telemetry web"),
    ("server", "clock telemetry tls web"),
    ("rate", "clock web"),
    ("upstream", "clock telemetry tls web"),
    ("jose", "clock fetch secret web"),
    ("sigv4", "arn clock secret web"),
    ("saml", "clock secret"),
    ("redis", "secret telemetry"),
    ("aws", "arn clock fetch secret tls web"),
    // The other side: it could be another program. Its sections are read as any other's, so it knows `built_in`.
    ("users", "built_in clock secret"),
    ("provider", "built_in clock jose saml secret server telemetry users web"),
    ("authority", "arn built_in clock fetch jose saml secret server sigv4 telemetry web"),
    ("demo", "arn clock fetch secret server sigv4 web"),
    // The sentence: it knows the domain, and no door.
    ("identity", "arn built_in clock fetch files jose saml secret telemetry tls web"),
    ("session", "built_in clock identity redis secret telemetry web"),
    ("policy", "arn built_in clock identity web"), // what is wrong with its settings is said as every section says it
    ("credentials", "arn aws built_in clock fetch identity jose policy secret tls web"),
    ("broker", "clock credentials identity policy secret session telemetry web"),
    ("endpoint", "broker built_in clock credentials files identity policy secret telemetry web"),
    ("inject", "arn built_in clock credentials identity jose policy secret sigv4 web"),
    ("route", "arn built_in identity inject policy upstream web"), // it names sources, and its settings' mistakes
    // A config is made of what it configures: the hosts of `route`, the sections of the other side. None looks back.
    (
        "config",
        "arn authority built_in clock policy provider rate redis route secret server session telemetry tls trace \
         upstream web",
    ),
    (
        "generation",
        "arn built_in clock config credentials endpoint fetch files identity inject policy rate route session telemetry \
         tls upstream web",
    ),
    // `generation` fails in ways of its own (who asks can't be said), and they want a face as all others do.
    ("fault", "credentials generation identity inject policy rate route session upstream web"),
    // Doors: none uses another.
    (
        "proxy",
        "broker clock credentials fault generation identity inject policy route secret session telemetry trace upstream \
         web",
    ),
    ("sign_in", "broker clock config fault generation identity policy route secret session telemetry web"),
    ("admin", "server telemetry web"),
    // Wiring.
    (
        "app",
        "admin authority broker built_in clock config credentials endpoint fault fetch files generation identity inject jose \
         policy provider proxy rate redis route secret server session sign_in telemetry tls trace upstream users web",
    ),
    // The agent of one developer: it keeps logins as a server does, and hands out keys as an endpoint does.
    (
        "agent",
        "broker built_in clock config credentials endpoint fetch generation identity policy secret session telemetry tls \
         upstream web",
    ),
    // `demo` is put together here, of all that the product has; `check` and `explain` look at a generation's parts.
    (
        "cli",
        "agent app authority built_in clock config credentials demo endpoint fault fetch generation identity inject jose policy \
         provider route secret server telemetry tls upstream users web",
    ),
    ("manual", ""),
    ("lib", ""),
    ("main", "cli"),
];

#[test]
fn nobody_uses_what_they_may_not() {
    let mut wrong = BTreeSet::new();
    for file in sources() {
        let module = module_of(&file);
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            wrong.insert(format!("`{module}` is in no row of the table"));
            continue;
        };
        for used in uses(&code_of(&file)) {
            if used != module && !allowed.split_whitespace().any(|name| name == used) {
                wrong.insert(format!("{module} -> {used}    ({})", shown(&file)));
            }
        }
    }
    assert!(wrong.is_empty(), "not in the table of tests/architecture.rs:\n{}", joined(&wrong));
}

#[test]
fn no_arrow_of_the_table_leads_back() {
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    loop {
        let ready = |allowed: &str| allowed.split_whitespace().all(|name| placed.contains(name));
        let next: Vec<_> = MAY_USE.iter().filter(|(n, a)| !placed.contains(n) && ready(a)).map(|(n, _)| *n).collect();
        if next.is_empty() {
            break;
        }
        placed.extend(next);
    }
    let left: Vec<_> = MAY_USE.iter().map(|(name, _)| *name).filter(|name| !placed.contains(name)).collect();
    assert!(left.is_empty(), "these use each other in a circle, or name what is not in the table: {left:?}");
}

#[test]
fn files_are_short_and_named_for_their_idea() {
    let mut wrong = BTreeSet::new();
    for file in sources().into_iter().chain(rust_files(&root().join("tests"))) {
        let lines = read(&file).lines().count();
        if lines > MOST_LINES {
            wrong.insert(format!("{} has {lines} lines; {MOST_LINES} are the most", shown(&file)));
        }
        let stem = file.file_stem().unwrap().to_str().unwrap();
        if ["utils", "util", "helpers", "helper", "common", "types", "manager", "mod", "misc"].contains(&stem) {
            wrong.insert(format!("{} is named for no idea", shown(&file)));
        }
    }
    assert!(wrong.is_empty(), "{}", joined(&wrong));
}

#[test]
fn only_the_command_line_prints() {
    let mut wrong = BTreeSet::new();
    for file in sources().iter().filter(|file| module_of(file) != "cli") {
        let code = code_of(file);
        for print in ["println!", "print!", "eprintln!", "eprint!", "dbg!"] {
            if words_with(&code, print) {
                wrong.insert(format!("{} prints by `{print}`", shown(file)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", joined(&wrong));
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    let mut wrong = BTreeSet::new();
    let mut unsafe_code = 0;
    for file in sources() {
        let code = code_of(&file);
        unsafe_code += code.matches("expect(unsafe_code").count();
        if code.contains("#[allow(") || code.contains("#![allow(") {
            wrong.insert(format!("{} allows a lint; expected #[expect(…, reason = …)]", shown(&file)));
        }
        let expects = code.matches("#[expect(").count() + code.matches("#![expect(").count();
        if expects > code.matches("reason = ").count() {
            wrong.insert(format!("{} expects a lint without a reason", shown(&file)));
        }
    }
    assert!(wrong.is_empty(), "{}", joined(&wrong));
    assert!(unsafe_code <= 1, "unsafe code is expected in {unsafe_code} places; one is the most");
}

#[test]
fn the_top_level_stays_small() {
    const MAY_BE: [&str; 13] = [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "config",
        "tests",
        "examples",
        "target",
        "README.md",
        "Makefile",
        "LICENSE",
        "deny.toml",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
    ];
    let there = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let odd: Vec<_> = there.filter(|name| !name.starts_with('.') && !MAY_BE.contains(&name.as_str())).collect();
    assert!(odd.is_empty(), "these have their place further down: {odd:?}");
}

#[test]
fn the_reader_sees_arrows() {
    let code = "use crate::secret::Secret;\nuse crate::{clock, web::{Body, json}};\nfn f() { crate::arn::x() }";
    assert_eq!(uses(code), BTreeSet::from(["arn".into(), "clock".into(), "secret".into(), "web".into()]));
}

const MOST_LINES: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<PathBuf> {
    rust_files(&root().join("src"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap().display().to_string()
}

fn joined(lines: &BTreeSet<String>) -> String {
    lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}

/// `inject` for `src/inject.rs` and everything in `src/inject/`.
fn module_of(file: &Path) -> String {
    let first = file.strip_prefix(root().join("src")).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The file without comments, and without unit tests: those may bring whom they need.
fn code_of(file: &Path) -> String {
    if is_of_tests(file) {
        return String::new();
    }
    let text = read(file);
    let before_tests = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = before_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether the file, or one that holds it, is declared under `#[cfg(test)]`: `foo/tests.rs` by `mod tests;` in `foo.rs`.
fn is_of_tests(file: &Path) -> bool {
    let name = file.file_stem().unwrap().to_str().unwrap();
    let folder = file.parent().unwrap();
    let holder = folder.with_extension("rs");
    if !holder.exists() {
        return false;
    }
    let declared = read(&holder).split("#[cfg(test)]").skip(1).any(|after| {
        let item = after.trim_start().lines().next().unwrap_or_default();
        item.ends_with(&format!("mod {name};"))
    });
    declared || is_of_tests(&holder)
}

/// The top modules that a code names after `crate::`, alone or in braces.
fn uses(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        if let Some(list) = after.strip_prefix('{') {
            // names at the list's own depth: `{clock, web::{Body, json}}` has two
            let mut depth = 0;
            let mut name = String::new();
            let mut is_first = true;
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => is_first = true,
                    c if depth == 0 && is_first && (c.is_alphanumeric() || c == '_') => name.push(c),
                    _ if depth == 0 && !name.is_empty() => is_first = false,
                    _ => {}
                }
                if (!is_first || c == ',') && !name.is_empty() {
                    found.insert(std::mem::take(&mut name));
                }
            }
            found.extend((!name.is_empty()).then_some(name));
        } else {
            let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            // `crate::Type` would be the root's own; it has none
            found.extend((!name.is_empty()).then_some(name));
        }
    }
    found
}

/// Whether `word` stands in the code and not at the end of another (`print!` in `eprint!`).
fn words_with(code: &str, word: &str) -> bool {
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_'))
}

/// `manual::vulnerabilities` says what answers an attack by name: `[`room::file::item`](…)`.
#[test]
fn every_answer_to_an_attack_is_where_the_page_says() {
    let page = fs::read_to_string(root().join("src/manual/vulnerabilities.rs")).unwrap();
    let named: Vec<&str> = page.split("[`").skip(1).filter_map(|rest| rest.split_once("`](")).map(|(n, _)| n).collect();
    assert!(named.len() > 50, "{}", named.len());
    for name in named.into_iter().filter(|name| name.contains("::")) {
        let words: Vec<&str> = name.split("::").collect();
        let file = |end: usize| root().join("src").join(words[..end].join("/")).with_extension("rs");
        let end = (1..words.len()).rev().find(|end| file(*end).is_file());
        let end = end.unwrap_or_else(|| panic!("{name}: no such room"));
        let text = fs::read_to_string(file(end)).unwrap();
        for item in &words[end..] {
            let starts = ["fn ", "struct ", "const ", "enum ", "trait "].map(|kind| format!("{kind}{item}"));
            assert!(starts.iter().any(|start| text.contains(start.as_str())), "{name}: no `{item}`");
        }
    }
}
