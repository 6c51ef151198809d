//! How does billing know that a webhook is ours and fresh? A Standard Webhooks signature.
//!
//! Source: Standard Webhooks specification 1.0.0 (standardwebhooks.com), "Signature scheme", symmetric:
//! `v1,` and the base64 HMAC-SHA256 of `id.timestamp.payload`. Several secrets sign side by side while one
//! replaces another. Keeps: a secret never appears in a log, an error or `Debug`.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::Sha256;

/// The specification asks for 24 to 64 random bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A shared secret, written `whsec_` and base64.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SigningSecret(Vec<u8>);

/// The text does not show the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("a signing secret does not begin with whsec_; copy it whole from the receiver's settings")]
    NoPrefix,
    #[error("a signing secret is not base64 after whsec_; copy it whole from the receiver's settings")]
    NotBase64,
    #[error(
        "a signing secret has {bytes} bytes; 24 to 64 are needed, such as from `openssl rand -base64 32`"
    )]
    Length { bytes: usize },
}

impl SigningSecret {
    /// # Errors
    /// [`SecretError`]
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.trim().strip_prefix("whsec_").ok_or(SecretError::NoPrefix)?;
        let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| SecretError::NotBase64)?;
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err(SecretError::Length { bytes: bytes.len() });
        }
        Ok(Self(bytes))
    }

    fn sign(&self, id: &str, timestamp: i64, payload: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.to_string().as_bytes());
        mac.update(b".");
        mac.update(payload);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl TryFrom<String> for SigningSecret {
    type Error = SecretError;

    fn try_from(text: String) -> Result<Self, SecretError> {
        Self::parse(&text)
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(redacted)")
    }
}

/// The value of `webhook-signature`: one signature for each secret, separated by spaces.
/// `timestamp` is in seconds since 1970, the value of `webhook-timestamp`.
#[must_use]
pub fn signatures(secrets: &[SigningSecret], id: &str, timestamp: i64, payload: &[u8]) -> String {
    secrets.iter().map(|secret| secret.sign(id, timestamp, payload)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// The example of the reference libraries (standard-webhooks/standard-webhooks, tests of every language).
    #[test]
    fn the_reference_example_has_the_reference_signature() {
        let secret = SigningSecret::parse(SPEC_SECRET).expect("a secret");
        let signed =
            signatures(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_sign_side_by_side() {
        let old = SigningSecret::parse(SPEC_SECRET).expect("a secret");
        let new = SigningSecret(vec![7; 32]);
        let both = signatures(&[old.clone(), new.clone()], "a", 1, b"x");
        let each = [signatures(&[old], "a", 1, b"x"), signatures(&[new], "a", 1, b"x")];
        assert_eq!(both.split(' ').collect::<Vec<_>>(), each);
    }

    #[test]
    fn secrets_are_checked_and_never_shown() {
        assert_eq!(SigningSecret::parse("MfKQ"), Err(SecretError::NoPrefix));
        assert_eq!(SigningSecret::parse("whsec_###"), Err(SecretError::NotBase64));
        assert_eq!(SigningSecret::parse("whsec_AAAA"), Err(SecretError::Length { bytes: 3 }));
        let shown = format!("{:?}", SigningSecret::parse(SPEC_SECRET).expect("a secret"));
        assert_eq!(shown, "SigningSecret(redacted)");
    }
}
