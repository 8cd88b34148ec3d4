//! Each known attack on systems like this one, and what of ours answers it.
//!
//! Identity-aware proxies, OpenID providers, security token services and HTTP engines have been broken in ways that
//! come back under new names. Below each has a number. A line of code that answers one cites it, as in `(A19)`, and
//! so do tests, in their names or comments: `grep -rn A19 src tests` finds both. Where the answer is *not yet*, what
//! it would protect is not there yet either, unless the row says otherwise.
//!
//! # Requests
//!
//! | no. | attack | answer | where |
//! |---|---|---|---|
//! | A1 | A client sends the headers that tell an upstream who is signed in: in another case, twice, with `_` or `.` for `-`, or while the person lacks the claim that would overwrite them. | Every name that any injector vouches for is removed on every route, all spellings alike, before ours is set, and from what may follow the body as a trailer; so is what balancers say of client certificates (`X-Forwarded-Client-Cert` and its kin); a missing claim sets nothing. | `inject::Vouched`, `proxy::dress`, `proxy::trailers`, `inject::headers`, `inject::identity_jwt` |
//! | A2 | `Connection: close, X-Forwarded-User` makes the proxy drop its own header as hop-by-hop. | Hop-by-hop headers go first; what we set comes last. | `web::strip_hop_by_hop` |
//! | A3 | Request smuggling: lengths in two ways, odd transfer codings, bare line feeds, folded lines, none or two hosts. | What two readers could read in two ways is answered with 400, and the connection ends; what goes upstream is framed anew. | `server::framing`, `server::admission`, `upstream` |
//! | A4 | A tunnel that opens too early: an ignored `Upgrade` and pipelined bytes behind it; an `Upgrade` on a CORS preflight, which needs no login; h2c; CONNECT. | A tunnel only after the upstream's 101, never for a preflight and never to speak HTTP; CONNECT is 405. | `proxy::tunnel`, `proxy::dress`, `server::admission`, `upstream` |
//! | A5 | The path that is decided on is not the path that is sent: `..`, `%2e`, `//`, `;`, `%2f`, `#`. | One normal form for both; what has two readings is 400, unless the route tolerates it for an upstream that takes paths to the letter. | `policy::NormalPath`, `route::Rewrite` |
//! | A6 | `X-Forwarded-*` and their kin from anyone: another address, scheme, host or path. | Address and scheme are believed from configured peers only, by the socket's address, and an address that can't be read is answered with 400; the host is never taken from them; redirects, cookies and issuers come from `public_url`. | `proxy::Client`, `config::PublicUrl` |
//! | A28 | An upstream sets our cookie, or redirects to another host so that a signed request follows, or answers without an end. | Our cookie names, those of the OpenID provider among them, are removed both ways; redirects go to the client as they are. Heads, trailers, interim answers and frames without an end are bounded, and an answer to more than was asked ends the connection. | `session::strip_from_request`, `session::strip_from_response`, `provider::asked`, `proxy::dress`, `upstream` |
//! | A29 | A client brings a signature, date, token or presigned query of its own to be signed along. | They are removed and made afresh; other `x-amz-*` pass and are signed; chunks that a client signed are taken apart strictly and signed anew; only the route's upstream is ever signed for. | `inject::sigv4`, `sigv4`, `sigv4::chunked` |
//!
//! # Logins and sessions
//!
//! | no. | attack | answer | where |
//! |---|---|---|---|
//! | A7 | After the login, a redirect to anywhere. | A path here, or a host that a route names, by its name or as one label under a wildcard, never by `*`; asked again when the redirect is made; all else is the start page. Redirect URIs at our provider are compared as text. | `sign_in::target`, `route::Routes::names_host`, `provider::client` |
//! | A8 | A login begun by one browser ends in another; answers of one provider shown as another's; codes used twice. | State, nonce and PKCE, tied to a sealed cookie of the browser that began; `iss` of RFC 9207; each state once. A session is handed over only to hosts that a route names: under `*` nobody logs in. | `sign_in`, `route::Routes::names_host`, `identity::oidc` |
//! | A9 | A cookie changed, cut, extended, recombined, overheard, or used after logout. | A ticket is 256 random bits and is known by the hash of itself and its host, so it opens nothing on another; what is sealed is bound to its purpose field by field, under a key that is refused where it is short; plain http is for loopback addresses and hosts; logout ends it here. | `session::ticket`, `secret::seal`, `config::keys`, `config::listen` |
//! | A10 | A cookie set by a neighbouring domain; a session fixed before the login. | `__Host-` wherever `public_url` is https; of several values each is tried; a login always makes a new ticket. | `session::cookies`, `session::keeper` |
//! | A11 | Markup in an error, a name, a label. | Templates escape, and the content policy allows no script. | `web::page`, the templates |
//! | A12 | Forms, scripts, links and frames on other sites, siblings too, that act for the person; caches that show one person's answers to another. | Same-site cookies; on our own pages same-origin checks, no framing, no storing. On routes with a role another site gets nothing signed but links that only read, which the way back from a login needs; links of browsers without Fetch Metadata (before 2023) can't be told apart. Routes without a role leave it to the app. Personal answers that say nothing of caching are `private`. | `sign_in::leave`, `sign_in::roles`, `sign_in::navigation`, `web::page`, `proxy::cross_site`, `proxy::dress` |
//! | A21 | One person passes for another across providers, or by an e-mail address nobody verified or with two `@`. | A subject is a source and that source's `sub`, never joined and never an address; only verified addresses with one `@` count. | `identity::Subject`, `identity::email` |
//! | A34 | Someone is disabled and goes on. | The session ends when the provider refuses to renew it, its credentials with it; claims are those of the last renewal. Until then what was issued lasts: the bound is the life of the provider's tokens. | `session::renewal`, `broker`, `provider::token` |
//!
//! # Tokens, keys and the way out
//!
//! | no. | attack | answer | where |
//! |---|---|---|---|
//! | A18 | `alg: none`, HMAC under a public key, keys in the header, `exp` as a text, several audiences, an issuer that is almost ours. | The algorithm is the key's, never the token's wish; HMAC is not there; times are numbers; issuer and audience to the letter. Of a bearer token that claims our issuer any fault is 401, whatever else the request brings; it is read from one `Authorization` and from nowhere else. | `jose::token`, `jose::access_token`, `jose::key_set`, `identity::bearer` |
//! | A19 | Discovery that leads inside, a document without end, a trickle, a storm of unknown key ids. | 1 MiB, 5 s, no redirects, never nearer than the issuer itself, never link-local but where AWS gives this machine its own keys, and in clear text from nowhere else; one refetch in a cool-down; the last good set stays. | `fetch`, `jose::remote_issuer` |
//! | A20 | Claims that would become another role, session or tag in a template. | Every place has its character set, and what does not fit it is refused, not mended. Names of a cluster's objects are checked before that, and a `*` for a claim never stands for `:` or `/`. | `policy::template`, `arn`, `identity::kubernetes`, `identity::bearer` |
//! | A27 | Two people share a cache entry; a thousand first requests make a thousand calls. | The key is the whole grant, field by field; who waits shares one call. | `policy::Grant`, `broker` |
//! | A30 | At our STS, and where clients sign with keys of ours: forged signatures under each way to declare a body, stale dates, a body changed behind its signature, narrow credentials that widen themselves. | Every declared form is verified or refused; the last piece of a body is held until all of it is right, and no earlier success is passed on; a session can't issue itself more. | `sigv4::verify`, `sigv4::chunked`, `identity::sigv4`, `proxy::signed`, `authority` |
//! | A31 | Guessing passwords and names. | Argon2id for unknown names too; ever longer waits per name and address; one spelling of each name. | `users` |
//! | A35 | STS or the provider is gone for half an hour, and everyone asks. | What is good is served to its real end, by our clock; failures wait longer each time; refusals are not asked again at once. | `broker`, `jose::remote_issuer` |
//!
//! # Load, faults and neighbours
//!
//! | no. | attack | answer | where |
//! |---|---|---|---|
//! | A13 | HTTP/2: rapid resets, resets provoked from us, CONTINUATION, empty frames, PING and SETTINGS floods. | The engine's limits, set by us, and a budget for control frames. | `server::connection`, `server::frames` |
//! | A14 | Slow heads, slow bodies, silent connections, stalled handshakes. | A time for each, and the end of the connection; so many connections in all and from one address, so many requests on each, and rates for clients and people. | `server::watch`, `server::Limits`, `server::Crowd`, `rate` |
//! | A22 | A hostile page reaches a local port: DNS rebinding, simple requests, a foreign `Host` or `Origin`. | At endpoints for SDKs the host is the very address or `localhost`; what a browser says of itself (`Origin`, `Sec-Fetch-*`) is refused, with 403 and no body, before any token is looked at; there is no CORS. | `endpoint::guard` |
//! | A23 | A workload is made to fetch credentials for someone else by GET, or to pass a request on. | `imds` has version 2 alone: a token by PUT, sealed, of this process and endpoint; `X-Forwarded-For` and `Forwarded` are refused everywhere; answers pass no router. `container` has a token that only its clients can read. | `endpoint::imds`, `endpoint::guard`, `server::Listener` |
//! | A24 | Somebody else on the machine takes the port, or asks there. | Ports are bound for us alone, and one that is taken ends the start and names its holder; a Unix socket that is answered is never replaced. Clients show a token of 128 bits and more, or come by a socket whose other end the system knows. `imds` can ask for neither: whoever can connect is the workload. | `server::Listener`, `server::holder_of`, `endpoint::container` |
//! | A25 | Other users read keys at rest. | Kept keys are mode 0600, never followed through links, refused where others could read them; secrets come by reference, not by argument. A Unix socket is 0600 before anybody can connect, in folders that only root and we can write. *Not yet:* protection from core dumps. | `config::keys`, `built_in::SecretSource`, `server::Listener` |
//! | A26 | A neighbour with another's address or service account. | Endpoints are bound to loopback or to AWS's own link-local addresses, nowhere else, and share their port with nobody. A pod is known by its token alone, never by its address: the cluster's own signature, for our audience, bound to a pod, whose uid is part of the subject that keys are kept for. | `endpoint::place`, `server::Listener`, `identity::kubernetes` |
//! | A33 | A bad config at reload, or half of one. | A generation is whole or is not; the users file likewise. *Not yet:* reloading a running proxy. | `generation`, `users::file` |
//! | A36 | Secrets in logs, errors, metrics. | `Secret` does not print; other crates stay at `warn`; errors about secrets never quote; lines are JSON, so a line end is escaped. | `secret`, `telemetry`, `built_in` |
//! | A37 | No descriptors, no disk, a kill in the middle. | Accepting pauses and goes on; there are fewer connections than descriptors; requests are refused before memory ends; keys are written beside and renamed. | `server::accept`, `server::Crowd`, `server::mind_memory`, `config::keys` |
//!
//! # SAML
//!
//! What a provider signs is believed; all else in a message is an attacker's. The room [`saml`](crate::saml) answers. What
//! stands on the right is what refuses; the link leads to the door that it stands behind.
//!
//! `tests/support/saml_attacks` has each of these as documents, made anew with fresh keys. Each is posted to a whole claviger
//! (`tests/saml_logins/attack_documents.rs`), under strace where there is one: no document makes it open anything or call
//! anybody. Each is also shown to a second implementation that shares no code with ours (`tests/saml/second_opinion.rs`),
//! and where the two disagree, it is written there why ours is right. From the same documents the fuzzer goes on, under
//! AddressSanitizer because there is C behind the guard (`tests/fuzz/targets/saml.rs`).
//!
//! | no. | attack | answer | where |
//! |---|---|---|---|
//! | A15 | Signature wrapping (XSW 1 to 8; CVE-2025-47949, CVE-2025-54419, CVE-2025-54369, CVE-2025-46572): the signed element stays somewhere, another is read. | One assertion in the whole document, where the schema puts it; unique IDs, however the attribute is written; each signature covers its own parent. Identity is read from the bytes that were hashed and from nothing else. | [`saml::guard::response`](crate::saml::Guarded::new), [`saml::guard::unique_ids`](crate::saml::Guarded::new), [`saml::guard::placed_signatures`](crate::saml::Guarded::new), [`saml::xmlsec::digested`](crate::saml::verify()), [`saml::expected::accept`](crate::saml::Verified::accept) |
//! | A15 | Two assertions, of which the first, the last or the unsigned one counts (CVE-2022-41912, CVE-2020-27846, CVE-2020-29509, CVE-2020-15216, CVE-2026-33487, CVE-2026-25922, CVE-2026-9096). | A second one is refused, wherever it stands. | [`saml::guard::response`](crate::saml::Guarded::new) |
//! | A15 | No signature, a stripped one, a stranger's with their key in KeyInfo (CVE-2023-48703), metadata without a certificate. | Only pinned certificates count; with none nothing is believed, and metadata without one is refused. KeyInfo is read by nobody. | [`saml::guard::Guarded::new`](crate::saml::Guarded::new), [`saml::verify::signed`](crate::saml::verify()), [`saml::xmlsec::digested`](crate::saml::verify()), [`saml::guard::signature::unread`](crate::saml::Guarded::new), [`saml::metadata::Provider::read`](crate::saml::Metadata::read) |
//! | A15 | A signature that is good, over another element than the one that is read (CVE-2024-8698). | The signature's reference is its parent's ID; what was hashed is what is read. | [`saml::guard::signature::reference`](crate::saml::Guarded::new), [`saml::verify::is_what_was_read`](crate::saml::verify()) |
//! | A15 | Several SignedInfo or Reference, Object, Manifest (CVE-2025-29774, CVE-2025-29775); a DigestValue elsewhere (CVE-2024-45409); SHA-1, HMAC. | One shape of signature, element by element; SHA-2 with RSA or ECDSA. | [`saml::guard::signature::shape`](crate::saml::Guarded::new), [`saml::guard::signature::reference`](crate::saml::Guarded::new) |
//! | A15 | A canonicalisation that fails, and the digest of nothing (CVE-2025-66567, CVE-2025-66568). | Namespaces are absolute; what was hashed must say what was read. | [`saml::scan::is_absolute_uri`](crate::saml::Guarded::new), [`saml::verify::is_what_was_read`](crate::saml::verify()) |
//! | A15 | Parser differentials (CVE-2025-25291, CVE-2025-25292); texts cut by comments, CDATA or processing instructions (CVE-2017-11427, OneUptime #2988); encodings. | None of these is in a document that passes; texts are read whole; two readers must agree on every element. | [`saml::scan::scan`](crate::saml::Guarded::new), [`saml::scan::without_declaration`](crate::saml::Guarded::new), [`saml::tree::text`](crate::saml::Verified::accept), [`saml::same::same`](crate::saml::verify()) |
//! | A16 | References to URLs and files, XSLT, XPath, external entities: requests and computations before the verdict. | Refused by the guard before C sees them; and xmlsec1 has forgotten how to open anything. | [`saml::guard::signature::reference`](crate::saml::Guarded::new), [`saml::guard::signature::exclusive`](crate::saml::Guarded::new), [`saml::scan::plain`](crate::saml::Guarded::new), [`saml::xmlsec::ready`](crate::saml::verify()) |
//! | A16 | XML that costs: attributes and namespaces (RUSTSEC-2026-0194, RUSTSEC-2026-0195), depth, entities, size, a KeyInfo of thousands, a form of fields; a small message that inflates (CVE-2023-28119, CVE-2023-26483, CVE-2025-25293, CVE-2025-54572). | One linear scan with limits before any parser; a bound on the inflated bytes; few threads, a short queue. | [`saml::scan::MESSAGE`](crate::saml::Guarded::new), [`saml::guard::signature::unread`](crate::saml::Guarded::new), [`saml::binding::inflate`](crate::saml::Redirected::read), [`saml::binding::from_post`](crate::saml::from_post), [`sign_in::acs::posted`](crate::sign_in), [`saml::workers::Workers`](crate::saml::Workers::run) |
//! | A17 | An assertion for another party, address or request, of yesterday, of tomorrow, or with no such limits (CVE-2026-1190, CVE-2026-9098). | Status, Issuer, Destination, Recipient, Audience, Conditions, confirmation and times must be there and be ours. | [`saml::expected::response`](crate::saml::Verified::accept), [`saml::expected::conditions`](crate::saml::Verified::accept), [`saml::expected::bearer`](crate::saml::Verified::accept), [`identity::saml::answer::Rules::accept`](crate::identity::Login::finish) |
//! | A17 | An assertion twice, at another instance, in another browser, or in answer to another's request (CVE-2026-47201, CVE-2026-41577). | The request's ID, of 160 random bits, is kept in a sealed cookie of the browser that began, and the answer must name it; what a Response brings is fetched by that browser with a code that is good once; an assertion's ID is spent among all instances until it expires on the slowest of their clocks, no flood of logins under way pushes it out, and where that can't be done nobody is let in. Logins that nobody began count by opt-in only. | [`saml::build::fresh_id`](crate::saml::fresh_id), [`saml::expected::answers`](crate::saml::Verified::accept), [`sign_in::acs::come_for_it`](crate::sign_in), [`sign_in::callback::spend`](crate::sign_in), [`session::commons::Commons`](crate::session::Commons), [`identity::party::unsolicited`](crate::identity::Party::unsolicited) |
//! | A17 | An assertion that was made for AWS, or one for us, shown at the other. | Recipient and audience belong together; AWS's are accepted by opt-in, and only in answer to our own request. | [`identity::saml::answer::Rules::accept`](crate::identity::Login::finish) |
//! | A21 | A NameID of the same letters that another authority gave, or for another party. | Its qualifiers must be the provider and us where they are there; a source is one provider's entity ID and one of ours. | [`identity::saml::person::Mapping::name`](crate::identity::Login::finish) |
//! | | Logins under way that share state, so that one gets another's identity (CVE-2026-33544). | Each login is in a cookie of its own, and what it brings under a code of its own; two hundred at once are tried. | [`sign_in::underway::Underway`](crate::sign_in), [`sign_in::acs::Arrival`](crate::sign_in) |
//! | | A provider that ignores ForceAuthn or the wanted ways of proof. | What was wanted must stand in the assertion, with a time after the request. | [`identity::saml::answer::signed_in`](crate::identity::Login::finish), [`saml::expected::accept`](crate::saml::Verified::accept) |
//! | | Metadata that loses its certificates, has expired, or is replaced on the way. | It must be of the configured entity, by https or signed as pinned; what is bad never takes the place of good, and `/readyz` and the log say so. | [`identity::saml::provider::Pin::read`](crate::identity::IdentitySource::trouble), [`identity::saml::settings::SamlSettings::check_url`](crate::identity::Login::finish), [`saml::metadata::Metadata::read`](crate::saml::Metadata::read) |
//! | | Padding oracles, short ciphertexts that panic (GHSA-hwqm-qvj9-4jr2), keys by PKCS #1 v1.5. | OAEP and GCM; CBC by consent; lengths first; one error for all; what was encrypted is guarded and verified anew. A panic costs one message. | [`saml::decrypt::Envelope::open`](crate::saml::verify()), [`saml::decrypt::transport`](crate::saml::verify()), [`saml::guard::Guarded::decrypted`](crate::saml::Guarded::new), [`saml::workers::Workers::run`](crate::saml::Workers::run) |
//! | | Logout that nobody signed (GHSA-pcgw-qcv5-h8ch); queries with a field twice, or encoded anew. | There is no way to read an unverified LogoutRequest; the signature is over the query's own bytes. | [`saml::message::Leaving::read`](crate::saml::Leaving::read), [`saml::verify::verify_redirect`](crate::saml::verify_redirect), [`saml::binding::Redirected::read`](crate::saml::Redirected::read) |
//! | | Logouts for somebody else's login, of yesterday, or twice. | Of the logins that an index names only the named person's end, as several people's may bear it; the ticket of the browser that brings the message is left alone (A12); each request counts once, for five minutes. An answer counts where it answers a request of ours. | [`sign_in::single_logout::heed`](crate::sign_in), [`sign_in::single_logout::end_at_provider`](crate::sign_in) |
//! | | An ACS that is a script (CVE-2023-45683), or one of the requester's own; markup in a RelayState (CVE-2026-29191). | Only addresses that the party's metadata has, and only HTTP; the RelayState names a login and is looked up, and pages escape what they show. | [`saml::metadata::endpoints`](crate::saml::Metadata::read), [`saml::metadata::Party::consumer`](crate::saml::Party::consumer), [`sign_in::underway::underway`](crate::sign_in) |
//! | A10, A12 | A form of another site carries no `Lax` cookie, so a login by POST would not see the ticket that it replaces. | Only the login's own cookie is `SameSite=None; Secure`; the ticket stays `Lax`, and is set on a step of our own after the POST. | [`sign_in::acs::come_for_it`](crate::sign_in), [`session::cookies::CookieNames::set_for_posts`](crate::session::CookieNames::set_for_posts) |
//!
//! # What is not here yet
//!
//! | no. | attack | what it is about |
//! |---|---|---|
//! | A32 | Injected filters and names, empty passwords, referrals, no TLS. | LDAP |
//!
//! # Cases from elsewhere that tests replay
//!
//! | case | what it was | ours |
//! |---|---|---|
//! | CVE-2025-64484, CVE-2026-39858, CVE-2026-54763, CVE-2024-45614 | identity headers spelled with `_` | A1 |
//! | CVE-2026-30851, CVE-2026-52845 | a client's header survives where the claim is missing | A1 |
//! | CVE-2025-48865 | `Connection` names what the proxy set | A2 |
//! | CVE-2026-2833, CVE-2026-71324 | tunnels before the 101; CONNECT | A4 |
//! | CVE-2025-4366 | what is left of a body becomes the next message | A3 |
//! | CVE-2023-33189, CVE-2026-33494, CVE-2026-40912, CVE-2026-26205, CVE-2026-41059 | decided path and sent path differ | A5 |
//! | CVE-2026-40575, CVE-2026-33495, CVE-2026-35051 | forwarded headers of strangers | A6 |
//! | CVE-2021-21291 | redirects elsewhere after the login | A7 |
//! | CVE-2026-28512, CVE-2026-9689 | redirect URIs read as URLs; parameters twice | A7 |
//! | CVE-2023-35941, CVE-2026-27840, CVE-2025-55162 | fields that shift under one MAC; a cut token; a cookie that is not cleared | A9 |
//! | CVE-2026-40574 | an address with two `@` | A21 |
//! | CVE-2021-41230, CVE-2026-43983 | claims and people of yesterday | A34 |
//! | CVE-2026-25537, CVE-2020-26160, CVE-2023-51774, CVE-2026-33322 | times as texts; audiences; encrypted for signed; HMAC under a public key | A18 |
//! | CVE-2022-29226 | any bearer token is taken for one | A18 |
//! | CVE-2025-23419 | a resumed TLS session brings a client's certificate back unseen | `tls`: no resumption where certificates count |
//! | CVE-2009-2408 | a NUL in a certificate's name | `identity::mtls` |
//! | CVE-2026-33496 | one flight for two keys | A27 |
//! | CVE-2026-40344, CVE-2026-41145, CVE-2025-62506, CVE-2024-24747 | signatures not looked at; sessions that widen | A30 |
//! | CVE-2020-15222, CVE-2026-55768, CVE-2024-23647, CVE-2026-33757 | codes twice, at another client, without their verifier; logins on devices without asking | A8 |
//! | CVE-2026-55670, CVE-2025-6004 | names that pass to others; counters per spelling | A31 |
//! | CVE-2023-44487, CVE-2025-8671, RUSTSEC-2026-0258 | floods of resets and frames | A13 |
//!
//! Versions of crates that are known to be vulnerable are refused by `deny.toml`.
