//! How are rated summaries handed over without a network? As NDJSON files that are complete, final and named by what they cover.
//!
//! `rated-00000000000000000001-00000000000000005000.ndjson` holds the rows of these outbox sequences, one line each.
//! Keeps: a row's line is in exactly one file, whatever crashes: a file appears whole or not at all, and rows that
//! come again are recognised in the file that covers them and compared with it, byte for byte.
//! A file that was deleted before its receipts were committed is written again. A folder belongs to one outbox. Deliberately absent: appending, which a crash can tear or double.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tidemark_schemas::outbox::OutboxRow;

use crate::deliver::{Answer, Failure, Sink, durable_file};

/// A rated line has about 1.3 KB: 6 to 7 MB in memory, and one fsync for 5,000 lines.
const ROWS_PER_FILE_MAX: usize = 5_000;

/// Digits of a sequence in a name, so that names sort as numbers do.
const SEQUENCE_DIGITS: usize = 20;

#[derive(Clone, Debug)]
pub struct BillingFiles {
    folder: Arc<Mutex<Folder>>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// First to last sequence of the files that undelivered rows may be in.
    covered: BTreeMap<u64, u64>,
}

impl BillingFiles {
    /// # Errors
    /// [`Failure::FileUnavailable`] when the folder cannot be made or listed.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let names = durable_file::open_folder(path)?;
        let covered = names.iter().filter_map(|name| range_of(name)).collect();
        let folder = Folder { path: path.into(), covered };
        Ok(Self { folder: Arc::new(Mutex::new(folder)) })
    }
}

impl Sink for BillingFiles {
    fn rows_per_batch(&self) -> usize {
        ROWS_PER_FILE_MAX
    }

    /// One key for all: files are written one after the other, and what fails for one fails for all.
    fn key(&self, _: &OutboxRow) -> String {
        String::new()
    }

    async fn send(&self, rows: Arc<[OutboxRow]>) -> Vec<Answer> {
        let folder = Arc::clone(&self.folder);
        // A write that panicked has changed no file; its folder is as good as before.
        let written = move || folder.lock().unwrap_or_else(PoisonError::into_inner).take(&rows);
        match tokio::task::spawn_blocking(written).await {
            Ok(answers) => answers,
            Err(lost) => std::panic::resume_unwind(lost.into_panic()),
        }
    }
}

impl Folder {
    fn take(&mut self, rows: &[OutboxRow]) -> Vec<Answer> {
        if let Some(oldest) = rows.first() {
            // Rows come in order: files before the oldest one have their receipts.
            self.covered.retain(|_, last| *last >= oldest.sequence);
        }
        let mut answers = Vec::with_capacity(rows.len());
        while answers.len() < rows.len() {
            match self.take_next(&rows[answers.len()..]) {
                Ok(references) => {
                    answers.extend(references.into_iter().map(|reference| Answer::Accepted { reference }));
                }
                Err(failure) => {
                    answers.push(Answer::Failed(failure));
                    answers.resize(rows.len(), Answer::NotSent);
                }
            }
        }
        answers
    }

    /// The references of the first rows: those that a file covers already, or else those that go into a new one.
    fn take_next(&mut self, rows: &[OutboxRow]) -> Result<Vec<String>, Failure> {
        let covering = self.covering(rows[0].sequence);
        match covering.filter(|(first, last)| self.path.join(name_of(*first, *last)).exists()) {
            Some((first, last)) => {
                let covered = rows.iter().take_while(|row| row.sequence <= last).count();
                self.recognise(first, last, &rows[..covered])
            }
            None => {
                if let Some((first, _)) = covering {
                    self.covered.remove(&first);
                }
                let new = |(row, sequence): &(&OutboxRow, u64)| {
                    row.sequence == *sequence && self.covering(*sequence).is_none()
                };
                let count = rows.iter().zip(rows[0].sequence..).take_while(new).count();
                self.write(&rows[..count])
            }
        }
    }

    fn covering(&self, sequence: u64) -> Option<(u64, u64)> {
        let (first, last) = self.covered.range(..=sequence).next_back()?;
        (sequence <= *last).then_some((*first, *last))
    }

