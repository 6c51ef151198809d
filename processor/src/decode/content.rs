//! What does an event say? One walk over its members gives the content digest and the wanted values.
//!
//! The digest does not depend on white space, on the order of members, on how a string is escaped or on how a
//! number is spelled; everything else in the event counts. Each member is hashed with its name under the
//! deployment's key, and the hashes of one object are added (wrapping): addition commutes, and without the key nobody
//! can find members whose sums agree. Elements of an array are hashed with their position.
//!
//! Keeps: duplicate members and nesting beyond [`DEPTH_MAX`] are faults, so the walk's stack is bounded.

use std::borrow::Cow;

use tidemark_core::identity::{DeploymentKey, KeyedHasher};
use tidemark_schemas::limits::DEPTH_MAX;

use super::fault::{self, Fault};
use super::json::{self, Value};
use super::number::{Canonical, canonical};
use super::wanted::Node;
use crate::field_value::FieldValue;

/// Up to here comparing every pair of names beats sorting them.
const PAIRWISE_MEMBERS_MAX: usize = 16;

/// First word of every hash made here, so that no two kinds of content hash alike. The identity's hash begins with
/// the byte 1 and never meets these.
#[derive(Clone, Copy)]
enum Kind {
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
enum Place<'p> {
    Member(&'p str),
    Element(u64),
}

/// One walk. `'a` is the life of the text, `'w` of the buffers and the plan.
pub(super) struct Content<'w, 'a> {
    pub key: &'w DeploymentKey,
    /// Names of the members of all objects that are open, innermost last.
    pub names: &'w mut Vec<Cow<'a, str>>,
    /// One per slot of the event's type.
    pub found: &'w mut [FieldValue<'a>],
}

impl<'a> Content<'_, 'a> {
    /// The hash of one member of the event itself; `node` is where the wanted paths below it begin.
    pub fn member(&mut self, name: &str, value: Value<'a>, node: Option<&Node>) -> Result<u64, Box<Fault>> {
        self.value(Place::Member(name), value, node, 0).map_err(|fault| fault.in_member(name))
    }

    fn value(
        &mut self,
        place: Place<'_>,
        value: Value<'a>,
        node: Option<&Node>,
        depth: usize,
    ) -> Result<u64, Box<Fault>> {
        let hash = match &value {
            Value::Null => self.begin(Kind::Null, place),
            Value::Boolean(false) => self.begin(Kind::False, place),
            Value::Boolean(true) => self.begin(Kind::True, place),
            Value::Number(text) => self.number(place, text),
            Value::Text(text) => {
                let mut hasher = self.begin(Kind::Text, place);
                hasher.text(text);
                hasher
            }
            Value::Array(text) => self.array(place, text, depth + 1)?,
            Value::Object(text) => self.object(place, text, node, depth + 1)?,
        };
        if let Some(slot) = node.and_then(|node| node.slot) {
            self.found[slot] = found(value);
        }
        Ok(hash.finish128() as u64)
    }

    fn array(&mut self, place: Place<'_>, text: &'a str, depth: usize) -> Result<KeyedHasher, Box<Fault>> {
        check_depth(depth)?;
        let (mut count, mut sum) = (0_u64, 0_u64);
        json::elements(text, |value| {
            let hash = self
                .value(Place::Element(count), value, None, depth)
                .map_err(|fault| fault.in_element(count))?;
            sum = sum.wrapping_add(hash);
            count += 1;
            Ok(())
        })?;
        Ok(self.container(Kind::Array, place, count, sum))
    }

    fn object(
        &mut self,
        place: Place<'_>,
        text: &'a str,
        node: Option<&Node>,
        depth: usize,
    ) -> Result<KeyedHasher, Box<Fault>> {
        check_depth(depth)?;
        let (mut count, mut sum, first_name) = (0_u64, 0_u64, self.names.len());
        json::members(text, |name, value| {
            let below = node.and_then(|node| node.child(&name));
            let hash = self
                .value(Place::Member(&name), value, below, depth)
                .map_err(|fault| fault.in_member(&name))?;
            sum = sum.wrapping_add(hash);
            count += 1;
            self.names.push(name);
            Ok(())
        })?;
        check_distinct(&mut self.names[first_name..])?;
        self.names.truncate(first_name);
        Ok(self.container(Kind::Object, place, count, sum))
    }

    fn number(&self, place: Place<'_>, text: &str) -> KeyedHasher {
        let digits = |kind, negative: bool, exponent: i64| {
            let mut hasher = self.begin(kind, place);
            // Injective: an exponent stays far below 63 bits.
            hasher.number((exponent as u64) << 1 | u64::from(negative));
            hasher
        };
        match canonical(text) {
            Canonical::Short { negative, digits: value, exponent } => {
                let mut hasher = digits(Kind::ShortNumber, negative, exponent);
                hasher.number(value);
                hasher
            }
            Canonical::Long { negative, digits: value, exponent } => {
                let mut hasher = digits(Kind::LongNumber, negative, exponent);
                hasher.text(&value);
                hasher
            }
            Canonical::Verbatim(text) => {
                let mut hasher = self.begin(Kind::VerbatimNumber, place);
                hasher.text(text);
                hasher
            }
        }
    }

    fn container(&self, kind: Kind, place: Place<'_>, count: u64, sum: u64) -> KeyedHasher {
        let mut hasher = self.begin(kind, place);
        hasher.number(count);
        hasher.number(sum);
        hasher
    }

    fn begin(&self, kind: Kind, place: Place<'_>) -> KeyedHasher {
        let mut hasher = self.key.hasher();
        match place {
            Place::Member(name) => {
                hasher.number(kind as u64);
                hasher.text(name);
            }
            Place::Element(index) => {
                hasher.number(kind as u64 | 1 << 8);
                hasher.number(index);
            }
        }
        hasher
    }
}

/// A fault when two of the names are equal. May reorder them.
pub(super) fn check_distinct(names: &mut [Cow<'_, str>]) -> Result<(), Box<Fault>> {
    if let Some(name) = repeated(names) {
        let reason = format!(
            "the member `{}` appears more than once, so its value is ambiguous; send it once",
            fault::quoted(name)
        );
        return Err(Fault::new(fault::DUPLICATE_KEY, reason).in_member(name));
    }
    Ok(())
}

fn repeated<'n>(names: &'n mut [Cow<'_, str>]) -> Option<&'n str> {
    if names.len() <= PAIRWISE_MEMBERS_MAX {
        let at = (1..names.len()).find(|&at| names[..at].contains(&names[at]))?;
        return Some(&names[at]);
    }
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| &*pair[0])
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
        Value::Number(text) => FieldValue::Number(Cow::Borrowed(text)),
        Value::Text(text) => FieldValue::Text(text),
        Value::Array(_) | Value::Object(_) => FieldValue::Structure,
    }
}
