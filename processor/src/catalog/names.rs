//! Which names are defined, and does every reference resolve? One register for all kinds of entries.
//!
//! Keeps: an id is defined once per kind. A kind is *open* when an entry or a file of it could not be read: then a
//! reference that does not resolve is no mistake of its own, only an echo of the one already reported.

use std::collections::{HashMap, HashSet};

use super::mistake::{Mistakes, Place};
use super::value::{Value, shown};

/// As many names as fit one line of a terminal.
const NAMES_SHOWN_MAX: usize = 8;

/// Of many names the nearest few: more are no suggestion.
const NEAR_SHOWN_MAX: usize = 3;

/// Letters that are one too many, missing or another; more make another word.
const SLIPS_MAX: usize = 2;

/// Beyond this many mistakes nobody reads suggestions, and each costs a pass over all names.
const SUGGESTIONS_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Meter,
    Customer,
    Subscription,
    RateCard,
    LegalEntity,
    PostingRule,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Meter,
        Self::Customer,
        Self::Subscription,
        Self::RateCard,
        Self::LegalEntity,
        Self::PostingRule,
    ];

    /// As it is written in the file: `[[rate_card]]`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meter => "meter",
            Self::Customer => "customer",
            Self::Subscription => "subscription",
            Self::RateCard => "rate_card",
            Self::LegalEntity => "legal_entity",
            Self::PostingRule => "posting_rule",
        }
    }
}

#[derive(Default)]
pub(super) struct Names {
    defined: HashMap<Kind, HashMap<String, Place>>,
    open: HashSet<Kind>,
    references: Vec<(Kind, String, Place)>,
}

impl Names {
    /// Whether the name was free.
    pub fn define(&mut self, kind: Kind, name: &str, place: Place, mistakes: &Mistakes<'_>) -> bool {
        let names = self.defined.entry(kind).or_default();
        if let Some(first) = names.get(name) {
            let message =
                format!("another {} has the id `{name}`, at {}", kind.name(), mistakes.locate(first));
            mistakes.add(&place, message, "give each its own id");
            return false;
        }
        names.insert(name.to_owned(), place);
        true
    }

    pub fn open(&mut self, kind: Kind) {
        self.open.insert(kind);
    }

    pub fn open_all(&mut self) {
        self.open.extend(Kind::ALL);
    }

    pub fn is_open(&self, kind: Kind) -> bool {
        self.open.contains(&kind)
    }

    pub fn is_defined(&self, kind: Kind, name: &str) -> bool {
        self.defined.get(&kind).is_some_and(|names| names.contains_key(name))
    }

    /// All ids of a kind, sorted.
    pub fn all(&self, kind: Kind) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.defined.get(&kind).into_iter().flatten().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names
    }

    /// Reads the id of another entry; whether it exists is known when all files are read.
    pub fn refer<T, E: std::fmt::Display>(
        &mut self,
        kind: Kind,
        value: &Value<'_>,
        new: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = value.text()?;
        let id = value.parsed(text, new)?;
        self.references.push((kind, text.to_owned(), value.place.clone()));
        Some(id)
    }

    /// Reports the references that do not resolve.
    pub fn resolve(&self, mistakes: &Mistakes<'_>) {
        for (kind, name, place) in &self.references {
            if self.is_open(*kind) || self.is_defined(*kind, name) {
                continue;
            }
            let message = format!("there is no {} `{name}`", kind.name());
            let help = if mistakes.count() < SUGGESTIONS_MAX {
                suggest(name, &self.all(*kind), kind.name())
            } else {
                format!("define it in a [[{}]]", kind.name())
            };
            mistakes.add(place, message, help);
        }
    }
}

/// All names when they fit a line, else the nearest ones.
pub(super) fn suggest(name: &str, all: &[&str], kind: &str) -> String {
    if all.is_empty() {
        return format!("the catalog has no {kind}; add a [[{kind}]]");
    }
    if all.len() <= NAMES_SHOWN_MAX {
        return format!("allowed: {}", all.iter().map(|one| shown(one)).collect::<Vec<_>>().join(", "));
    }
    let mut near: Vec<(usize, &str)> = all
        .iter()
        .map(|one| (distance(name, one), *one))
        .filter(|(distance, _)| *distance <= SLIPS_MAX)
        .collect();
    near.sort_unstable();
    let near: Vec<String> = near.iter().take(NEAR_SHOWN_MAX).map(|(_, one)| shown(one)).collect();
    if near.is_empty() {
        format!("allowed: one of the {} of the catalog", all.len())
    } else {
        format!("did you mean {}?", near.join(" or "))
    }
}

/// Levenshtein distance of two names (ASCII, at most 128 bytes each).
fn distance(left: &str, right: &str) -> usize {
    let right = right.as_bytes();
    if left.len().abs_diff(right.len()) > SLIPS_MAX {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
