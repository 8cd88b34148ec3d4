//! The folder `examples`: what stands there runs, and says on both sides the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_claviger");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("examples/{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_yaml_ng::from_str(&read(path)).unwrap_or_else(|error| panic!("examples/{path}: {error}"))
}

/// Texts in quotes after each `before`.
fn quoted<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').nth(1)).collect()
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].concat().into_iter().map(char::from).collect()
}

/// Every key of a config is one, and all that it says fits together, where its secrets are.
#[test]
fn the_configs_are_sound() {
    let mut checked = BTreeSet::new();
    for folder in fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let credentials = tempfile::tempdir().unwrap();
            let config = fs::read_to_string(&file).unwrap();
            for name in quoted(&config, "{ file = ") {
                fs::write(credentials.path().join(Path::new(name).file_name().unwrap()), "secret ".repeat(8)).unwrap();
            }
            let here = credentials.path().join("claviger.toml");
            let moved = config.replace("/run/credentials/claviger.service", &credentials.path().display().to_string());
            fs::write(&here, moved).unwrap();
            let mut check = Command::new(BINARY);
            check.arg("check").arg(&here).env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/task");
            // no two keys may be the same
            for name in quoted(&config, "{ env = ") {
                check.env(name, format!("{name} {name} {name} {name}"));
            }
            let said = check.output().unwrap();
            assert!(said.status.success(), "{}: {}", file.display(), text(&said));
            checked.insert(folder.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    assert_eq!(checked.iter().map(String::as_str).collect::<Vec<_>>(), ["developer", "ecs", "kubernetes", "systemd"]);
    assert_eq!(read("developer/developer.toml"), fs::read_to_string("config/developer.toml").unwrap());
}

/// The subcommand is one, and so are its options.
fn is_a_command(arguments: &[&str]) {
    let [command, rest @ ..] = arguments else { panic!("no command") };
    let help = Command::new(BINARY).args([command, "--help"]).output().unwrap();
    assert!(help.status.success(), "claviger {command}: {}", text(&help));
    for option in rest.iter().filter(|argument| argument.starts_with('-') && argument.len() > 1) {
        let option = option.split('=').next().unwrap();
        assert!(text(&help).contains(option), "claviger {command} has no {option}");
    }
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn the_task_of_ecs_is_what_its_config_expects() {
    let task: Value = serde_json::from_str(&read("ecs/task-definition.json")).unwrap();
    let config = read("ecs/claviger.toml");
    let containers = task["containerDefinitions"].as_array().unwrap();
    let ours = containers.iter().find(|container| container["name"] == "claviger").unwrap();
    is_a_command(&texts(&ours["command"]));
    let secrets: BTreeSet<_> =
        ours["secrets"].as_array().unwrap().iter().map(|secret| secret["name"].as_str().unwrap()).collect();
    assert_eq!(secrets, quoted(&config, "{ env = ").into_iter().collect(), "what the config reads, and no more");
    let port = ours["portMappings"][0]["containerPort"].as_u64().unwrap();
    assert!(config.contains(&format!("address = \"0.0.0.0:{port}\"")), "{port}");
    let mounted = ours["mountPoints"][0]["containerPath"].as_str().unwrap();
    assert!(texts(&ours["command"])[1].starts_with(mounted), "the config is where it is mounted");
    assert_eq!(ours["mountPoints"][0]["sourceVolume"], task["volumes"][0]["name"]);
    // nobody else in the task is reached from outside
    let app = containers.iter().find(|container| container["name"] == "app").unwrap();
    assert!(app.get("portMappings").is_none());
    let port = &app["environment"].as_array().unwrap().iter().find(|entry| entry["name"] == "PORT").unwrap()["value"];
    assert!(config.contains(&format!("upstream = \"http://127.0.0.1:{}\"", port.as_str().unwrap())));
    assert!(ours["stopTimeout"].as_u64().unwrap() > 30, "longer than `server.drain`");
}

#[test]
fn the_pod_of_kubernetes_is_what_its_config_expects() {
    let config = read("kubernetes/claviger.toml");
    let kustomization = yaml("kubernetes/kustomization.yaml");
    for resource in texts(&kustomization["resources"]) {
        let namespace = yaml(&format!("kubernetes/{resource}"))["metadata"]["namespace"].clone();
        assert_eq!(namespace, "reports", "{resource}");
    }
    assert_eq!(texts(&kustomization["configMapGenerator"][0]["files"]), ["claviger.toml"]);
    let deployment = yaml("kubernetes/deployment.yaml");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], deployment["spec"]["template"]["metadata"]["labels"]);
    let of = |list: &str, name: &str| {
        let containers = pod[list].as_array().unwrap();
        containers.iter().find(|container| container["name"] == name).unwrap().clone()
    };
    let (token, ours, app) = (of("initContainers", "token"), of("initContainers", "claviger"), of("containers", "app"));
    is_a_command(&texts(&ours["args"]));
    is_a_command(&texts(&token["args"]));
    assert_eq!(ours["restartPolicy"], "Always", "or the app would never start");

    let volumes: BTreeSet<_> =
        pod["volumes"].as_array().unwrap().iter().map(|volume| volume["name"].as_str()).collect();
    let folder = |container: &Value, volume: &str| {
        let mounts = container["volumeMounts"].as_array().unwrap();
        assert!(mounts.iter().all(|mount| volumes.contains(&mount["name"].as_str())), "{mounts:?}");
        let mount = mounts.iter().find(|mount| mount["name"] == volume).unwrap();
        mount["mountPath"].as_str().unwrap().to_owned()
    };
    let variable = |name: &str| {
        let variables = app["env"].as_array().unwrap();
        variables.iter().find(|variable| variable["name"] == name).unwrap()["value"].as_str().unwrap().to_owned()
    };
    // the token that is made is the one that is shown and the one that is expected
    let shown = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    assert_eq!(quoted(&config, "token_file = "), [shown.as_str()]);
    assert!(texts(&token["args"]).contains(&shown.as_str()));
    for container in [&token, &ours, &app] {
        assert!(shown.starts_with(&folder(container, "run")), "{}", container["name"]);
    }
    let address = quoted(&config, "[endpoint.app]\nkind = \"container\"\naddress = ")[0];
    assert_eq!(variable("AWS_CONTAINER_CREDENTIALS_FULL_URI"), format!("http://{address}/v1/credentials"));
    // what Kubernetes writes is what is read
    let projected = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "identity").unwrap();
    let source = &projected["projected"]["sources"][0]["serviceAccountToken"];
    let path = format!("{}/{}", folder(&ours, "identity"), source["path"].as_str().unwrap());
    assert_eq!(quoted(&config, "kind = \"token_file\"\npath = "), [path.as_str()]);
    assert_eq!(source["audience"], "sts.amazonaws.com");
    assert!(texts(&ours["args"])[1].starts_with(&folder(&ours, "config")));
    for probe in ["startupProbe", "livenessProbe"] {
        let port = ours[probe]["httpGet"]["port"].as_u64().unwrap();
        assert!(config.contains(&format!("[admin]\naddress = \"0.0.0.0:{port}\"")), "{probe}");
    }
}

