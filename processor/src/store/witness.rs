//! Does the state that we opened hold everything that was ever promised? A second, tiny record of the last commit.
//!
//! A log of writes cannot tell "these bytes were never written" from "these bytes were lost", so a truncated log opens
//! without an error. The witness is a file of two slots outside that log (best on another disk), written
//! after each commit and before anyone is told of it. State older than the witness means that acknowledged events are
//! gone; state newer than it is the ordinary crash between the two writes.
//!
//! File: 8,192 bytes. Slot 0 at 0, slot 1 at 4,096, so that no disk page holds both; each write goes to the older one.
//! Slot: magic (8), format `u32`, zero `u32`, sequence `u64`, commit `u64`, events `u64`, time `i64`, all
//! little-endian, then BLAKE3 of those 48 bytes (32). The slot with the larger sequence counts.
//!
//! Keeps: a torn write costs at most the slot being written. Deliberately absent: deciding to go on in spite of
//! missing commits; that is an operator's explicit choice, made elsewhere.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tidemark_schemas::time::ReceiveTime;

/// Slots must not share a page: 4,096 bytes is what disks and page caches write at once.
const SLOT_STRIDE: u64 = 4_096;
const FILE_BYTES: usize = 2 * SLOT_STRIDE as usize;
const MAGIC: [u8; 8] = *b"TIDEWITN";
const FORMAT: u32 = 1;
const BODY_BYTES: usize = 48;
const SLOT_BYTES: usize = BODY_BYTES + blake3::OUT_LEN;

/// How far the state had come at a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Testimony {
    /// Number of the commit; 0 before the first.
    pub commit: u64,
    /// Events counted up to and with this commit.
    pub events: u64,
    /// When it was committed: microseconds since 1970, by the processor's clock.
    pub at_micros: i64,
}

/// The open file. Written by one thread, the committer's.
#[derive(Debug)]
pub struct Witness {
    path: PathBuf,
    file: File,
    /// Sequence of the newest good slot.
    sequence: u64,
    newest_slot: u64,
    failed: bool,
}

/// Why the witness cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    #[error(
        "the witness file {} could not be {action}: {source}; check the disk's space, permissions and health, then \
         start again", path.display()
    )]
    Io { path: PathBuf, action: &'static str, source: io::Error },
    #[error(
        "both slots of the witness file {} are damaged, so nobody can tell whether acknowledged commits are missing; \
         check the disk, compare the state's last commit with what the sources and the archive say, and only if they \
         agree move the file away: a new one is then started", path.display()
    )]
    Damaged { path: PathBuf },
    #[error(
        "the witness file {} failed before; its partition must stop, and start again when the disk is sound",
        path.display()
    )]
    Poisoned { path: PathBuf },
}

/// The state is older than the witness: acknowledged events are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the state ends at commit {} with {} events, but commit {} with {} events was durable at {}: {} commits and {} \
     events are missing; put back a copy of the whole data folder that has them, or, only when there is none, start once \
     with --accept-loss, which `tidemark reconcile` shows from then on; then send the missing events again",
    state.commit, state.events, witnessed.commit, witnessed.events, ReceiveTime::from_micros(witnessed.at_micros),
    self.commits(), self.events()
)]
pub struct Missing {
    pub state: Testimony,
    pub witnessed: Testimony,
}

impl Missing {
    /// Acknowledged commits that the state does not hold.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.witnessed.commit.saturating_sub(self.state.commit)
    }

    /// Acknowledged events that the state does not hold.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.witnessed.events.saturating_sub(self.state.events)
    }
}

/// May a partition start on this state?
///
/// # Errors
/// [`Missing`] when the witness saw a later commit than the state holds.
pub fn check(testimony: Option<Testimony>, state: Testimony) -> Result<(), Missing> {
    match testimony {
        Some(witnessed) if witnessed.commit > state.commit => Err(Missing { state, witnessed }),
        Some(_) | None => Ok(()),
    }
}

