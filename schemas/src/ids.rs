//! What may a name be? Short printable text, so that it can be a file name's part, a log field and a key without surprises.
//!
//! Catalog names are strict. Attributes that producers choose (`source`, `id`, `subject`) are not names:
//! CloudEvents allows any text there, so they are only bounded (see [`crate::limits`]) and always encoded with their length.

use std::fmt;
use std::sync::Arc;

/// Long enough for a UUID with a prefix; short enough for every column that will ever hold it.
pub const NAME_BYTES_MAX: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name is empty; give it 1 to {NAME_BYTES_MAX} characters")]
    Empty,
    #[error("a name has {bytes} bytes; at most {NAME_BYTES_MAX} are allowed")]
    TooLong { bytes: usize },
    #[error("the name `{name}` has the character {found:?}; allowed are letters, digits and `-_.:/@`")]
    Character { name: String, found: char },
}

fn checked(name: &str) -> Result<Arc<str>, NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { bytes: name.len() });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:/@".contains(c);
    match name.chars().find(|c| !allowed(*c)) {
        Some(found) => Err(NameError::Character { name: name.escape_debug().to_string(), found }),
        None => Ok(name.into()),
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// # Errors
            /// [`NameError`] when the text is not a name.
            pub fn new(name: &str) -> Result<Self, NameError> {
                checked(name).map(Self)
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )+};
}

names! {
    /// Whose events these are. Taken from the API key or the command line, never from the event.
    TenantId,
    /// Who pays.
    CustomerId,
    MeterId,
    SubscriptionId,
    RateCardId,
    /// Who sells: the company whose books the journal entry goes into.
    LegalEntityId,
    PostingRuleId,
    /// An account of the ERP's chart of accounts, such as `4000` or `revenue:usage`.
    AccountCode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_printable_text() {
        assert!(TenantId::new("acme-eu.prod").is_ok());
        assert_eq!(TenantId::new(""), Err(NameError::Empty));
        assert_eq!(TenantId::new(&"x".repeat(129)), Err(NameError::TooLong { bytes: 129 }));
        for bad in ["a b", "a\0b", "ä", "a\n"] {
            assert!(matches!(TenantId::new(bad), Err(NameError::Character { .. })), "{bad:?}");
        }
    }
}
