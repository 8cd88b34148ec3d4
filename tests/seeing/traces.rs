//! W3C Trace Context on every request, and spans for a collector.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::plan;
use crate::support::client;
use crate::support::place::Place;
use crate::support::side::Side;
use crate::support::upstream::Upstream;
use crate::support::world::{World, until};

const CALLERS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_context_goes_on_as_it_came_and_a_malformed_one_is_made_anew() {
    let world = plan("").start().await;
    let alice = world.ticket("alice").await;
    for (sent, kept, state) in [
        (vec![("traceparent", CALLERS), ("tracestate", "a=1,b=2")], true, vec!["a=1,b=2"]),
        (vec![("traceparent", CALLERS), ("tracestate", "a==")], true, vec![]),
        (vec![("traceparent", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-09-x")], true, vec![]),
        (vec![("traceparent", CALLERS), ("traceparent", CALLERS), ("tracestate", "a=1")], false, vec![]),
        (vec![("traceparent", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01")], false, vec![]),
        (vec![("tracestate", "a=1")], false, vec![]),
        (vec![], false, vec![]),
    ] {
        let mut headers = client::headers(&sent);
        headers.insert("cookie", alice.parse().unwrap());
        // a signed route, so that what is sent is what was signed
        let answer = client::send(world.at, Method::GET, "/traced", &headers, "").await;
        assert_eq!(answer.status, 200, "{sent:?}");
        let seen = world.upstream.last();
        world.signer(&seen, "s3").await;
        let told = seen.all("traceparent").join(" and ");
        assert_eq!(seen.all("tracestate"), state, "{sent:?}");
        let fields: Vec<&str> = told.split('-').collect();
        assert_eq!((fields[1].len(), fields[2].len()), (32, 16), "{told}");
        match kept {
            true => assert_eq!(told, sent[0].1),
            false => assert!(told.starts_with("00-") && told.ends_with("-00") && !told.contains("0af765"), "{told}"),
        }
        let id = seen.all("x-request-id")[0].to_owned();
        let line = world.claviger.event(|e| e["target"] == "claviger::access" && e["request.id"] == *id).await;
        assert_eq!(line["trace.id"], fields[1]);
    }
}

#[tokio::test]
async fn spans_of_a_request_come_to_the_collector() {
    let (collector, received) = collector();
    collector.start();
    let world = traced(&collector, "").await;
    let alice = world.ticket("alice").await;
    let mut headers = client::headers(&[("traceparent", CALLERS), ("cookie", &alice)]);
    assert_eq!(client::send(world.at, Method::GET, "/traced?code=canary", &headers, "").await.status, 200);
    let seen = world.upstream.last();
    world.app.stop().await;
    headers.insert("traceparent", "00-11111111111111111111111111111111-b7ad6b7169203331-00".parse().unwrap());
    assert_eq!(client::send(world.at, Method::GET, "/open", &headers, "").await.status, 502);

    let trace = "0af7651916cd43dd8448eb211c80319c";
    let sent = async || {
        world.metric("claviger_spans_total{outcome=\"sent\"}").await;
        all(&received)
    };
    let all = until(sent, |spans| spans.iter().any(|span| failed(span, "GET open"))).await;
    let spans: Vec<&Value> = all.iter().filter(|span| span["traceId"] == trace).collect();
    let named: BTreeMap<&str, &Value> = spans.iter().map(|span| (span["name"].as_str().unwrap(), *span)).collect();
    let request = named["GET app"];
    assert_eq!((&request["kind"], &request["parentSpanId"]), (&json!(2), &json!("b7ad6b7169203331")));
    assert_eq!(attribute(request, "http.response.status_code"), json!({ "intValue": "200" }));
    assert_eq!(attribute(request, "url.path"), json!({ "stringValue": "/traced" }));
    assert_eq!(attribute(request, "claviger.request.id")["stringValue"], seen.all("x-request-id")[0]);
    for (name, kind) in [("identify", 1), ("decide", 1), ("GET", 3)] {
        let span = named[name];
        assert_eq!((&span["kind"], &span["parentSpanId"]), (&json!(kind), &request["spanId"]), "{name}");
        let nanos = |span: &Value, key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
        assert!(nanos(span, "startTimeUnixNano") >= nanos(request, "startTimeUnixNano"));
        assert!(nanos(span, "endTimeUnixNano") <= nanos(request, "endTimeUnixNano"));
    }
    let told = seen.all("traceparent")[0];
    assert_eq!(told, format!("00-{trace}-{}-01", named["GET"]["spanId"].as_str().unwrap()));

    // the login's first request asked STS, and what failed says so
    assert!(all.iter().any(|span| failed(span, "GET")));
    let issue = all.iter().find(|span| span["name"] == "issue").unwrap();
    assert_eq!(attribute(issue, "claviger.credentials.provider"), json!({ "stringValue": "minted" }));
    assert!(!received.seen().iter().any(|seen| String::from_utf8_lossy(&seen.body).contains("canary")), "A36");
    until(async || world.metric("claviger_spans_total{outcome=\"sent\"}").await, |sent| *sent >= 8.0).await;
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nobody_up_and_a_sample_is_a_part() {
    let (collector, received) = collector();
    let mut world = traced(&collector, "sample = 0.0").await;
    assert_eq!(world.get("/open", "").await.status, 401);
    drop(world);
    collector.start();
    let headers = client::headers(&[("traceparent", CALLERS)]);
    world = traced(&collector, "sample = 0.0").await;
    client::send(world.at, Method::GET, "/open", &headers, "").await;
    world.claviger.terminate(); // what waits is sent before the end
    assert!(world.claviger.wait().success());
    assert!(all(&received).is_empty(), "who is not believed can't ask for more");
    collector.stop().await;

    world = traced(&collector, "").await;
    for _ in 0..20 {
        assert_eq!(client::send(world.at, Method::GET, "/open", &headers, "").await.status, 401);
    }
    until(async || world.metric("claviger_spans_total{outcome=\"failed\"}").await, |count| *count >= 40.0).await;
    let lost = |event: &Value| event["message"] == "spans can't be sent, and are lost";
    world.claviger.event(lost).await;
    assert_eq!(world.claviger.events().iter().filter(|event| lost(event)).count(), 1, "said once");
}

/// A collector that keeps what it is sent; not started yet.
fn collector() -> (Side, Upstream) {
    let received = Upstream::default();
    (Side::new("collector", Place::reserve(), Arc::new(received.clone())), received)
}

async fn traced(collector: &Side, more: &str) -> World {
    let telemetry = format!("[telemetry]\notlp = \"http://{}\"\n{more}", collector.at());
    plan(&telemetry).start().await
}

/// All spans so far.
fn all(received: &Upstream) -> Vec<Value> {
    let mut spans = Vec::new();
    for seen in received.seen() {
        assert_eq!((seen.target.as_str(), seen.all("content-type")), ("/v1/traces", vec!["application/json"]));
        let document: Value = serde_json::from_slice(&seen.body).unwrap();
        let resource = &document["resourceSpans"][0];
        assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "claviger");
        spans.extend(resource["scopeSpans"][0]["spans"].as_array().unwrap().iter().cloned());
    }
    spans
}

fn attribute(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    attributes.iter().find(|one| one["key"] == key).unwrap_or_else(|| panic!("no {key}: {span}"))["value"].clone()
}

fn failed(span: &Value, name: &str) -> bool {
    span["name"] == name && span["status"]["code"] == 2
}
