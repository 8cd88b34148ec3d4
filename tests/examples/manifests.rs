//! What ECS and Kubernetes are given.

use super::*;

/// The variables, files and ports of an app are those of the endpoint beside it.
fn finds_it(environment: &BTreeMap<String, String>, config: &toml::Table) {
    let (url, token_file) = endpoint(config);
    assert_eq!(environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"], url);
    assert_eq!(environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"], token_file);
    // these would win over it
    for name in ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] {
        assert!(!environment.contains_key(name), "{name}");
    }
}

/// Every file that a config names lies in a folder that is mounted.
fn are_mounted(config: &toml::Table, mounts: &BTreeSet<String>) {
    let identity = config["identity"]["workload"]["path"].as_str().unwrap();
    let (_, token_file) = endpoint(config);
    for file in [identity, &token_file, config["state_dir"].as_str().unwrap(), "/etc/claviger/claviger.toml"] {
        assert!(mounts.iter().any(|mount| Path::new(file).starts_with(mount)), "nothing is mounted for {file}");
    }
}

#[test]
fn the_task_of_ecs_fits_together() {
    let task: Value = serde_json::from_str(&text("ecs/task-definition.json")).unwrap();
    let config = config("ecs/claviger.toml");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let volumes: BTreeSet<String> = list(&task["volumes"]).iter().map(|volume| text(&volume["name"])).collect();
    let containers: BTreeMap<String, Value> = list(&task["containerDefinitions"])
        .into_iter()
        .map(|container| (text(&container["name"]), container))
        .collect();
    for container in containers.values() {
        for mount in list(&container["mountPoints"]) {
            assert!(volumes.contains(mount["sourceVolume"].as_str().unwrap()), "{mount}");
        }
        for other in list(&container["dependsOn"]) {
            assert!(containers.contains_key(other["containerName"].as_str().unwrap()), "{other}");
        }
    }
    let claviger = &containers["claviger"];
    is_a_command(&claviger["command"].as_array().unwrap().iter().filter_map(Value::as_str).collect::<Vec<_>>());
    let memory = list(&claviger["linuxParameters"]["tmpfs"]);
    let mounts = list(&claviger["mountPoints"]).into_iter().chain(memory);
    are_mounted(&config, &mounts.map(|mount| text(&mount["containerPath"])).collect());
    let environment = list(&containers["app"]["environment"]).into_iter();
    finds_it(&environment.map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect(), &config);
    // ECS would set a variable for it that wins over ours
    assert!(task.get("taskRoleArn").is_none());
}

fn documents(path: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn list(value: &Yaml) -> &[Yaml] {
    value.as_vec().map(Vec::as_slice).unwrap_or_default()
}

fn string(value: &Yaml) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value:?}")).to_owned()
}

#[test]
fn every_manifest_is_what_kubernetes_reads() {
    let manifests: Vec<String> = files().into_iter().filter(|name| name.ends_with(".yaml")).collect();
    assert!(manifests.len() >= 2, "{manifests:?}");
    for path in manifests {
        for document in documents(&path) {
            for key in ["apiVersion", "kind"] {
                assert!(document[key].as_str().is_some(), "{path}: {key}");
            }
            let named =
                document["metadata"]["name"].as_str().is_some() || document["kind"].as_str() == Some("Kustomization");
            assert!(named, "{path}: metadata.name");
        }
        let folder = Path::new(&path).parent().unwrap();
        if path.ends_with("kustomization.yaml") {
            let kustomization = &documents(&path)[0];
            let generated = list(&kustomization["configMapGenerator"]).iter().flat_map(|map| list(&map["files"]));
            for file in list(&kustomization["resources"]).iter().chain(generated) {
                assert!(examples().join(folder).join(string(file)).is_file(), "{file:?}");
            }
        }
    }
}

