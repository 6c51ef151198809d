//! How does a file appear all at once or not at all? Temporary name, fsync, rename, fsync of the folder.
//!
//! Keeps: a file under its final name is complete and survives a power failure. A folder that was deleted is made again,
//! because what is delivered must not wait for someone who tidied up; what was in it is not.
//! Temporary names start with a dot, so that a reader's `*.ndjson` or `*.journal` never sees one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Failure;

const TEMPORARY_SUFFIX: &str = ".tmp";

/// Writes `folder/name`, replacing what was there.
///
/// # Errors
/// [`Failure::FileUnavailable`] while nothing has the final name yet, [`Failure::NotDurable`] when an fsync failed.
pub fn write(folder: &Path, name: &str, contents: &[u8]) -> Result<PathBuf, Failure> {
    let path = folder.join(name);
    let temporary = folder.join(format!(".{name}{TEMPORARY_SUFFIX}"));
    let create = || File::create(&temporary).and_then(|mut file| file.write_all(contents).map(|()| file));
    let created = create().or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            make_folder(folder)?;
            tracing::warn!(folder = %folder.display(), "the folder was missing; it was made again");
            create()
        }
        _ => Err(error),
    });
    let file = created.map_err(unavailable(&temporary))?;
    file.sync_all().map_err(not_durable(&temporary))?;
    fs::rename(&temporary, &path).map_err(unavailable(&path))?;
    sync_folder(folder)?;
    Ok(path)
}

/// Makes a folder, and those above it that are missing, durably.
fn make_folder(folder: &Path) -> io::Result<()> {
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && above != Path::new(".") => {
            make_folder(above)?;
            fs::create_dir(folder)?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    File::open(above)?.sync_all()
}

/// Makes renames in `folder` durable.
///
/// # Errors
/// [`Failure::NotDurable`]
pub fn sync_folder(folder: &Path) -> Result<(), Failure> {
    File::open(folder).and_then(|opened| opened.sync_all()).map_err(not_durable(folder))
}

/// Makes `folder`, and removes what a crash left behind between creating and renaming.
///
/// # Errors
/// [`Failure::FileUnavailable`] when the folder cannot be made, listed or cleaned.
pub fn open_folder(folder: &Path) -> Result<Vec<String>, Failure> {
    fs::create_dir_all(folder).map_err(unavailable(folder))?;
    let mut names = Vec::new();
    for found in fs::read_dir(folder).map_err(unavailable(folder))? {
        let name = found.map_err(unavailable(folder))?.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') && name.ends_with(TEMPORARY_SUFFIX) {
            fs::remove_file(folder.join(&name)).map_err(unavailable(folder))?;
        } else {
            names.push(name);
        }
    }
    Ok(names)
}

/// # Errors
/// [`Failure::FileUnavailable`]: a file of ours that exists cannot be read back.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(unavailable(path))
}

fn unavailable(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::FileUnavailable { path: path.into(), reason: error.to_string() }
}

fn not_durable(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::NotDurable { path: path.into(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_written_file_is_never_seen() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let half = folder.path().join(".b.ndjson.tmp");
        fs::write(&half, b"half").expect("written");
        assert_eq!(open_folder(folder.path()), Ok(vec![]));
        assert!(!half.exists(), "what a crash left behind is removed");
        write(folder.path(), "a.ndjson", b"whole\n").expect("written");
        assert_eq!(open_folder(folder.path()), Ok(vec!["a.ndjson".into()]));
        assert_eq!(read(&folder.path().join("a.ndjson")), Ok(b"whole\n".to_vec()));
    }

    #[test]
    fn a_folder_that_is_not_there_is_made_or_is_a_failure_to_repeat() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let missing = folder.path().join("a/b");
        let written = write(&missing, "a.ndjson", b"whole\n").expect("made");
        assert_eq!(read(&written), Ok(b"whole\n".to_vec()));
        let file = written.join("below a file");
        assert!(matches!(write(&file, "a", b""), Err(Failure::FileUnavailable { .. })));
    }
}