#[test]
fn the_units_of_systemd_run_commands_that_there_are() {
    for (unit, mode) in [("systemd/claviger.service", "--system"), ("developer/claviger-agent.service", "--user")] {
        let unit_text = read(unit);
        for line in lines(&unit_text).filter(|line| line.starts_with("ExecStart")) {
            let (_, command) = line.split_once('=').unwrap();
            let words: Vec<_> = command.split_whitespace().collect();
            assert_eq!(words[0], "/usr/local/bin/claviger", "{line}");
            is_a_command(&words[1..]);
        }
        if Command::new("systemd-analyze").arg("--version").output().is_err() {
            println!("SKIPPED: {unit} by systemd-analyze, which is not here");
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(Path::new(unit).file_name().unwrap());
        fs::write(&file, unit_text.replace("/usr/local/bin/claviger", BINARY)).unwrap();
        let verdict = Command::new("systemd-analyze").args(["verify", mode]).arg(&file).output().unwrap();
        let said = text(&verdict);
        let about_us: Vec<_> = said.lines().filter(|line| line.contains("claviger")).collect();
        assert!(about_us.is_empty(), "{unit}: {said}");
    }
    let config = read("systemd/claviger.toml");
    let unit = read("systemd/claviger.service");
    for file in quoted(&config, "{ file = ") {
        let name = file.strip_prefix("/run/credentials/claviger.service/").unwrap();
        assert!(unit.contains(&format!("LoadCredential={name}:")), "{name}");
    }
}

/// An image of a build from this tree: what is copied is there, and what is built is what is run.
#[test]
fn the_image_is_made_of_what_there_is() {
    const KNOWN: [&str; 11] =
        ["FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "VOLUME", "EXPOSE", "ENTRYPOINT", "CMD", "ARG"];
    let file = read("container/Containerfile");
    let (mut stages, mut copied) = (Vec::new(), Vec::new());
    for line in lines(&file) {
        let (instruction, rest) = line.split_once(' ').unwrap();
        assert!(KNOWN.contains(&instruction), "{line}");
        let words: Vec<_> = rest.split_whitespace().collect();
        match (instruction, words.as_slice()) {
            ("FROM", [image, ..]) => {
                stages.extend(words.get(2).copied());
                // a host name would have a dot before the first slash
                assert!(
                    !image.split('/').next().is_some_and(|first| image.contains('/') && first.contains('.')),
                    "{image}"
                );
            }
            ("COPY", [from, source, _]) if from.starts_with("--from=") => {
                assert!(stages.contains(&from.trim_start_matches("--from=")), "{line}");
                assert!(file.contains("--bin claviger") && source.ends_with("release/claviger"), "{line}");
            }
            ("COPY", [sources @ .., _]) => copied.extend(sources.iter().map(|source| (*source).to_owned())),
            ("ENTRYPOINT" | "CMD", _) => drop(serde_json::from_str::<Vec<String>>(rest).unwrap()),
            _ => {}
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(copied.iter().all(|source| root.join(source).exists()), "{copied:?}");
    for needed in ["Cargo.toml", "Cargo.lock", "src", "config", ".askama.toml"] {
        assert!(copied.iter().any(|source| source == needed), "the build needs {needed}");
    }
    let command: Vec<String> = serde_json::from_str(file.split("\nCMD ").nth(1).unwrap().trim()).unwrap();
    is_a_command(&command.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(file.contains("\nUSER 65532"), "nobody in particular");
}

#[test]
fn the_shells_part_names_commands_that_there_are() {
    let config = read("developer/aws-config");
    let process = lines(&config).find_map(|line| line.strip_prefix("credential_process = claviger ")).unwrap();
    is_a_command(&process.split_whitespace().collect::<Vec<_>>());
    let profile = process.split_whitespace().last().unwrap();
    assert!(read("developer/developer.toml").contains(&format!("[profile.{profile}]")));
}

/// Each folder is in the list, and each line of the list is a folder.
#[test]
fn the_list_is_complete() {
    let list = read("README.md");
    let listed: BTreeSet<_> = lines(&list).filter_map(|line| line.strip_prefix("| [`")?.split('`').next()).collect();
    let folders = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap()).filter(|entry| entry.path().is_dir());
    let there: BTreeSet<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(listed, there.iter().map(String::as_str).collect());
}

#[test]
fn a_new_token_is_one_line_without_an_end_and_replaces_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let mut before = String::new();
    for _ in 0..2 {
        let said = Command::new(BINARY).arg("new-token").arg(&file).args(["--mode", "640"]).output().unwrap();
        assert!(said.status.success() && said.stdout.is_empty(), "{}", text(&said));
        let token = fs::read_to_string(&file).unwrap();
        assert!(token.len() >= 43 && token.bytes().all(|byte| byte.is_ascii_graphic()), "{token}");
        assert_ne!(token, before);
        before = token;
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }
    let refused = Command::new(BINARY).arg("new-token").arg(&file).args(["--mode", "666"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let nowhere = Command::new(BINARY).args(["new-token", "/nonexistent/token"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
}
