//! Redis, or Valkey: one connection that is kept up, and answers that come in time or not at all.
//!
//! Whoever asks while there is no connection is told so at once; a task of its own connects again, at first soon and
//! then every two seconds. What the keys and values mean is for those who ask.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo as _,
    TlsCertificates,
};
use arc_swap::{ArcSwap, ArcSwapOption};
use metrics::{Counter, Gauge, Histogram};
use tokio::sync::Notify;
use url::Url;

use crate::secret::Secret;
use crate::telemetry::Metrics;

pub use ::redis::{Cmd, Pipeline, cmd, pipe};

/// Where Redis is, and who we are there.
#[derive(Debug)]
pub struct Address {
    /// `rediss://host:port/database`; `redis://` and `unix:` speak without TLS.
    pub url: String,
    /// The user of its ACL; absent: the default one.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// Roots to believe it by, PEM; absent: the system's.
    pub ca: Option<Vec<u8>>,
    /// What all our keys start with.
    pub prefix: String,
}

/// One Redis.
pub struct Redis {
    client: ArcSwap<Client>,
    prefix: String,
    connection: ArcSwapOption<MultiplexedConnection>,
    /// The connection is of no use any more.
    broken: Notify,
    came_up: Notify,
    took: Histogram,
    failures: Counter,
    up: Gauge,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// There is no connection now.
    #[error("there is no connection to redis")]
    Gone,
    /// The connection broke, or no answer came in time, or Redis refused.
    #[error("redis does not answer as it should")]
    Failed(#[from] ::redis::RedisError),
}

/// Why an address is none.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is no URL of Redis.
    #[error("is no address of redis; expected something like rediss://redis.example.com:6379/0")]
    Url,
    /// It holds a secret, which has its own key.
    #[error("holds a user or password; expected them as `username` and `password`")]
    Secret,
    /// Roots make sense with TLS only.
    #[error("is for rediss:// only")]
    CaWithoutTls,
    /// The roots can't be read.
    #[error("is not a PEM file of root certificates")]
    Ca,
}

impl Address {
    /// Whether it can be one; nothing is asked.
    ///
    /// # Errors
    /// [`AddressError`]
    pub fn check(&self) -> Result<(), AddressError> {
        self.client().map(drop)
    }

    fn client(&self) -> Result<Client, AddressError> {
        let info = connection_info(&self.url)?;
        let mut who = info.redis_settings().clone().set_lib_name("claviger", env!("CARGO_PKG_VERSION"));
        if let Some(username) = &self.username {
            who = who.set_username(username);
        }
        if let Some(password) = &self.password {
            who = who.set_password(password.expose());
        }
        let info = info.set_redis_settings(who);
        let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        match &self.ca {
            Some(_) if !is_tls => Err(AddressError::CaWithoutTls),
            Some(ca) => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) };
                Client::build_with_tls(info, certificates).map_err(|_| AddressError::Ca)
            }
            None => Client::open(info).map_err(|_| AddressError::Url),
        }
    }
}

impl Redis {
    /// Not connected yet; [`Redis::stay_connected`] does that.
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(address: &Address, metrics: &Metrics) -> Result<Arc<Self>, AddressError> {
        metrics.describe("claviger_redis_seconds", None, "How long Redis took for an answer.");
        metrics.describe("claviger_redis_failures_total", None, "Questions to Redis that were not answered.");
        metrics.describe("claviger_redis_up", None, "1 while there is a connection to Redis, else 0.");
        Ok(Arc::new(Self {
            client: ArcSwap::from_pointee(address.client()?),
            prefix: address.prefix.clone(),
            connection: ArcSwapOption::empty(),
            broken: Notify::new(),
            came_up: Notify::new(),
            took: metrics.histogram("claviger_redis_seconds", &[]),
            failures: metrics.counter("claviger_redis_failures_total", &[]),
            up: metrics.gauge("claviger_redis_up", &[]),
        }))
    }

    /// Connects by this from the next time on: another password, other roots. One that is none changes nothing.
    pub fn use_address(&self, address: &Address) {
        if let Ok(client) = address.client() {
            self.client.store(Arc::new(client));
        }
    }

    /// What all our keys start with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether there is a connection.
    pub fn is_up(&self) -> bool {
        self.connection.load().is_some()
    }

    /// Waits for a connection.
    pub async fn up(&self) {
        loop {
            let came_up = self.came_up.notified();
            if self.is_up() {
                return;
            }
            came_up.await;
        }
    }

