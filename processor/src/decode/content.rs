//! What does an event say? One walk over its members gives the content digest and the wanted values.
//!
//! The digest does not depend on white space, on the order of members, on how a string is escaped or on how a
//! number is spelled; everything else in the event counts. Each member is hashed with its name under the
//! deployment's key, and the hashes of one object are added (wrapping): addition commutes, and without the key nobody
//! can find members whose sums agree. Elements of an array are hashed with their position.
//!
//! Keeps: duplicate members and nesting beyond [`DEPTH_MAX`] are faults, so the walk's stack is bounded.

use bumpalo::Bump;
use tidemark_core::identity::{DeploymentKey, KeyedHasher};
use tidemark_schemas::limits::DEPTH_MAX;

use super::fault::{self, Fault};
use super::json::{Reader, Value, decoded};
use super::names::{Before, NameId, Names};
use super::number::{Canonical, canonical};
use super::wanted::Node;
use crate::field_value::FieldValue;

/// Up to here comparing every pair of names beats sorting them.
const PAIRWISE_MEMBERS_MAX: usize = 16;

/// First word of every hash made here, so that no two kinds of content hash alike. The identity's hash begins with
/// the byte 1 and never meets these.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null = 2,
    False,
    True,
    ShortNumber,
    LongNumber,
    VerbatimNumber,
    Text,
    Array,
    Object,
}

/// Where a value stands in its container.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Member(NameId),
    /// Of an array that is the value of a member, or inside one.
    Element {
        of: NameId,
        at: u64,
    },
}

/// One walk. `'a` is the life of the text, `'w` of the buffers and the plan.
pub(super) struct Content<'w, 'a> {
    pub key: &'w DeploymentKey,
    pub reader: Reader<'a>,
    /// Where strings with escapes are decoded to.
    pub decoded: &'a Bump,
    pub names: &'w mut Names,
    /// Names of the members of all objects that are open, innermost last.
    pub open: &'w mut Vec<NameId>,
    /// One per slot of the event's type.
    pub found: &'w mut Vec<FieldValue<'a>>,
}

