//! Which bytes does a path stand for, and do they still begin as they did? Opening, decompressing, verifying.
//!
//! Keeps: whoever resumes has seen every byte before the position hash to the digest that was committed with it.
//!
//! Deliberately absent: a limit on the compression ratio. Decompression streams into bounded buffers, so a bomb costs
//! time and never memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{Opened, Position, SourceError};

/// Sequential reads this large run at the speed of the page cache.
const READ_BYTES: usize = 256 * 1024;

/// Bytes that arrive, and all that is known of those already consumed.
pub(super) struct Feed {
    pub name: String,
    pub bytes: Box<dyn Read + Send>,
    /// Covers the first `units` bytes.
    pub hasher: blake3::Hasher,
    pub units: u64,
    /// Line feeds among the first `units` bytes, so that line numbers go on after a restart.
    pub lines: u64,
    /// Records among the first `units` bytes.
    pub place: u64,
    pub total_units: Option<u64>,
}

impl Feed {
    /// Moves past `bytes`, which hold no more or less than `records` whole records.
    pub fn consume(&mut self, bytes: &[u8], records: u64) {
        self.hasher.update(bytes);
        self.units += bytes.len() as u64;
        self.place += records;
    }

    pub fn position(&self, complete: bool) -> Position {
        Position {
            units: self.units,
            place: self.place,
            prefix_digest: *self.hasher.finalize().as_bytes(),
            complete,
        }
    }

    pub fn read_failed(&self, cause: io::Error) -> SourceError {
        SourceError::Read { name: self.name.clone(), units: self.units, cause }
    }
}

/// The path for messages.
pub(super) fn display_name(path: &Path) -> String {
    if is_standard_input(path) { "standard input".into() } else { path.display().to_string() }
}

/// The file's name without `.gz` or `.zst`.
pub(super) fn uncompressed_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).map(str::to_owned).unwrap_or(name)
}

/// What `{file}` means in a mapping: the name without folder, compression and format.
pub(super) fn stem(path: &Path) -> String {
    if is_standard_input(path) {
        return "stdin".into();
    }
    let name = uncompressed_name(path);
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem.to_owned(),
        _ => name,
    }
}

pub(super) fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Opens a text file behind what `resume` covers, or at its start.
pub(super) fn open(path: &Path, resume: Option<&Position>) -> Result<(Feed, Opened), SourceError> {
    let Some(resume) = resume.filter(|_| !is_standard_input(path)) else {
        return Ok((open_at_start(path)?, Opened::Fresh));
    };
    let mut feed = open_at_start(path)?;
    if !consume_prefix(&mut feed, resume)? {
        return Ok((open_at_start(path)?, Opened::Replaced { before: resume.clone() }));
    }
    feed.place = resume.place;
    let at_end = is_at_end(&mut feed)?;
    let opened = match (at_end, resume.complete) {
        (true, true) => Opened::Unchanged { at: resume.clone() },
        // Reopened: the csv crate finds a byte order mark only if it comes in one read.
        _ if resume.units == 0 => return Ok((open_at_start(path)?, Opened::Fresh)),
        _ => Opened::Resumed { from: resume.clone() },
    };
    Ok((feed, opened))
}

pub(super) fn open_at_start(path: &Path) -> Result<Feed, SourceError> {
    let name = display_name(path);
    let (bytes, total_units) =
        open_bytes(path).map_err(|cause| SourceError::Open { name: name.clone(), cause })?;
    Ok(Feed { name, bytes, hasher: blake3::Hasher::new(), units: 0, lines: 0, place: 0, total_units })
}

fn open_bytes(path: &Path) -> io::Result<(Box<dyn Read + Send>, Option<u64>)> {
    if is_standard_input(path) {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(path)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        // Multi: `cat a.gz b.gz` and log rotation make files of several members.
        Some("gz") => Ok((Box::new(flate2::read::MultiGzDecoder::new(file)), None)),
        Some("zst") => Ok((Box::new(zstd::Decoder::new(file)?), None)),
        _ => {
            let metadata = file.metadata()?;
            let total = metadata.is_file().then_some(metadata.len());
            Ok((Box::new(file), total))
        }
    }
}

/// Whether the first bytes are the ones that `resume` covers; afterwards the feed stands behind them.
fn consume_prefix(feed: &mut Feed, resume: &Position) -> Result<bool, SourceError> {
    let mut buffer = vec![0; READ_BYTES];
    while feed.units < resume.units {
        let want = usize::try_from(resume.units - feed.units).unwrap_or(usize::MAX).min(buffer.len());
        match feed.bytes.read(&mut buffer[..want]) {
            Ok(0) => return Ok(false),
            Ok(read) => {
                feed.lines += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64;
                feed.consume(&buffer[..read], 0);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(feed.read_failed(error)),
        }
    }
    Ok(*feed.hasher.finalize().as_bytes() == resume.prefix_digest)
}

/// Looks one byte ahead, since sizes are unknown for compressed files. That byte then comes in a read of its own, so the
/// csv crate takes a mark inside a file for content, as it does in a run that is not interrupted.
fn is_at_end(feed: &mut Feed) -> Result<bool, SourceError> {
    let mut next = Vec::with_capacity(1);
    let read = feed.bytes.by_ref().take(1).read_to_end(&mut next).map_err(|error| feed.read_failed(error))?;
    let rest = std::mem::replace(&mut feed.bytes, Box::new(io::empty()));
    feed.bytes = Box::new(io::Cursor::new(next).chain(rest));
    Ok(read == 0)
}

/// The BLAKE3 digest of a whole file.
pub(super) fn digest_of(file: &mut File) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(*hasher.finalize().as_bytes()),
            Ok(read) => {
                hasher.update(&buffer[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