    /// One command's answer.
    ///
    /// # Errors
    /// [`RedisError`], at once where there is no connection and within two seconds where there is.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        self.through(async |mut connection| command.query_async(&mut connection).await).await
    }

    /// The answers of several, in one round trip.
    ///
    /// # Errors
    /// As [`Redis::ask`].
    pub async fn ask_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, RedisError> {
        self.through(async |mut connection| commands.query_async(&mut connection).await).await
    }

    /// A connection of one's own, for a command that waits at Redis for up to `patience`.
    ///
    /// # Errors
    /// As [`Redis::ask`].
    pub async fn connect(&self, patience: Duration) -> Result<impl ConnectionLike + Debug + use<>, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE + patience));
        Ok(self.client.load_full().get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// Connects, and connects again whenever the connection breaks; never ends. The connection lives on the runtime that
    /// this runs on.
    pub async fn stay_connected(&self) {
        let (mut rest, mut is_first) = (FIRST_REST, true);
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        loop {
            match self.client.load_full().get_multiplexed_async_connection_with_config(&config).await {
                Ok(connection) => {
                    self.connection.store(Some(Arc::new(connection)));
                    self.up.set(1.0);
                    self.came_up.notify_waiters();
                    tracing::info!("connected to redis");
                    (rest, is_first) = (FIRST_REST, true);
                    self.until_broken().await;
                    self.connection.store(None);
                    self.up.set(0.0);
                }
                Err(error) => {
                    self.failures.increment(1);
                    // said once an outage
                    if std::mem::take(&mut is_first) {
                        tracing::warn!(reason = %error, "redis can't be reached; trying again until it can");
                    }
                }
            }
            tokio::time::sleep(rest.mul_f64(0.75 + 0.5 * fastrand::f64())).await;
            rest = (rest * 2).min(LONGEST_REST);
        }
    }

    async fn until_broken(&self) {
        loop {
            tokio::select! {
                () = self.broken.notified() => return,
                // a connection that nobody uses is asked too, so that `is_up` is true of now
                () = tokio::time::sleep(PING_EVERY) => {
                    if self.ask::<String>(&cmd("PING")).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn through<T>(
        &self,
        ask: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, ::redis::RedisError>,
    ) -> Result<T, RedisError> {
        let Some(connection) = self.connection.load_full() else {
            self.failures.increment(1);
            return Err(RedisError::Gone);
        };
        let asked = Instant::now();
        let answer = ask(MultiplexedConnection::clone(&connection)).await;
        self.took.record(asked.elapsed().as_secs_f64());
        if let Err(error) = &answer {
            self.failures.increment(1);
            if error.is_timeout() || error.is_io_error() || error.is_unrecoverable_error() {
                self.give_up(&connection);
            }
        }
        Ok(answer?)
    }

    /// Lets nobody else wait on a connection that is broken, if it still is the one.
    fn give_up(&self, connection: &Arc<MultiplexedConnection>) {
        let there = self.connection.compare_and_swap(connection, None);
        if there.as_ref().is_some_and(|there| Arc::ptr_eq(there, connection)) {
            self.up.set(0.0);
            tracing::warn!("the connection to redis broke");
            self.broken.notify_one();
        }
    }
}

/// A URL of Redis without anything that is not an address: no secret (A36), and no switch that turns checking off.
fn connection_info(text: &str) -> Result<ConnectionInfo, AddressError> {
    let url = Url::parse(text).map_err(|_| AddressError::Url)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::Secret);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(AddressError::Url);
    }
    text.into_connection_info().map_err(|_| AddressError::Url)
}

impl Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.prefix).field("is_up", &self.is_up()).finish_non_exhaustive()
    }
}

/// For a connection, and for an answer: those who wait are people.
const PATIENCE: Duration = Duration::from_secs(2);
const PING_EVERY: Duration = Duration::from_secs(1);
const FIRST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str, ca: Option<&str>) -> Address {
        let (username, password) = (Some("claviger".to_owned()), Some(Secret::new("canary")));
        Address { url: url.to_owned(), username, password, ca: ca.map(Into::into), prefix: "claviger:".to_owned() }
    }

    #[test]
    fn an_address_holds_no_secret_and_turns_nothing_off() {
        for (url, ca, fits) in [
            ("rediss://redis.example.com", None, true),
            ("redis://127.0.0.1:6379/2", None, true),
            ("unix:/run/redis.sock", None, true),
            ("http://redis.example.com", None, false),
            ("redis.example.com:6379", None, false),
            ("rediss://:canary@redis.example.com", None, false),
            ("rediss://redis.example.com/#insecure", None, false),
            ("unix:/run/redis.sock?pass=canary", None, false),
            ("rediss://redis.example.com", Some("no certificate"), true), // a file without one believes nobody
            ("redis://127.0.0.1", Some(""), false),
        ] {
            let built = address(url, ca).check();
            assert_eq!(built.is_ok(), fits, "{url}: {built:?}");
        }
        let redis = Redis::new(&address("redis://127.0.0.1", None), &Metrics::new()).unwrap();
        assert!(!format!("{redis:?} {:?}", address("redis://127.0.0.1", None)).contains("canary"));
    }

    #[tokio::test]
    async fn without_a_connection_nobody_waits() {
        let redis = Redis::new(&address("redis://127.0.0.1:1", None), &Metrics::new()).unwrap();
        assert!(matches!(redis.ask::<()>(&cmd("PING")).await, Err(RedisError::Gone)));
    }
}
