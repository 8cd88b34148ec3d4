//! The metrics at `/metrics` of the admin listener.
//!
//! A counter's name ends in `_total`, a histogram's in `_seconds`; the others are gauges. Each is there from the moment
//! on at which there is something to count. `tests/seeing` compares this table with what claviger shows.
//!
//! | metric | labels | what it says |
//! |---|---|---|
//! | `claviger_requests_total` | `route` `status` | Requests that were answered. |
//! | `claviger_request_seconds` | `route` `class` | From a request's head to its answer's head; the class is `2xx` to `5xx`. |
//! | `claviger_requests_under_way` | | Requests that are being answered, up to the end of their answers; those of `[provider]` and `[authority]` too. |
//! | `claviger_connections_total` | `listener` | Connections that were accepted. |
//! | `claviger_connections` | `listener` | Connections that are open. |
//! | `claviger_connections_parked` | `listener` | Those of them whose buffers are given back, as nothing is asked. |
//! | `claviger_refused_total` | `listener` `reason` | Connections and requests turned away before they were looked at: `connections`, `address`, `requests`, `memory`, `framing`, `malformed`, `ambiguous`, `method`, `head`, `frames`. |
//! | `claviger_timeouts_total` | `listener` `wait` | Connections cut for what they let us wait for: `first_byte`, `head`, `body`, `reader`, `close`. |
//! | `claviger_rate_limited_total` | `limit` | Requests answered with 429: `per_address`, `per_identity`, `login`. |
//! | `claviger_memory_bytes` | | Memory that this process has (its resident set). |
//! | `claviger_memory_limit_bytes` | | Memory that it may have; 0 where nothing limits it. |
//! | `claviger_tls_handshake_failures_total` | `listener` | TLS handshakes that failed or took too long. |
//! | `claviger_logins_total` | `outcome` | Logins that came back from a provider. |
//! | `claviger_sessions` | | Sessions kept in this process. |
//! | `claviger_sessions_started_total` | | Logins that became sessions. |
//! | `claviger_sessions_ended_total` | `why` | Sessions that ended in this process: `logout`, `idle`, `lifetime`, `provider`, `replaced`, `crowded`, `source_gone`, `revoked`, `unkept`, `elsewhere`. |
//! | `claviger_redis_up` | | 1 while there is a connection to Redis, else 0; only with `[session] kind = "redis"`. |
//! | `claviger_redis_seconds` | | How long Redis took for an answer. |
//! | `claviger_redis_failures_total` | | Questions to Redis that were not answered, and connections that could not be made. |
//! | `claviger_session_renewals_total` | `outcome` | Renewals of sessions' tokens. |
//! | `claviger_bearer_lookups_total` | `source` `verdict` | Bearer tokens of a source's issuer: verified less than a minute ago (`hit`) or not (`miss`). |
//! | `claviger_bearer_verifications_total` | `source` `outcome` | What became of the others: `verified`, `rejected`, `unavailable`. |
//! | `claviger_credentials_lookups_total` | `verdict` | Credentials that were asked for, and were at hand (`hit`) or not (`miss`). |
//! | `claviger_credentials_entries` | | Grants whose credentials are kept. |
//! | `claviger_credentials_issued_total` | `provider` `outcome` | Requests to credential providers: `issued`, `refused`, `evidence_expired`, `unavailable`. |
//! | `claviger_credentials_issue_seconds` | `provider` | How long a credential provider took. |
//! | `claviger_credentials_renewals_total` | `provider` `outcome` | Those of them that nobody waited for: `renewed`, `failed`. |
//! | `claviger_credentials_refusals_total` | `provider` `code` | Refusals of credential providers, by the code of their answer. |
//! | `claviger_endpoint_requests_total` | `endpoint` `verdict` | Requests at endpoints for SDKs, by what became of them: `served` (keys were handed out), `told` (the region and the like), `token`, `refused`, `unauthorized`, `unknown`, `failed`. |
//! | `claviger_endpoint_request_seconds` | `endpoint` | From such a request's head to its answer's head. |
//! | `claviger_endpoint_expiry_timestamp_seconds` | `endpoint` `role` | When the credentials end that are at hand at an endpoint, in seconds since the epoch. |
//! | `claviger_fetches_total` | `host` `outcome` | Requests to identity providers, key sets and collectors: the class of the answer, or `unreachable`, `out_of_bounds`, `too_large`. |
//! | `claviger_fetch_seconds` | `host` | How long such a request took with its answer. |
//! | `claviger_upstream_connections_total` | `upstream` | Connections that were opened to upstreams. |
//! | `claviger_upstream_connections` | `upstream` | Connections to upstreams that are open. |
//! | `claviger_upstream_connections_idle` | `upstream` | Those of them that wait in a worker's pool for a request. |
//! | `claviger_upstream_healthy` | `upstream` `address` | 1 where an upstream's address is well, 0 where checks or connecting say otherwise. |
//! | `claviger_reloads_total` | `outcome` | Reloads of the config: `reloaded`, `refused`. |
//! | `claviger_config_generation` | | Which config is in use; the first is 1. |
//! | `claviger_config_timestamp_seconds` | | Since when the config in use is in use, in seconds since the epoch. |
//! | `claviger_spans_total` | `outcome` | Spans of recorded traces: `sent`, `failed`, `dropped`. |
//! | `claviger_authority_calls_total` | `action` `code` | Calls of the built-in STS. |
