//! Notes and claims that all instances share: sealed, and each ended by Redis.

use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{Inner, millis};
use crate::redis::cmd;
use crate::session::{Commons, StoreError};

#[async_trait]
impl Commons for Inner {
    fn is_shared(&self) -> bool {
        true
    }

    async fn claim(&self, name: &str, life: Duration) -> Result<bool, StoreError> {
        let key = self.keys.claim(name);
        let claimed: Option<String> =
            self.redis.ask(cmd("SET").arg(key).arg(&self.me).arg("NX").arg("PX").arg(millis(life))).await?;
        Ok(claimed.is_some())
    }

    async fn release(&self, name: &str) -> Result<(), StoreError> {
        Ok(self.redis.ask(&self.keys.release(name, &self.me)).await?)
    }

    async fn put(&self, name: &str, note: &[u8], life: Duration) -> Result<(), StoreError> {
        let sealed = self.sealer.seal_bytes(&["note", name], note);
        Ok(self.redis.ask(cmd("SET").arg(self.keys.note(name)).arg(sealed).arg("PX").arg(millis(life))).await?)
    }

    async fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let sealed: Option<Vec<u8>> = self.redis.ask(cmd("GET").arg(self.keys.note(name))).await?;
        Ok(sealed.and_then(|sealed| self.sealer.open_bytes(&["note", name], &sealed)))
    }

    async fn take(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let sealed: Option<Vec<u8>> = self.redis.ask(cmd("GETDEL").arg(self.keys.note(name))).await?;
        Ok(sealed.and_then(|sealed| self.sealer.open_bytes(&["note", name], &sealed)))
    }

    fn blind(&self, what: &[&str]) -> String {
        self.sealer.blinded(what).into_iter().next().unwrap_or_default()
    }
}
