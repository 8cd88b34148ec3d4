//! Keys, key sets, and signing and verifying JSON Web Tokens.
