//! Is what was delivered as a file still there? It looks at the names that the receipts give, and at sizes.
//!
//! Keeps: memory is bounded by one file, because rows of a file follow one another. Deliberately absent: what the files
//! say; a receipt was given after its file was read back.

use std::path::{Path, PathBuf};

use tidemark_schemas::outbox::Destination;

use crate::http::metering::ReconciliationCheck;

/// Files that are named when they are missing; one that is lost is rarely alone.
pub const FAULTS_NAMED_MAX: usize = 10;

/// Where files should be that the state knows of.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    pub archive: Option<PathBuf>,
    /// Set when billing gets files.
    pub billing: Option<PathBuf>,
    /// Set when the ERP gets files.
    pub erp: Option<PathBuf>,
}

/// Delivered files that were looked for, one after the other.
pub struct Delivered<'a> {
    folder: &'a Path,
    /// The file whose rows come now, and their bytes so far.
    current: Option<(String, u64)>,
    expected: u64,
    found: u64,
    faults: Vec<String>,
}

impl<'a> Delivered<'a> {
    #[must_use]
    pub fn new(folder: &'a Path) -> Self {
        Self { folder, current: None, expected: 0, found: 0, faults: Vec::new() }
    }

    /// A row that was accepted under `reference` takes `bytes` of its file. References of another kind of destination,
    /// from before the configuration changed, name no file.
    pub fn row(&mut self, destination: Destination, reference: &str, bytes: u64) {
        let Some(name) = file_of(destination, reference) else { return };
        if let Some((current, size)) = &mut self.current
            && current == name
        {
            *size += bytes;
            return;
        }
        self.look();
        self.current = Some((name.to_owned(), bytes));
    }

    fn look(&mut self) {
        let Some((name, bytes)) = self.current.take() else { return };
        self.expected += 1;
        let fault = match std::fs::metadata(self.folder.join(&name)) {
            Ok(file) if file.len() >= bytes => {
                self.found += 1;
                return;
            }
            Ok(file) => format!("{name} has {} bytes, fewer than the {bytes} delivered in it", file.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!("{name} is missing"),
            Err(error) => format!("{name} cannot be looked at: {error}"),
        };
        if self.faults.len() < FAULTS_NAMED_MAX {
            self.faults.push(fault);
        }
    }

    #[must_use]
    pub fn check(mut self, name: &str) -> ReconciliationCheck {
        self.look();
        let looked = format!("looked at names and sizes in {}", self.folder.display());
        files(name, &looked, self.expected, self.found, &self.faults)
    }
}

/// Files that should be there and files that are.
#[must_use]
pub fn files(name: &str, looked: &str, expected: u64, found: u64, faults: &[String]) -> ReconciliationCheck {
    let mut note = looked.to_owned();
    for fault in faults {
        note.push_str("; ");
        note.push_str(fault);
    }
    let unnamed = (expected - found).saturating_sub(faults.len() as u64);
    if unnamed > 0 {
        note.push_str(&format!("; and {unnamed} more"));
    }
    let mut check = super::reconcile::check(name, "files", expected, found, 0);
    check.note = Some(note);
    check
}

/// The file that a receipt's reference names: `rated-….ndjson:LINE`, or `entries/….journal`.
fn file_of(destination: Destination, reference: &str) -> Option<&str> {
    let is_name = |name: &str| !name.is_empty() && !name.contains(['/', '\\']);
    match destination {
        Destination::Billing => {
            let (file, line) = reference.rsplit_once(':')?;
            let inner = file.strip_prefix("rated-")?.strip_suffix(".ndjson")?;
            (is_name(inner) && line.parse::<u64>().is_ok()).then_some(file)
        }
        Destination::Erp => {
            let inner = reference.strip_prefix("entries/")?.strip_suffix(".journal")?;
            is_name(inner).then_some(reference)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_references_of_files_name_one() {
        for (destination, reference, file) in [
            (Destination::Billing, "rated-1-2.ndjson:2", Some("rated-1-2.ndjson")),
            (Destination::Billing, "rated-1-2.ndjson", None),
            (Destination::Billing, "rated-../../x.ndjson:1", None),
            (Destination::Billing, "INV-7", None),
            (Destination::Erp, "entries/je_1.journal", Some("entries/je_1.journal")),
            (Destination::Erp, "entries/../je_1.journal", None),
            (Destination::Erp, "2026-0001", None),
        ] {
            assert_eq!(file_of(destination, reference), file, "{reference}");
        }
    }
}
