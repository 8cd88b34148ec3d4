//! AWS Signature Version 4: canonicalise, sign, verify.
