//! Which members of an event does someone want? Per event type, a tree of member names with slots at its ends.
//!
//! Keeps: equal paths share one slot, so a field that ten meters read is extracted once.
//! Searching a node is linear: a type's meters name a handful of members, and comparing a few short names
//! is faster than hashing each member of every event.

use hashbrown::HashMap;

/// The wanted paths of every event type.
#[derive(Debug, Default)]
pub struct Wanted {
    types: HashMap<Box<str>, WantedType, foldhash::fast::RandomState>,
}

/// The wanted paths of one event type.
#[derive(Debug)]
pub struct WantedType {
    /// Place of the type in the order in which the types were first named.
    pub index: usize,
    /// Number of distinct paths, and so of values per event.
    pub slots: usize,
    pub(super) root: Node,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    name: Box<str>,
    pub slot: Option<usize>,
    children: Vec<Node>,
}

impl Wanted {
    #[must_use]
    pub fn get(&self, event_type: &str) -> Option<&WantedType> {
        self.types.get(event_type)
    }

    #[must_use]
    pub fn types(&self) -> usize {
        self.types.len()
    }

    /// Makes the type known, even when no member of its events is wanted; returns its place.
    pub fn add_type(&mut self, event_type: &str) -> usize {
        self.entry(event_type).index
    }

    /// The slot of the value at `path` (member names from the top of the event) in events of this type.
    pub fn slot(&mut self, event_type: &str, path: &[String]) -> usize {
        let wanted = self.entry(event_type);
        let mut node = &mut wanted.root;
        for name in path {
            node = node.child_or_new(name);
        }
        let slot = *node.slot.get_or_insert(wanted.slots);
        wanted.slots = wanted.slots.max(slot + 1);
        slot
    }

    fn entry(&mut self, event_type: &str) -> &mut WantedType {
        let index = self.types.len();
        let new = || WantedType { index, slots: 0, root: Node::default() };
        self.types.entry_ref(event_type).or_insert_with(new)
    }
}

impl Node {
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| &*child.name == name)
    }

    fn child_or_new(&mut self, name: &str) -> &mut Self {
        let at = self.children.iter().position(|child| &*child.name == name).unwrap_or_else(|| {
            self.children.push(Self { name: name.into(), ..Self::default() });
            self.children.len() - 1
        });
        &mut self.children[at]
    }
}
