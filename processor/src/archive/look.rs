//! Are the archive files that the state lists still there, with the events that they should hold? It looks at names and
//! footers; the events themselves are read when someone traces them.

use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::files::{ArchiveError, Manifest};
use super::read::manifests;
use crate::store::KeyValue;

/// What a look at the archive found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesLookedAt {
    pub listed: u64,
    pub whole: u64,
    /// A sentence for each of the others, at most as many as asked for.
    pub faults: Vec<String>,
}

/// Opens each file that the state lists.
///
/// # Errors
/// [`ArchiveError`] when the state cannot be read. A file that cannot is a fault that is found.
pub fn look_at_files(
    store: &dyn KeyValue,
    folder: &Path,
    faults_max: usize,
) -> Result<FilesLookedAt, ArchiveError> {
    let mut found = FilesLookedAt::default();
    for (name, manifest) in manifests(store)? {
        found.listed += 1;
        match fault_of(&folder.join(&name), &manifest) {
            None => found.whole += 1,
            Some(fault) if found.faults.len() < faults_max => found.faults.push(format!("{name} {fault}")),
            Some(_) => {}
        }
    }
    Ok(found)
}

fn fault_of(path: &Path, manifest: &Manifest) -> Option<String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some("is missing".into()),
        Err(error) => return Some(format!("cannot be opened: {error}")),
    };
    let rows = match SerializedFileReader::new(file) {
        Ok(reader) => reader.metadata().file_metadata().num_rows(),
        Err(error) => return Some(format!("is damaged: {error}")),
    };
    let expected = manifest.events + manifest.ignored;
    (u64::try_from(rows) != Ok(expected)).then(|| format!("has {rows} rows instead of {expected}"))
}
