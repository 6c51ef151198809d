//! Which members do events have? Mostly those of the event before, in the same order.
//!
//! Names are numbered as they are met, and each remembers which name came after it: where a reader stands before a name, it
//! compares the expected one as a single word, and only another one is searched. What the hashes of a name's values begin
//! with is kept beside it, and so is what the name means as an attribute.
//!
//! Deliberately absent: order as a promise. A wrong expectation costs a search, nothing else.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use tidemark_core::identity::{DeploymentKey, KeyedHasher};

use super::content::Kind;
use super::event::Attribute;
use super::json::{Invalid, Reader, WrittenName};

/// More than any producer's events have; an event of other names each time must not fill the memory.
const NAMES_MAX: usize = 4_096;

/// Number of a name, until the names are forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NameId(u32);

impl NameId {
    /// Stands before the names of the event's own members.
    pub const EVENT: Self = Self(0);

    /// One of 64, shared by few names.
    pub fn bit(self) -> u64 {
        1 << (self.0 % 64)
    }
}

pub(super) struct Names {
    key: DeploymentKey,
    all: Vec<Name>,
    /// Indices into `all`.
    index: HashTable<u32>,
    hashing: foldhash::fast::RandomState,
}

struct Name {
    text: Box<str>,
    written: Option<WrittenName>,
    attribute: Attribute,
    /// What the hash of a member with a value of this kind begins with.
    beginning: (Kind, KeyedHasher),
    /// The first name in the object that was the member's value.
    first_inside: NameId,
    /// The name that followed in the same object.
    next: NameId,
}

/// Where the expectation for the next name is kept.
#[derive(Clone, Copy)]
pub(super) enum Before {
    FirstIn(NameId),
    After(NameId),
}

impl Names {
    pub fn new(key: &DeploymentKey) -> Self {
        let mut names =
            Self { key: *key, all: Vec::new(), index: HashTable::new(), hashing: Default::default() };
        names.forget();
        names
    }

    /// Forgets all names when there are too many. Only between events: an event's names keep their numbers.
    pub fn bound(&mut self) {
        if self.all.len() > NAMES_MAX {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.all.clear();
        self.index.clear();
        // Not in the index: it is no member's name.
        self.push("");
    }

    pub fn text(&self, id: NameId) -> &str {
        &self.all[id.0 as usize].text
    }

    pub fn attribute(&self, id: NameId) -> Attribute {
        self.all[id.0 as usize].attribute
    }

    /// Reads a member's name and the colon.
    #[inline]
    pub fn read(&mut self, reader: &mut Reader<'_>, before: Before) -> Result<NameId, Invalid> {
        let expected = *self.expectation(before);
        match &self.all[expected.0 as usize].written {
            Some(written) if expected != NameId::EVENT && reader.takes_name(written) => Ok(expected),
            _ => self.read_unexpected(reader, before),
        }
    }

    fn read_unexpected(&mut self, reader: &mut Reader<'_>, before: Before) -> Result<NameId, Invalid> {
        let found = self.number(&reader.name()?);
        *self.expectation(before) = found;
        Ok(found)
    }

    fn expectation(&mut self, before: Before) -> &mut NameId {
        match before {
            Before::FirstIn(id) => &mut self.all[id.0 as usize].first_inside,
            Before::After(id) => &mut self.all[id.0 as usize].next,
        }
    }

    fn number(&mut self, name: &str) -> NameId {
        let hash = self.hashing.hash_one(name);
        if let Some(&index) = self.index.find(hash, |&index| *self.all[index as usize].text == *name) {
            return NameId(index);
        }
        let id = self.push(name);
        let Self { all, index, hashing, .. } = self;
        index.insert_unique(hash, id.0, |&index| hashing.hash_one(&*all[index as usize].text));
        id
    }

    fn push(&mut self, name: &str) -> NameId {
        let id = NameId(u32::try_from(self.all.len()).expect("an event has fewer names than bytes"));
        self.all.push(Name {
            text: name.into(),
            written: WrittenName::of(name),
            attribute: Attribute::named(name),
            beginning: (Kind::Text, beginning(&self.key, Kind::Text, name)),
            first_inside: NameId::EVENT,
            next: NameId::EVENT,
        });
        id
    }

    /// The hash of a member's name and the kind of its value, to go on with the value.
    #[inline]
    pub fn hasher(&mut self, id: NameId, kind: Kind) -> KeyedHasher {
        let name = &mut self.all[id.0 as usize];
        if name.beginning.0 != kind {
            name.beginning = (kind, beginning(&self.key, kind, &name.text));
        }
        name.beginning.1.clone()
    }
}

fn beginning(key: &DeploymentKey, kind: Kind, name: &str) -> KeyedHasher {
    let mut hasher = key.hasher();
    hasher.number(kind as u64);
    hasher.text(name);
    hasher
}