    fn write(&mut self, rows: &[OutboxRow]) -> Result<Vec<String>, Failure> {
        let (first, last) = (rows[0].sequence, rows[rows.len() - 1].sequence);
        let name = name_of(first, last);
        let mut contents = Vec::with_capacity(rows.iter().map(|row| row.payload.len() + 1).sum());
        for row in rows {
            if row.payload.contains(&b'\n') {
                let reason = "its payload has more than one line".into();
                return Err(Failure::Corrupt { record: row.id.clone(), reason });
            }
            contents.extend_from_slice(&row.payload);
            contents.push(b'\n');
        }
        durable_file::write(&self.path, &name, &contents)?;
        self.covered.insert(first, last);
        Ok(rows.iter().map(|row| reference(&name, first, row.sequence)).collect())
    }

    fn recognise(&self, first: u64, last: u64, rows: &[OutboxRow]) -> Result<Vec<String>, Failure> {
        let name = name_of(first, last);
        let path = self.path.join(&name);
        let contents = durable_file::read(&path)?;
        // The crash may have come between the rename and its fsync.
        durable_file::sync_folder(&self.path)?;
        let lines: Vec<&[u8]> = contents.split_inclusive(|byte| *byte == b'\n').collect();
        let expected = last - first + 1;
        if lines.len() as u64 != expected || !contents.ends_with(b"\n") {
            let reason = format!(
                "{} should have {expected} lines and was cut or changed; put it back from a copy, or deliver into an \
                 empty folder",
                path.display()
            );
            return Err(Failure::Corrupt { record: rows[0].id.clone(), reason });
        }
        let recognised = |row: &OutboxRow| {
            let index = row.sequence - first;
            let line = usize::try_from(index).ok().and_then(|index| lines.get(index));
            if line.and_then(|line| line.strip_suffix(b"\n")) == Some(&row.payload[..]) {
                return Ok(reference(&name, first, row.sequence));
            }
            Err(Failure::FileDiffers { path: path.clone(), line: index + 1, record: row.id.clone() })
        };
        rows.iter().map(recognised).collect()
    }
}

fn name_of(first: u64, last: u64) -> String {
    format!("rated-{first:0width$}-{last:0width$}.ndjson", width = SEQUENCE_DIGITS)
}

fn range_of(name: &str) -> Option<(u64, u64)> {
    let (first, last) = name.strip_prefix("rated-")?.strip_suffix(".ndjson")?.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && name == name_of(first, last)).then_some((first, last))
}

