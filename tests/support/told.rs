//! What claviger has logged, when all of it is here.

use serde_json::Value;

use super::world::World;

impl World {
    /// The events of all that was asked so far. Their way is another than the answers', so they may come after those; but
    /// lines come in order, and with that of one more request all before it are here.
    pub async fn events(&self) -> Vec<Value> {
        let mark = self.get("/.claviger/nothing", "").await;
        let id = mark.header("x-request-id");
        self.claviger.event(|event| event["target"] == "claviger::access" && event["request.id"] == *id).await;
        self.claviger.events()
    }

    /// The lines of all that was asked so far.
    pub async fn log(&self) -> Vec<String> {
        self.events().await;
        self.claviger.log()
    }

    /// The audit lines of all that was asked so far.
    pub async fn audit(&self) -> Vec<Value> {
        self.events().await.into_iter().filter(is_audit).collect()
    }
}

/// Whether an event is an audit line.
pub fn is_audit(event: &Value) -> bool {
    event["target"] == "claviger::audit"
}