impl Witness {
    /// Opens or starts the file; the newest testimony, or `None` when the file is new.
    ///
    /// # Errors
    /// [`WitnessError::Io`], [`WitnessError::Damaged`].
    pub fn open(path: &Path) -> Result<(Self, Option<Testimony>), WitnessError> {
        let failed = |action| move |source| WitnessError::Io { path: path.to_owned(), action, source };
        let is_new = !path.try_exists().map_err(failed("looked for"))?;
        if is_new {
            start(path).map_err(failed("started"))?;
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed("opened"))?;
        let slots =
            [read_slot(&file, 0).map_err(failed("read"))?, read_slot(&file, 1).map_err(failed("read"))?];
        let newest = (0_u64..).zip(slots).filter_map(|(slot, found)| found.map(|found| (slot, found)));
        let Some((newest_slot, (sequence, testimony))) = newest.max_by_key(|(_, (sequence, _))| *sequence)
        else {
            return Err(WitnessError::Damaged { path: path.to_owned() });
        };
        let witness = Self { path: path.to_owned(), file, sequence, newest_slot, failed: false };
        Ok((witness, (!is_new).then_some(testimony)))
    }

    /// Records a commit that is durable, over the older slot. Durable when it returns.
    ///
    /// # Errors
    /// [`WitnessError::Io`], and [`WitnessError::Poisoned`] ever after: the older slot may be torn now, and a second
    /// attempt would be made over the good one.
    pub fn attest(&mut self, testimony: Testimony) -> Result<(), WitnessError> {
        if self.failed {
            return Err(WitnessError::Poisoned { path: self.path.clone() });
        }
        let (slot, sequence) = (1 - self.newest_slot, self.sequence + 1);
        let written = self
            .file
            .write_all_at(&encode(sequence, testimony), slot * SLOT_STRIDE)
            .and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            self.failed = true;
            return Err(WitnessError::Io { path: self.path.clone(), action: "written", source });
        }
        (self.newest_slot, self.sequence) = (slot, sequence);
        Ok(())
    }
}

