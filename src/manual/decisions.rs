//! What was decided, when, and what was rejected; so that nobody has to guess, and everybody may decide anew.
//!
//! # 2026-11: One package
//!
//! A library and a binary in one package, rooms as modules, and the arrows between them kept by a test.
//! *Rejected:* a workspace of crates. Each would need a public face before its shape is known. A room becomes a crate
//! when someone outside wants it alone, when it needs C or `unsafe` of its own, or when building gets slow for it.
//!
//! # 2026-11: A runtime of one thread for each worker, and our own pool
//!
//! Every worker has a single-threaded runtime, takes its share of connections, and keeps its own connections upstream,
//! so that a request never changes threads. *Rejected:* one work-stealing runtime with a shared pool: for requests of
//! a few microseconds the stealing and the pool's lock cost more than the work. The price is that one slow
//! computation delays its neighbours; signing large bodies and password hashes are what to watch.
//!
//! # 2026-11: Freshness is judged by our clock
//!
//! The broker keeps each entry's end and looks at the wall clock at every hit; moka bounds the number of entries and does
//! nothing else. *Rejected:* moka's expiry, which runs by a monotonic clock: after a laptop slept it hands out keys that
//! ended hours ago. *Rejected:* moka's single flight: what is asked for one caller must outlive that caller, serve as a
//! renewal in the background, and be dropped when the last holder goes.
//!
//! # 2026-11: The key of a cache entry is the whole question
//!
//! A `Grant` holds everything STS would see, and is the key as it is. *Rejected:* keys put together by hand, from which
//! others have left out the role or the host, or joined two fields so that two people met (A27).
//!
//! # 2026-11: Endpoints ask before they are asked
//!
//! An endpoint's credentials are asked for when its workload has a token, and renewed whether or not anybody asks: SDKs
//! wait for one or two seconds, and an orchestrator that waits for `/readyz` shall start an app that finds its keys. The
//! price is a call in some forty minutes for each role of an idle sidecar. *Rejected:* asking when the first SDK does:
//! the instance metadata service is asked once and waited for one second.
//!
//! # 2026-11: Session tokens of the metadata service are sealed times
//!
//! A token says until when it is good, sealed under a key of the endpoint's own that no disk has. *Rejected:* a table of
//! those that were issued: whoever can connect could fill it, and throw others' out.
//!
//! # 2026-11: Our own keys come from one place
//!
//! Where `assume_role` finds claviger's own keys is decided once, by the variables that name a place. *Rejected:* going on
//! to the next place when one fails: a passing outage of the container endpoint would make us the machine it runs on.
//! *Rejected:* the SDK's own chain, which brings profiles, a second way out and addresses that the guard against A19 does
//! not see.
//!
//! //! # 2026-11: Our tokens are signed with ES256
//!
//! STS takes RSA and ECDSA alike (AssumeRoleWithWebIdentity, `WebIdentityToken`). A P-256 key is made in microseconds, a
//! signature is 64 bytes in a token that travels in a query, and signing costs a tenth. *Rejected:* RS256, which every
//! service takes; one that takes nothing else would be the reason for a second signer. Deterministic signatures were
//! not asked for either, so what is signed is tested by verifying it.
//!
//! # 2026-11: What upstreams are told is signed by another issuer than what STS is told
//!
//! Identity JWTs have the public URL for an issuer, minted tokens a path below it, and a key in both is refused: an
//! upstream could else be the person at AWS with what it is given. The public URL has no discovery document of ours, so
//! that no STS can be made to believe it. `aud` is the upstream's origin unless it is written down. *Rejected:* the host
//! that was asked for, which several upstreams may share behind different paths, and which a request chooses.
//!
//! # 2026-11: A role is chosen in the session, and asked of the policy every time
//!
//! The session keeps a name for each route, and the policy alone says whether there is such a role and whose it is. A
//! program names one in a header, which wins. A role of others and one that does not exist are answered alike.
//! *Rejected:* a cookie for the choice, which other hosts of a domain can set; a role in the path, which upstreams would
//! have to know of.
//!
//! # 2026-11: A rejected credential ends the search
//!
//! A source says one of three things: not mine, mine and bad, mine and good. After *mine and bad* nobody else is asked,
//! and two *mine and good* are 400. *Rejected:* the first that succeeds, which forgives a forged token for the cookie
//! beside it.
//!
//! # 2026-11: A certificate is presented like anything else
//!
//! A client certificate belongs to the connection, and a browser shows it without being asked by the app. Beside a ticket
//! or a token it is nevertheless one too many, and 400, where the route counts both; the route that means people names
//! its sources (`identity = ["corp"]`), and a listener that only wants to know the device asks for certificates without
//! any `kind = "mtls"`. *Rejected:* letting the ticket win, by which whoever has a colleague's cookie is them although
//! the connection says otherwise; letting the certificate win, by which nobody with a device certificate could log in.
//!
//! # 2026-11: A token for several audiences need not be made for us
//!
//! An ID token with several audiences must have been issued to us (`azp`). An access token is shown by others, so it need
//! only say to whom it was issued (`azp` or `client_id`), and the section can say who that may be. *Rejected:* the rule
//! for ID tokens, by which no service account of providers that always add an audience of their own could come.
//!
//! # 2026-11: Tables of kinds instead of registration
//!
//! A kind is a file and a line in a list that anyone can read. *Rejected:* one enum with a match in each place;
//! registration at link time, whose order nobody chose; a macro that would hide modules from the formatter.
//!
//! # 2026-11: Every error of a config in one go
//!
//! What does not fit is taken out and the rest is read again. *Rejected:* stopping at the first error, which makes a
//! person start the check ten times; and a reader of our own for each section, which is twice the code of the shapes.
//!
//! # 2026-11: SAML by C, behind a guard of our own
//!
//! Signatures are verified by xmlsec1 over libxml2 (samael's binding), which providers' documents have been tried on for
//! twenty years. They read broken XML in recovery mode, fetch what a reference names, and verify nothing where metadata
//! has no certificate: so a linear scan and a strict reader go before, certificates are always pinned, and what is
//! believed is the bytes that were hashed, which must say what the strict reader read. What we sign is written in
//! canonical form and signed without C. The strict reader is roxmltree. *Rejected:* quick-xml, whose events leave the
//! matching of tags, prefixes and attributes to us. *Rejected:* a SAML library in Rust alone: young, of one author, and
//! with an XML parser of its own; it is good for a second opinion. *Rejected:* samael's own flow, which parses what was
//! verified a second time, knows two content ciphers, and can't open what was signed before it was encrypted.
//!
//! # 2026-11: What is sent again, and what is not
//!
//! A request goes out a second time where nothing of it was sent, or where the upstream says that it has not looked at
//! it (REFUSED_STREAM, GOAWAY). There is one exception: an idempotent one with its body at hand, on a *pooled* HTTP/1
//! connection that ends without a byte of an answer. Upstreams close idle connections whenever they please, and whether
//! that close and our request crossed on the way can't be known; RFC 9110 §9.2.2 lets a proxy repeat just that.
//! A body that comes in pieces is not sent again, even where the upstream refused its stream: the connection asks for the
//! first piece as soon as there is a stream, so that hardly any is still whole by then, and to have that one back every
//! upload would pay for a place that both sides can reach. *Rejected:* no exception, with which readers see 502 for every
//! restart of an app. *Rejected:* repeating what a fresh connection lost, or on timeouts, or by status: all of these were
//! read by somebody.
//!
//! # 2026-11: Where no address is well, all are tried
//!
//! What we know of an address is old by a moment, and an answer is worth more than our opinion; a refused connection
//! costs little. *Rejected:* 503 at once, which turns a wrong health check into an outage.
//!
//! # 2026-11: An idle connection is taken apart
//!
//! hyper keeps two buffers and its state for each HTTP/1 connection, and most connections are idle. After a second without
//! a request the engine is dropped, the stream is kept, and the next bytes put it together again: our own reader of the
//! framing knows that nothing of the connection is anywhere else. *Rejected:* smaller buffers, which every request would
//! pay for; and a codec of our own, which is where requests are smuggled.
//!
//! # 2026-11: A full house is said at the door
//!
//! Connections, requests and memory have a most, and who comes after it is turned away by the server, before a handler
//! spends anything. Past 92 % of memory a few requests at a time are still served: an allocator may keep what was freed,
//! and a proxy that waits for it to come back would never open again. *Rejected:* queues, in which everybody waits until
//! nobody is interested in the answer.
//!
//! # 2026-11: A posted login arrives by a step of our own
//!
//! A SAML provider's page posts its answer here from another site, and with such a form browsers send cookies of
//! `SameSite=None` alone. So the login's own cookie is that, sealed and for ten minutes; the ticket stays `Lax`. The answer
//! is verified at once, and whom it signs in is kept under a code for half a minute, for which the same browser comes by a
//! redirect: with the ticket that it has, which is retired, and the count of its rounds. *Rejected:* a ticket that is
//! `SameSite=None`, which every site could use; a session begun by the POST itself, which would leave the one before it
//! alive and see loops where there are none. `SameSite=None` wants `Secure`, which Chrome and Firefox take from plain http
//! on loopback, and Safari does not: there `public_url` must be https.
//!
//! # 2026-11: A provider's entity ID is configured beside its metadata
//!
//! `issuer` is in the config even where the metadata would say it: a refresh can't make a source another provider's (A21),
//! aggregates need no key of their own, and a session's voucher is known before anything is fetched. *Rejected:* believing
//! whatever entity is found at the address.
//!
//! # 2026-11: Keys by a SAML response are not renewed: people log in anew, and are not asked
//!
//! STS takes a response for five minutes, and its keys live for hours. So the longest is asked for that all allow; how long
//! a role's sessions may be STS tells only by refusing, and what it gave once is remembered. When the keys have ended the
//! browser goes to the provider with IsPassive, which brings a new response and a new session, and is asked again without
//! where it would have to ask. *Rejected:* short keys asked for again with the same response, which end with it anyway;
//! asking for a new response ahead of time, which would send people away from pages that work.