impl<'a> Content<'_, 'a> {
    /// Reads a member's name; it counts among those of the innermost open object.
    #[inline]
    pub fn name(&mut self, before: Before) -> Result<NameId, Box<Fault>> {
        let name = self.names.read(&mut self.reader, before)?;
        self.open.push(name);
        Ok(name)
    }

    /// Reads a value, or the opening bracket of one. Escapes are decoded.
    #[inline]
    pub fn begin_value(&mut self) -> Result<Value<'a>, Box<Fault>> {
        match self.reader.value()? {
            Value::Escaped(text) => Ok(Value::Text(self.decoded.alloc_str(&decoded(text)?))),
            value => Ok(value),
        }
    }

    /// Reads a value to its end and gives its hash; `node` is where the wanted paths below it begin.
    #[inline]
    pub fn value(&mut self, place: Place, node: Option<&Node>, depth: usize) -> Result<u64, Box<Fault>> {
        let value = self.begin_value()?;
        self.rest(place, value, node, depth)
    }

    /// The same for a value that [`Self::begin_value`] gave.
    #[inline]
    pub fn rest(
        &mut self,
        place: Place,
        value: Value<'a>,
        node: Option<&Node>,
        depth: usize,
    ) -> Result<u64, Box<Fault>> {
        let hash = match value {
            Value::Null => self.begin(Kind::Null, place),
            Value::Boolean(false) => self.begin(Kind::False, place),
            Value::Boolean(true) => self.begin(Kind::True, place),
            Value::Number(text) => self.number(place, text),
            Value::Text(text) | Value::Escaped(text) => {
                let mut hasher = self.begin(Kind::Text, place);
                hasher.text(text);
                hasher
            }
            Value::Array => self.array(place, depth + 1)?,
            Value::Object => self.object(place, node, depth + 1)?,
        };
        if let Some(slot) = node.and_then(|node| node.slot) {
            self.found[slot] = found(value);
        }
        Ok(hash.finish128() as u64)
    }

    fn array(&mut self, place: Place, depth: usize) -> Result<KeyedHasher, Box<Fault>> {
        check_depth(depth)?;
        let of = place.member();
        let (mut at, mut sum) = (0_u64, 0_u64);
        let mut more = self.reader.has_first(b']');
        while more {
            let hash =
                self.value(Place::Element { of, at }, None, depth).map_err(|fault| fault.in_element(at))?;
            sum = sum.wrapping_add(hash);
            at += 1;
            more = self.reader.has_next(b']')?;
        }
        Ok(self.container(Kind::Array, place, at, sum))
    }

    fn object(&mut self, place: Place, node: Option<&Node>, depth: usize) -> Result<KeyedHasher, Box<Fault>> {
        check_depth(depth)?;
        let (mut sum, first_name) = (0_u64, self.open.len());
        let mut before = Before::FirstIn(place.member());
        let mut more = self.reader.has_first(b'}');
        while more {
            let name = self.name(before)?;
            let below = node.and_then(|node| node.child(self.names.text(name)));
            let hash = self
                .value(Place::Member(name), below, depth)
                .map_err(|fault| fault.in_member(self.names.text(name)))?;
            sum = sum.wrapping_add(hash);
            before = Before::After(name);
            more = self.reader.has_next(b'}')?;
        }
        let count = self.close(first_name)?;
        Ok(self.container(Kind::Object, place, count, sum))
    }

    /// Ends the object whose names begin there, and gives how many they are.
    pub fn close(&mut self, first_name: usize) -> Result<u64, Box<Fault>> {
        let count = (self.open.len() - first_name) as u64;
        if !is_surely_distinct(&self.open[first_name..]) {
            let mut texts: Vec<_> =
                self.open[first_name..].iter().map(|name| self.names.text(*name)).collect();
            check_distinct(&mut texts)?;
        }
        self.open.truncate(first_name);
        Ok(count)
    }

    #[inline]
    fn number(&mut self, place: Place, text: &str) -> KeyedHasher {
        // Injective: an exponent stays far below 63 bits.
        let shape = |negative: bool, exponent: i64| (exponent as u64) << 1 | u64::from(negative);
        match canonical(text) {
            Canonical::Short { negative, digits, exponent } => {
                let mut hasher = self.begin(Kind::ShortNumber, place);
                hasher.number(shape(negative, exponent));
                hasher.number(digits);
                hasher
            }
            Canonical::Long { negative, digits, exponent } => {
                let mut hasher = self.begin(Kind::LongNumber, place);
                hasher.number(shape(negative, exponent));
                hasher.text(&digits);
                hasher
            }
            Canonical::Verbatim(text) => {
                let mut hasher = self.begin(Kind::VerbatimNumber, place);
                hasher.text(text);
                hasher
            }
        }
    }

    fn container(&mut self, kind: Kind, place: Place, count: u64, sum: u64) -> KeyedHasher {
        let mut hasher = self.begin(kind, place);
        hasher.number(count);
        hasher.number(sum);
        hasher
    }

    #[inline]
    fn begin(&mut self, kind: Kind, place: Place) -> KeyedHasher {
        match place {
            Place::Member(name) => self.names.hasher(name, kind),
            Place::Element { at, .. } => {
                let mut hasher = self.key.hasher();
                hasher.number(kind as u64 | 1 << 8);
                hasher.number(at);
                hasher
            }
        }
    }
}

impl Place {
    /// The innermost member around the value.
    fn member(self) -> NameId {
        match self {
            Self::Member(name) | Self::Element { of: name, .. } => name,
        }
    }
}

/// Whether no two of the names share a bit, and so none are equal.
fn is_surely_distinct(names: &[NameId]) -> bool {
    let mut seen = 0_u64;
    let is_new = |name: &NameId| {
        let bit = name.bit();
        let new = seen & bit == 0;
        seen |= bit;
        new
    };
    names.iter().all(is_new)
}

/// A fault when two of the names are equal. May reorder them.
pub(super) fn check_distinct<N: AsRef<str> + Ord>(names: &mut [N]) -> Result<(), Box<Fault>> {
    if let Some(name) = repeated(names) {
        let reason = format!(
            "the member `{}` appears more than once, so its value is ambiguous; send it once",
            fault::quoted(name)
        );
        return Err(Fault::new(fault::DUPLICATE_KEY, reason).in_member(name));
    }
    Ok(())
}

fn repeated<N: AsRef<str> + Ord>(names: &mut [N]) -> Option<&str> {
    if names.len() <= PAIRWISE_MEMBERS_MAX {
        let at = (1..names.len()).find(|&at| names[..at].contains(&names[at]))?;
        return Some(names[at].as_ref());
    }
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].as_ref())
}

fn check_depth(depth: usize) -> Result<(), Box<Fault>> {
    if depth > DEPTH_MAX {
        let reason =
            format!("objects and arrays are nested deeper than {DEPTH_MAX} levels; flatten the data");
        return Err(Fault::new(fault::TOO_DEEP, reason));
    }
    Ok(())
}

fn found(value: Value<'_>) -> FieldValue<'_> {
    match value {
        Value::Null => FieldValue::Null,
        Value::Boolean(value) => FieldValue::Boolean(value),
        Value::Number(text) => FieldValue::Number(text),
        Value::Text(text) | Value::Escaped(text) => FieldValue::Text(text),
        Value::Array | Value::Object => FieldValue::Structure,
    }
}
