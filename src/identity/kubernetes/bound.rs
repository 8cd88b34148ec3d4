//! What a service account token is bound to.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The claim `kubernetes.io` of a token that is bound to a pod.
#[derive(Debug, Deserialize)]
pub(super) struct Bound {
    namespace: String,
    serviceaccount: Object,
    pod: Object,
    node: Option<Node>,
}

/// An object by its name, and by the number that no other of that name has.
#[derive(Debug, Deserialize)]
struct Object {
    name: String,
    uid: String,
}

/// Clusters before 1.32 don't say it, and uids of nodes that are gone are left away.
#[derive(Debug, Deserialize)]
struct Node {
    name: String,
}

impl Bound {
    /// # Errors
    /// What the token lacks; never what it holds.
    pub(super) fn read(claims: &Map<String, Value>) -> Result<Self, String> {
        // tokens out of secrets never expire and outlive their pods: their claims are of another form
        let bound = claims.get("kubernetes.io").ok_or("it is bound to no pod: there is no claim `kubernetes.io`")?;
        let bound: Self = Self::deserialize(bound)
            .map_err(|_| "it is bound to no pod: `kubernetes.io` lacks namespace, serviceaccount or pod")?;
        let Self { namespace, serviceaccount, pod, node } = &bound;
        let node = node.as_ref().map(|node| &node.name);
        // as the API server names them: nothing else can come into a role's ARN or a tag (A20)
        let are_names =
            is_label(namespace) && [&serviceaccount.name, &pod.name].into_iter().chain(node).all(|n| is_name(n));
        if !are_names || !is_uid(&serviceaccount.uid) || !is_uid(&pod.uid) {
            return Err("`kubernetes.io` holds a name or uid that Kubernetes gives to nothing".to_owned());
        }
        if claims.get("sub").and_then(Value::as_str) != Some(&bound.account()) {
            return Err("`sub` is not the service account that `kubernetes.io` says".to_owned());
        }
        Ok(bound)
    }

    /// The pod, by its service account and uid: names come again, uids never do.
    pub(super) fn subject(&self) -> String {
        format!("{}/{}", self.account(), self.pod.uid)
    }

    /// For rules and templates.
    pub(super) fn claim(&self) -> Value {
        let object = |object: &Object| json!({ "name": object.name, "uid": object.uid });
        let mut claim = json!({
            "namespace": self.namespace,
            "serviceaccount": object(&self.serviceaccount),
            "pod": object(&self.pod),
        });
        if let (Some(node), Some(claim)) = (&self.node, claim.as_object_mut()) {
            claim.insert("node".to_owned(), json!({ "name": node.name }));
        }
        claim
    }

    fn account(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.serviceaccount.name)
    }
}

/// A label of DNS (RFC 1123), as namespaces are named.
fn is_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(is_inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Labels with dots between them, as all others are named.
fn is_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(change: impl FnOnce(&mut Value)) -> Map<String, Value> {
        let mut claims = json!({
            "sub": "system:serviceaccount:shop:web",
            "kubernetes.io": {
                "namespace": "shop",
                "serviceaccount": { "name": "web", "uid": "11111111-aaaa" },
                "pod": { "name": "web-7d9f", "uid": "22222222-bbbb" },
                "node": { "name": "ip-10-0-0-1.ec2.internal", "uid": "x" },
                "warnafter": 1,
            },
        });
        change(&mut claims);
        claims.as_object().cloned().unwrap()
    }

    #[test]
    fn the_pod_is_the_subject_and_its_names_are_claims() {
        let bound = Bound::read(&claims(|_| ())).unwrap();
        assert_eq!(bound.subject(), "system:serviceaccount:shop:web/22222222-bbbb");
        let claim = bound.claim();
        assert_eq!(
            (&claim["pod"]["name"], &claim["node"]["name"]),
            (&json!("web-7d9f"), &json!("ip-10-0-0-1.ec2.internal"))
        );
    }

    /// A20, A26
    #[test]
    fn a26_what_is_not_bound_or_not_named_by_kubernetes_is_refused() {
        for (path, value) in [
            ("/kubernetes.io", Value::Null),
            ("/kubernetes.io/pod", Value::Null),
            ("/kubernetes.io/pod", json!("web-7d9f")),
            ("/kubernetes.io/serviceaccount/uid", json!("")),
            ("/kubernetes.io/pod/uid", json!("a/b")),
            ("/kubernetes.io/pod/uid", json!(7)),
            ("/kubernetes.io/namespace", json!("other")),
            ("/kubernetes.io/namespace", json!("shop/../admin")),
            ("/kubernetes.io/namespace", json!("shop.admin")),
            ("/kubernetes.io/serviceaccount/name", json!("web:admin")),
            ("/kubernetes.io/serviceaccount/name", json!("*")),
            ("/kubernetes.io/pod/name", json!("Web")),
            ("/kubernetes.io/pod/name", json!("a..b")),
            ("/kubernetes.io/pod/name", json!("web\n")),
            ("/kubernetes.io/pod/name", json!("x".repeat(254))),
            ("/kubernetes.io/node/name", json!("a b")),
            ("/sub", json!("system:serviceaccount:shop:admin")),
            ("/sub", json!("web")),
        ] {
            let read = Bound::read(&claims(|claims| *claims.pointer_mut(path).unwrap() = value.clone()));
            assert!(read.is_err(), "{path}: {value}");
        }
        let legacy = json!({
            "sub": "system:serviceaccount:shop:web",
            "kubernetes.io/serviceaccount/namespace": "shop",
            "kubernetes.io/serviceaccount/service-account.name": "web",
        });
        assert!(Bound::read(legacy.as_object().unwrap()).unwrap_err().contains("bound to no pod"));
    }
}