/// File and line, as an editor jumps to it.
fn reference(name: &str, first: u64, sequence: u64) -> String {
    format!("{name}:{}", sequence - first + 1)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use tidemark_schemas::outbox::Destination;
    use tidemark_schemas::summary::RecordId;

    use super::*;

    fn rows(sequences: std::ops::RangeInclusive<u64>) -> Vec<OutboxRow> {
        let row = |sequence| OutboxRow {
            destination: Destination::Billing,
            sequence,
            id: RecordId(format!("rs-{sequence}")),
            payload: format!("{{\"id\":\"rs-{sequence}\"}}").into_bytes(),
        };
        sequences.map(row).collect()
    }

    /// What a start after a crash sees: only the folder.
    fn take(path: &Path, rows: &[OutboxRow]) -> Vec<Answer> {
        let files = BillingFiles::open(path).expect("a folder");
        files.folder.lock().unwrap_or_else(PoisonError::into_inner).take(rows)
    }

    fn accepted(answers: &[Answer]) -> Vec<&str> {
        fn reference(answer: &Answer) -> &str {
            match answer {
                Answer::Accepted { reference } => reference,
                other => panic!("{other:?}"),
            }
        }
        answers.iter().map(reference).collect()
    }

    fn all_lines(path: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(path).expect("listed").map(|f| f.expect("a file").path()).collect();
        names.sort();
        let text: String = names.iter().map(|name| fs::read_to_string(name).expect("read")).collect();
        text.lines().map(str::to_owned).collect()
    }

    fn lines_of(rows: &[OutboxRow]) -> Vec<String> {
        rows.iter().map(|row| String::from_utf8_lossy(&row.payload).into_owned()).collect()
    }

    #[test]
    fn a_row_that_comes_again_is_found_in_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = take(folder.path(), &rows(1..=3));
        assert_eq!(accepted(&first)[2], "rated-00000000000000000001-00000000000000000003.ndjson:3");
        // The receipts were lost and two more rows have come.
        let again = take(folder.path(), &rows(1..=5));
        assert_eq!(accepted(&again)[..3], accepted(&first));
        assert_eq!(accepted(&again)[3], "rated-00000000000000000004-00000000000000000005.ndjson:1");
        // Fewer rows than the file has, from its middle.
        assert_eq!(accepted(&take(folder.path(), &rows(2..=2))), accepted(&first)[1..2]);
        assert_eq!(all_lines(folder.path()), lines_of(&rows(1..=5)));
    }

    #[test]
    fn a_file_that_was_deleted_before_its_receipts_is_written_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("billing");
        let files = BillingFiles::open(&path).expect("a folder");
        let take = |rows: &[OutboxRow]| {
            let answers = files.folder.lock().unwrap_or_else(PoisonError::into_inner).take(rows);
            accepted(&answers).len()
        };
        assert_eq!(take(&rows(1..=3)), 3);
        fs::remove_dir_all(&path).expect("deleted");
        assert_eq!(take(&rows(2..=4)), 3);
        assert_eq!(all_lines(&path), lines_of(&rows(2..=4)));
    }

    #[test]
    fn a_folder_of_another_outbox_is_not_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        take(folder.path(), &rows(1..=2));
        let mut other = rows(1..=3);
        other[1].payload = b"{}".to_vec();
        let answers = take(folder.path(), &other);
        let Answer::Failed(failure) = &answers[0] else { panic!("{answers:?}") };
        let told = failure.to_string();
        let file = folder.path().join(name_of(1, 2));
        assert!(
            told.starts_with(&format!("line 2 of {} holds another record than rs-2", file.display())),
            "{told}"
        );
        assert!(told.contains("an older copy was put back") && !told.contains("defect"), "{told}");
        assert_eq!(answers[1..], [Answer::NotSent, Answer::NotSent]);
        assert_eq!(all_lines(folder.path()), lines_of(&rows(1..=2)));
    }

    /// An older state was put back, and the same usage was sent again.
    #[test]
    fn a_restored_state_that_says_the_same_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        take(folder.path(), &rows(1..=4));
        assert_eq!(accepted(&take(folder.path(), &rows(2..=6))).len(), 5);
        assert_eq!(all_lines(folder.path()), lines_of(&rows(1..=6)));
    }

    #[test]
    fn a_cut_file_is_not_recognised() {
        let folder = tempfile::tempdir().expect("a folder");
        take(folder.path(), &rows(1..=2));
        let path = folder.path().join(name_of(1, 2));
        let contents = fs::read(&path).expect("read");
        fs::write(&path, &contents[..contents.len() - 1]).expect("written");
        assert!(matches!(take(folder.path(), &rows(2..=2))[..], [Answer::Failed(Failure::Corrupt { .. })]));
    }

    #[test]
    fn names_are_read_back_strictly() {
        assert_eq!(range_of(&name_of(1, u64::MAX)), Some((1, u64::MAX)));
        for name in ["rated-1-2.ndjson", ".rated.tmp", "rated-2.ndjson", &name_of(2, 1)] {
            assert_eq!(range_of(name), None, "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Any mix of batch sizes, restarts and lost receipts leaves each line once, in order.
        #[test]
        fn every_line_is_there_once(batches in proptest::collection::vec((1_u64..6, 0_u64..6), 1..12)) {
            let folder = tempfile::tempdir().expect("a folder");
            let (mut committed, mut sent) = (0, 0);
            for (size, with_receipt) in batches {
                let batch = rows(committed + 1..=committed + size);
                prop_assert_eq!(accepted(&take(folder.path(), &batch)).len() as u64, size);
                sent = sent.max(committed + size);
                committed += with_receipt.min(size);
            }
            prop_assert_eq!(all_lines(folder.path()), lines_of(&rows(1..=sent)));
        }
    }
}