#[test]
fn the_sidecar_in_a_pod_fits_together() {
    let config = config("kubernetes/sidecar/claviger.toml");
    let documents = documents("kubernetes/sidecar/reports.yaml");
    let deployment = documents.iter().find(|document| document["kind"].as_str() == Some("Deployment")).unwrap();
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], deployment["spec"]["template"]["metadata"]["labels"]);
    let pod = &deployment["spec"]["template"]["spec"];
    let account = documents.iter().find(|document| document["kind"].as_str() == Some("ServiceAccount")).unwrap();
    assert_eq!(pod["serviceAccountName"], account["metadata"]["name"]);
    let volumes: BTreeSet<String> = list(&pod["volumes"]).iter().map(|volume| string(&volume["name"])).collect();
    let containers: BTreeMap<String, &Yaml> = list(&pod["initContainers"])
        .iter()
        .chain(list(&pod["containers"]))
        .map(|container| (string(&container["name"]), container))
        .collect();
    let mounts = |container: &Yaml| -> BTreeSet<String> {
        let mounts = list(&container["volumeMounts"]).iter();
        mounts
            .map(|mount| {
                assert!(volumes.contains(&string(&mount["name"])), "{mount:?}");
                string(&mount["mountPath"])
            })
            .collect()
    };
    for (name, container) in &containers {
        let locked = &container["securityContext"];
        assert_eq!(locked["allowPrivilegeEscalation"].as_bool(), Some(false), "{name}");
        mounts(container);
    }
    let claviger = containers["claviger"];
    let arguments: Vec<&str> = list(&claviger["args"]).iter().filter_map(Yaml::as_str).collect();
    is_a_command(&arguments);
    are_mounted(&config, &mounts(claviger));
    let admin = config["admin"]["address"].as_str().unwrap();
    let port = list(&claviger["ports"])[0]["containerPort"].as_i64().unwrap();
    assert!(admin.ends_with(&format!(":{port}")), "{admin}");

    // the door's key is made where both look for it
    let made: Vec<&str> = list(&containers["door"]["args"]).iter().filter_map(Yaml::as_str).collect();
    is_a_command(&made);
    assert_eq!(made, ["new-token", &endpoint(&config).1]);

    let app = containers["app"];
    let environment = list(&app["env"]).iter().map(|variable| (string(&variable["name"]), string(&variable["value"])));
    finds_it(&environment.collect(), &config);
    // what opens STS is mounted into claviger alone
    let token = Path::new(config["identity"]["workload"]["path"].as_str().unwrap()).parent().unwrap();
    assert!(!mounts(app).iter().any(|mount| Path::new(mount) == token));
}

#[test]
fn the_agent_of_a_node_fits_together() {
    let config = config("kubernetes/pod-identity/claviger.toml");
    let documents = documents("kubernetes/pod-identity/agent.yaml");
    let of_kind = |kind: &str| documents.iter().find(|document| document["kind"].as_str() == Some(kind)).unwrap();
    let pod = &of_kind("DaemonSet")["spec"]["template"]["spec"];
    assert_eq!(pod["hostNetwork"].as_bool(), Some(true));
    let claviger = &list(&pod["containers"])[0];
    is_a_command(&list(&claviger["args"]).iter().filter_map(Yaml::as_str).collect::<Vec<_>>());
    // somebody else adds the address that it binds
    let endpoint = &config["endpoint"]["pods"];
    assert_eq!(endpoint["kind"].as_str(), Some("pod_identity"));
    let address = endpoint["address"].as_str().unwrap().split(':').next().unwrap();
    let command = string(&list(&list(&pod["initContainers"])[0]["command"])[2]);
    assert!(command.contains(&format!("ip address add {address}/32")), "{command}");
    // it may read the issuer's keys, as the account that it is
    let (account, binding) = (of_kind("ServiceAccount"), of_kind("ClusterRoleBinding"));
    assert_eq!(binding["roleRef"]["name"].as_str(), Some("system:service-account-issuer-discovery"));
    for name in [&pod["serviceAccountName"], &list(&binding["subjects"])[0]["name"]] {
        assert_eq!(name, &account["metadata"]["name"]);
    }
    // the port of the probes, and the folder of what it keeps
    let admin = config["admin"]["address"].as_str().unwrap();
    let port = list(&claviger["ports"])[0]["containerPort"].as_i64().unwrap();
    assert!(admin.ends_with(&format!(":{port}")), "{admin}");
    let mounts: Vec<String> = list(&claviger["volumeMounts"]).iter().map(|mount| string(&mount["mountPath"])).collect();
    for folder in ["/etc/claviger", config["state_dir"].as_str().unwrap()] {
        assert!(mounts.iter().any(|mount| mount == folder), "nothing is mounted at {folder}");
    }
}
