//! The AWS SDK's STS client: our TLS, our endpoint, our timeouts.
