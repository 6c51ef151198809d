//! Which files are the catalog, and which version are they? Reading the folder, with a bound on everything.
//!
//! Keeps: the version is a function of names and texts, not of the folder's path, the files' times or their order.
//! One unreadable file does not hide another.

use std::fs;
use std::io::Read;
use std::path::Path;

use tidemark_schemas::catalog::CatalogVersion;

use super::mistake::{CatalogErrors, Mistake};

/// 100,000 customers with their subscriptions are about 40 MiB of TOML; more than that in one file is another file.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// All files together: a catalog is held in memory whole, as text and as values, while it is checked.
pub const CATALOG_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// One file per rate card or per sales region stays far below this.
pub const FILES_MAX: usize = 1_024;

/// What the folder holds.
#[derive(PartialEq, Eq)]
pub(super) struct Files {
    /// `(file name, text)`, sorted by name.
    pub texts: Vec<(String, String)>,
    /// Files that are no text of ours. They do not hide the mistakes of the others.
    pub unreadable: Vec<Mistake>,
}

impl Files {
    pub fn version(&self) -> CatalogVersion {
        version_of(self.texts.iter().map(|(name, text)| (name.as_str(), text.as_str())))
    }
}

/// Every visible `*.toml` directly in the folder. Links are followed: a mounted configuration map consists of links.
pub(super) fn files_of(folder: &Path) -> Result<Files, CatalogErrors> {
    let shown = folder.display().to_string();
    let alone = |message, help: &str| {
        let mistakes = vec![Mistake::of_file(shown.clone(), message, help)];
        CatalogErrors { mistakes, omitted: 0 }
    };
    let names = names_in(folder).map_err(|error| {
        let message = format!("the catalog's folder cannot be read: {error}");
        alone(message, "create the folder with one or more .toml files, or name another folder")
    })?;
    if names.is_empty() {
        let help = "add a file that ends in .toml and whose name does not begin with a dot";
        return Err(alone("the catalog's folder has no .toml file".to_owned(), help));
    }
    if names.len() > FILES_MAX {
        let message = format!("the catalog's folder has {} .toml files", names.len());
        return Err(alone(message, &format!("at most {FILES_MAX} are allowed")));
    }
    let mut files = Files { texts: Vec::with_capacity(names.len()), unreadable: Vec::new() };
    let mut bytes_left = CATALOG_BYTES_MAX;
    for name in names {
        match text_of(&folder.join(&name), bytes_left.min(FILE_BYTES_MAX)) {
            Ok(text) => {
                bytes_left -= text.len() as u64;
                files.texts.push((name, text));
            }
            Err((message, help)) => files.unreadable.push(Mistake::of_file(name, message, help)),
        }
    }
    Ok(files)
}

fn names_in(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ours = name.ends_with(".toml") && !name.starts_with('.');
        // A link to nowhere counts as a file, so that reading it says what is wrong.
        if is_ours && !entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn text_of(path: &Path, bytes_max: u64) -> Result<String, (String, &'static str)> {
    let readable = "make it a readable file or remove it";
    let unreadable = |error: std::io::Error| (format!("the file cannot be read: {error}"), readable);
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        let message = format!("the file has more than {bytes_max} bytes");
        return Err((
            message,
            "allowed: 64 MiB a file and 256 MiB for the whole catalog; split or shorten it",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        (format!("the file is not UTF-8 from line {line} on"), "save it as UTF-8")
    })
}

/// The first 16 hex digits of BLAKE3 over names and texts, each preceded by its length, so that the encoding is
/// injective. `files` are sorted.
pub(super) fn version_of<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> CatalogVersion {
    let mut hasher = blake3::Hasher::new();
    for part in files.flat_map(|(name, text)| [name, text]) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    CatalogVersion(hasher.finalize().to_hex()[..16].to_owned())
}
