//! What stands behind claviger: protocols, several addresses, sockets, certificates, limits.

mod bounds;
mod destinations;
mod grpc;
mod several;
