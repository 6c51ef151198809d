//! Who calls? API keys of the form `tm_<id>_<secret>`, of which only a hash is stored.
//!
//! Keeps: every configured key is compared, each in constant time, so that timing tells neither which ids exist
//! nor how much of a secret was right. The secret is 256 random bits, so a fast hash is enough.
//! Deliberately absent: sessions and passwords. People come through a proxy that knows them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use tidemark_schemas::ids::TenantId;

use super::problem::{Kind, Problem};
use crate::config::{ApiKey, KeyHash, Role, Scope};

const PREFIX: &str = "tm_";

/// The longest id, the secret in base64url, and the separators; longer text is not hashed.
const KEY_BYTES_MAX: usize = 128;

/// Who makes a request, once that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Id of the API key, or `open` when none is configured.
    pub key_id: String,
    pub scope: Scope,
    pub roles: Vec<Role>,
}

/// The keys of this deployment.
#[derive(Debug)]
pub struct Keys {
    keys: Vec<ApiKey>,
    refused: Mutex<Refused>,
}

/// Keys that were refused. Whoever tries many fills a counter, not the log.
#[derive(Debug, Default)]
struct Refused {
    told_at: Option<Instant>,
    untold: u64,
}

/// A line in the log for the keys refused in so long.
const REFUSED_TOLD_EVERY: Duration = Duration::from_secs(1);

/// A new key: its text, shown once to its holder, and the hash to configure.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn new_key(id: &str) -> Result<(String, KeyHash), getrandom::Error> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let text = format!("{PREFIX}{id}_{}", BASE64_URL_SAFE_NO_PAD.encode(secret));
    let hash = hash(&text);
    Ok((text, hash))
}

fn hash(text: &str) -> KeyHash {
    KeyHash(Sha256::digest(text.as_bytes()).into())
}

impl Keys {
    #[must_use]
    pub fn new(keys: Vec<ApiKey>) -> Self {
        Self { keys, refused: Mutex::default() }
    }

    /// Without keys, every caller is the tenant `default` with all roles; the configuration allows that on
    /// loopback only.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.keys.is_empty()
    }

    /// # Errors
    /// 401 when the request has no key or one that is not configured.
    pub fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        if self.is_open() {
            let tenant = TenantId::new("default").expect("a constant that is a name");
            return Ok(Caller {
                key_id: "open".into(),
                scope: Scope::Tenant(tenant),
                roles: Role::ALL.to_vec(),
            });
        }
        let text = bearer(headers).ok_or_else(|| {
            unauthenticated(
                "send an API key as `Authorization: Bearer tm_<id>_<secret>`; the request has none",
            )
        })?;
        self.find(text).ok_or_else(|| {
            self.tell_refused(text);
            unauthenticated("the API key is not known here; check that it is whole and not withdrawn")
        })
    }

    /// Says which key was tried, when that is one of ours: what is no id here may be a secret in the wrong place.
    fn tell_refused(&self, text: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.told_at.is_some_and(|at| at.elapsed() < REFUSED_TOLD_EVERY) {
            refused.untold += 1;
            return;
        }
        let id = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).map(|(id, _)| id);
        let known = self.keys.iter().map(|key| key.id.as_str()).find(|known| Some(*known) == id);
        let untold = std::mem::take(&mut refused.untold);
        tracing::warn!(key = known.unwrap_or("unknown"), untold, "an API key was refused");
        refused.told_at = Some(Instant::now());
    }

    fn find(&self, text: &str) -> Option<Caller> {
        if text.len() > KEY_BYTES_MAX || !text.starts_with(PREFIX) {
            return None;
        }
        let offered = hash(text);
        let mut found = u32::MAX;
        for (index, key) in (0_u32..).zip(&self.keys) {
            found.conditional_assign(&index, key.hash.0.ct_eq(&offered.0));
        }
        let key = self.keys.get(usize::try_from(found).ok()?)?;
        Some(Caller { key_id: key.id.clone(), scope: key.scope.clone(), roles: key.roles.clone() })
    }
}

impl Caller {
    /// The scope of a query that may name one tenant.
    ///
    /// # Errors
    /// 400 when it is no name, 403 when it is another tenant than the key's.
    pub fn narrowed(&self, tenant: Option<&str>) -> Result<Scope, Problem> {
        let Some(name) = tenant else { return Ok(self.scope.clone()) };
        let asked = TenantId::new(name)
            .map_err(|error| Problem::new(Kind::InvalidRequest, format!("tenant: {error}")))?;
        match &self.scope {
            Scope::Tenant(own) if *own != asked => {
                let detail = format!("the API key `{}` is for the tenant `{own}` only", self.key_id);
                Err(Problem::new(Kind::Forbidden, detail))
            }
            _ => Ok(Scope::Tenant(asked)),
        }
    }

    /// # Errors
    /// 403 when the key has not the role.
    pub fn require(&self, role: Role) -> Result<(), Problem> {
        if self.roles.contains(&role) {
            return Ok(());
        }
        let has = self.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ");
        let detail = format!("the API key `{}` has the roles [{has}]; this needs `{role}`", self.key_id);
        Err(Problem::new(Kind::Forbidden, detail))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    // Two credentials: whichever is taken, a proxy in front may have checked the other.
    if values.next().is_some() {
        return None;
    }
    let (scheme, credential) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(Kind::Unauthenticated, detail)
        .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tidemark\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_found_by_its_text_and_by_nothing_else() {
        let (text, stored) = new_key("meters").expect("randomness");
        let key = ApiKey {
            id: "meters".into(),
            scope: Scope::Every,
            roles: vec![Role::Read],
            hash: KeyHash::parse(&stored.to_string()).expect("the printed form is the configured form"),
        };
        let (other, _) = new_key("meters").expect("randomness");
        let keys = Keys::new(vec![key]);
        assert_eq!(keys.find(&text).map(|caller| caller.key_id), Some("meters".into()));
        assert_eq!(keys.find(&other), None);
        assert_eq!(keys.find(&text[..text.len() - 1]), None);
        assert_eq!(keys.find(&text.to_lowercase()), None);
        assert_eq!(keys.find(""), None);
        assert_ne!(text, other);
    }
}