/// A whole file appears under its name or none: a half-made one would look like two damaged slots.
fn start(path: &Path) -> io::Result<()> {
    let mut bytes = vec![0; FILE_BYTES];
    for slot in 0..2_usize {
        let at = slot * SLOT_STRIDE as usize;
        bytes[at..at + SLOT_BYTES].copy_from_slice(&encode(slot as u64, Testimony::default()));
    }
    let unfinished = path.with_extension("tmp");
    let file = File::create(&unfinished)?;
    file.write_all_at(&bytes, 0)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// `None`: the slot is damaged. A file that is too short counts as damaged too.
fn read_slot(file: &File, slot: u64) -> io::Result<Option<(u64, Testimony)>> {
    let mut bytes = [0; SLOT_BYTES];
    match file.read_exact_at(&mut bytes, slot * SLOT_STRIDE) {
        Ok(()) => Ok(decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn encode(sequence: u64, testimony: Testimony) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[16..24].copy_from_slice(&sequence.to_le_bytes());
    bytes[24..32].copy_from_slice(&testimony.commit.to_le_bytes());
    bytes[32..40].copy_from_slice(&testimony.events.to_le_bytes());
    bytes[40..48].copy_from_slice(&testimony.at_micros.to_le_bytes());
    let checksum = blake3::hash(&bytes[..BODY_BYTES]);
    bytes[BODY_BYTES..].copy_from_slice(checksum.as_bytes());
    bytes
}

fn decode(bytes: &[u8; SLOT_BYTES]) -> Option<(u64, Testimony)> {
    let (body, checksum) = bytes.split_at(BODY_BYTES);
    let is_ours = body[..8] == MAGIC && body[8..12] == FORMAT.to_le_bytes();
    if !is_ours || blake3::hash(body).as_bytes() != checksum {
        return None;
    }
    let number = |at: usize| body[at..at + 8].try_into().expect("eight bytes of a slice of 48");
    let testimony = Testimony {
        commit: u64::from_le_bytes(number(24)),
        events: u64::from_le_bytes(number(32)),
        at_micros: i64::from_le_bytes(number(40)),
    };
    Some((u64::from_le_bytes(number(16)), testimony))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn testimony(commit: u64) -> Testimony {
        Testimony { commit, events: commit * 100, at_micros: 1_000_000 * commit.cast_signed() }
    }

    /// A witness after `commits` commits, its slots then changed by `damage`; what is read back.
    fn reopened(commits: u64, damage: impl FnOnce(&mut Vec<u8>)) -> Result<Option<Testimony>, WitnessError> {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("witness");
        let (mut witness, found) = Witness::open(&path).expect("a new witness");
        assert_eq!(found, None, "a new file has seen nothing");
        for commit in 1..=commits {
            witness.attest(testimony(commit)).expect("the disk works");
        }
        let mut bytes = std::fs::read(&path).expect("the file is there");
        damage(&mut bytes);
        std::fs::write(&path, bytes).expect("the disk works");
        Witness::open(&path).map(|(_, found)| found)
    }

    #[test]
    fn the_newest_commit_is_read_back() {
        for commits in 1..5 {
            assert_eq!(reopened(commits, |_| ()).expect("sound"), Some(testimony(commits)));
        }
        assert_eq!(reopened(0, |_| ()).expect("sound"), Some(Testimony::default()));
    }

    #[test]
    fn a_torn_slot_leaves_the_other_one() {
        // Commit 7 is in slot 1 - (7 % 2) = 0: sequences 0 and 1 are the empty slots, so sequence 8 is in slot 0.
        for at in 0..SLOT_BYTES {
            let found = reopened(7, |bytes| bytes[at] ^= 1).expect("slot 1 is sound");
            assert_eq!(found, Some(testimony(6)), "byte {at}");
            let found = reopened(7, |bytes| bytes[at + SLOT_STRIDE as usize] ^= 1).expect("slot 0 is sound");
            assert_eq!(found, Some(testimony(7)), "byte {at} of the older slot");
        }
    }

    #[test]
    fn two_damaged_slots_refuse_and_say_what_to_do() {
        let both = |bytes: &mut Vec<u8>| {
            bytes[30] ^= 1;
            bytes[30 + SLOT_STRIDE as usize] ^= 1;
        };
        let error = reopened(3, both).expect_err("nothing is known");
        assert!(matches!(error, WitnessError::Damaged { .. }));
        assert!(error.to_string().contains("move the file away"), "{error}");
        assert!(matches!(reopened(3, Vec::clear), Err(WitnessError::Damaged { .. })));
    }

    #[test]
    fn going_back_after_an_accepted_loss_is_remembered() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("witness");
        let (mut witness, _) = Witness::open(&path).expect("a new witness");
        for commit in [8, 9, 4] {
            witness.attest(testimony(commit)).expect("the disk works");
        }
        drop(witness);
        assert_eq!(Witness::open(&path).expect("sound").1, Some(testimony(4)));
    }

    #[test]
    fn only_a_state_older_than_the_witness_is_refused() {
        assert_eq!(check(None, testimony(5)), Ok(()));
        assert_eq!(check(Some(testimony(5)), testimony(5)), Ok(()));
        assert_eq!(check(Some(testimony(5)), testimony(6)), Ok(()), "a crash between commit and witness");
        let missing = check(Some(testimony(5)), testimony(3)).expect_err("two commits are gone");
        assert_eq!((missing.commits(), missing.events()), (2, 200));
        expect_test::expect![[
            r#"the state ends at commit 3 with 300 events, but commit 5 with 500 events was durable at 1970-01-01T00:00:05Z: 2 commits and 200 events are missing; put back a copy of the whole data folder that has them, or, only when there is none, start once with --accept-loss, which `tidemark reconcile` shows from then on; then send the missing events again"#
        ]]
        .assert_eq(&missing.to_string());
    }
}
