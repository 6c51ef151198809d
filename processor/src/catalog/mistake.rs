//! What is wrong in the catalog, and where? Mistakes with file, line and column, gathered without stopping at the first.
//!
//! Keeps: every mistake names its place, what is wrong there, and what is allowed. At most [`MISTAKES_MAX`] are
//! kept; how many more there are is counted, never hidden (I-9).

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;

use super::value::shown;

/// More than anyone reads in one sitting: a catalog with this many has one cause repeated, such as a renamed key.
pub const MISTAKES_MAX: usize = 10_000;

/// One thing to correct in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Name relative to the folder.
    pub file: String,
    /// From 1; 0 when a folder or a whole file is meant.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// `rate_card "std"`; empty outside an entry and for one without an id.
    pub entry: String,
    /// From the top of the file, indices from 0: `rate_card[0].version[1].charge[0].price`. Empty for the whole file.
    pub path: String,
    pub message: String,
    /// What is allowed, or what to do.
    pub help: String,
}

impl Mistake {
    /// One that has no line: a folder or a whole file cannot be read.
    pub(super) fn of_file(file: String, message: String, help: &str) -> Self {
        let (entry, path) = (String::new(), String::new());
        Self { file, line: 0, column: 0, entry, path, message, help: help.to_owned() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: ", self.file)?,
            line => write!(f, "{}:{line}:{}: ", self.file, self.column)?,
        }
        let within = if self.entry.is_empty() {
            &self.path
        } else {
            // The entry's name says more than its number: `rate_card "std" version[1]` for `rate_card[0].version[1]`.
            f.write_str(&self.entry)?;
            self.path.split_once('.').map_or("", |(_, rest)| rest)
        };
        if !self.entry.is_empty() && !within.is_empty() {
            f.write_str(" ")?;
        }
        f.write_str(within)?;
        if !self.entry.is_empty() || !within.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "; {}", self.help) }
    }
}

/// Everything that is wrong, ordered by file, line and column. Displays one mistake a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CatalogErrors {
    /// At least one.
    pub mistakes: Vec<Mistake>,
    /// How many more there are beyond [`MISTAKES_MAX`].
    pub omitted: usize,
}

impl fmt::Display for CatalogErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.mistakes.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        match self.omitted {
            0 => Ok(()),
            more => write!(f, "\nand {more} more; correct these first"),
        }
    }
}

/// One file of the catalog.
pub(super) struct Source<'a> {
    name: &'a str,
    text: &'a str,
    line_starts: OnceCell<Vec<usize>>,
}

impl<'a> Source<'a> {
    /// Editors on Windows put a byte order mark first; it is neither content nor a column.
    pub fn new(name: &'a str, text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { name, text, line_starts: OnceCell::new() }
    }

    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Line and column of a byte offset, both from 1.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let starts = self.line_starts.get_or_init(|| {
            let after_breaks = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(after_breaks.map(|(at, _)| at + 1)).collect()
        });
        let line = starts.partition_point(|start| *start <= offset);
        let before = self.text.get(starts[line - 1]..offset).unwrap_or("");
        (line, before.chars().count() + 1)
    }
}

/// Where something stands in the catalog.
#[derive(Clone, Debug)]
pub(super) struct Place {
    file: usize,
    /// Bytes from the start of the file, its byte order mark not counted.
    offset: usize,
    path: String,
    entry: Rc<str>,
}

impl Place {
    pub fn top(file: usize) -> Self {
        Self { file, offset: 0, path: String::new(), entry: "".into() }
    }

    #[must_use]
    pub fn at(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// The member `key` of the table at this place.
    #[must_use]
    pub fn member(&self, key: &str, offset: usize) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        let is_bare = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        // A stranger's key may hold anything, even a line break; a mistake stays on one line.
        let path = if is_bare {
            format!("{}{dot}{key}", self.path)
        } else {
            format!("{}{dot}\"{}\"", self.path, shown(key))
        };
        Self { file: self.file, offset, path, entry: Rc::clone(&self.entry) }
    }

    /// The element `index` of the array at this place.
    #[must_use]
    pub fn element(&self, index: usize, offset: usize) -> Self {
        let path = format!("{}[{index}]", self.path);
        Self { file: self.file, offset, path, entry: Rc::clone(&self.entry) }
    }

    /// This place and all below it belong to the entry `rate_card "std"`.
    pub fn belongs_to(&mut self, kind: &str, id: &str) {
        self.entry = format!("{kind} \"{}\"", shown(id)).into();
    }
}

/// The mistakes found so far. Shared by all readers of one catalog.
pub(super) struct Mistakes<'a> {
    sources: &'a [Source<'a>],
    found: RefCell<Vec<(Place, String, String)>>,
    omitted: Cell<usize>,
}

impl<'a> Mistakes<'a> {
    pub fn new(sources: &'a [Source<'a>]) -> Self {
        Self { sources, found: RefCell::default(), omitted: Cell::new(0) }
    }

    /// `message` says what is wrong, `help` what is allowed.
    pub fn add(&self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        let mut found = self.found.borrow_mut();
        if found.len() < MISTAKES_MAX {
            found.push((place.clone(), message.into(), help.into()));
        } else {
            self.omitted.set(self.omitted.get() + 1);
        }
    }

    /// `rates.toml:12:5`, to point from one mistake to another place.
    pub fn locate(&self, place: &Place) -> String {
        let source = &self.sources[place.file];
        let (line, column) = source.position(place.offset);
        format!("{}:{line}:{column}", source.name)
    }

    /// How many so far: whether searching for a better explanation is still worth its time.
    pub fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// Together with those of files that could not be read. `None` when there are none.
    pub fn into_errors(self, unreadable: Vec<Mistake>) -> Option<CatalogErrors> {
        let mut mistakes = unreadable;
        mistakes.extend(self.found.into_inner().into_iter().map(|(place, message, help)| {
            let source = &self.sources[place.file];
            let (line, column) = source.position(place.offset);
            let (file, entry) = (source.name.to_owned(), place.entry.to_string());
            Mistake { file, line, column, entry, path: place.path, message, help }
        }));
        if mistakes.is_empty() {
            return None;
        }
        // Stable: at one place, what was noticed first comes first.
        mistakes.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        Some(CatalogErrors { mistakes, omitted: self.omitted.get() })
    }
}
