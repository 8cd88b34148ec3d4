//! What stands behind claviger: protocols, several addresses, sockets, certificates, limits.

mod bounds;
mod connections;
mod destinations;
mod grpc;
mod several;
