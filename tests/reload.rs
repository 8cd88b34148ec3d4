//! A new config while people work: the whole of it or the old one, and nobody is turned away (A33).

use std::fs;

use serde_json::Value;

use crate::support::gate::Gate;
use crate::support::told::is_audit;
use crate::support::wire::{Behind, Wire};
use crate::support::world::World;

mod files;
mod listeners;
mod load;
mod losses;
mod other_side;
mod refused;

/// The config is seen by what an upstream is asked for.
const ROUTES: &str = r#"
[route.open]
host = "*"
upstream = "{upstream}"
allow = "anyone"
add_prefix = "/first"

[route.staff]
host = "*"
path = "/staff"
upstream = "{upstream}"
allow = "signed-in"
"#;

/// Changes the config's text; whole at once, as an editor does it.
pub fn edit(world: &World, from: &str, to: &str) {
    let text = fs::read_to_string(world.file("claviger.toml")).unwrap();
    assert!(text.contains(from), "{from} is not in the config:\n{text}");
    put(world, "claviger.toml", &text.replace(from, to));
}

/// Puts a file in the place of another in one step.
pub fn put(world: &World, name: &str, text: &str) {
    let beside = world.file(&format!("{name}.new"));
    fs::write(&beside, text).unwrap();
    fs::rename(beside, world.file(name)).unwrap();
}

/// Sends a SIGHUP and waits for what came of it.
pub async fn reload(world: &World) -> Value {
    let before = outcomes(world).len();
    world.claviger.hang_up();
    world.claviger.event(|_| outcomes(world).len() > before).await;
    outcomes(world).swap_remove(before)
}

/// An upstream that begins its answer with `half`, and ends it with `done` once it may.
async fn half_done(gate: &Gate) -> Behind {
    let gate = gate.clone();
    Behind::new(move |mut wire: Wire| {
        let gate = gate.clone();
        async move {
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await;
            gate.pass().await;
            wire.send("done").await;
        }
    })
    .await
}

/// The only problem by an outcome, without the line where it is: a key that is gone has none.
fn problem(outcome: &Value) -> &str {
    let told = outcome["config.errors"].as_str().unwrap();
    told.rsplit_once(" (line ").map_or(told, |(problem, _)| problem)
}

/// Waits for the next reload after so many.
async fn outcome_after(world: &World, count: usize) -> Value {
    world.claviger.event(|_| outcomes(world).len() > count).await;
    outcomes(world).swap_remove(count)
}

/// What came of each reload so far.
fn outcomes(world: &World) -> Vec<Value> {
    let is_one = |event: &Value| event["message"].as_str().is_some_and(|text| text.starts_with("the config was "));
    world.claviger.events().into_iter().filter(|event| is_audit(event) && is_one(event)).collect()
}
