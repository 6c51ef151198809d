//! Why was a row not accepted, and what follows from that? One closed list for every kind of sink.

use std::path::PathBuf;
use std::time::Duration;

use tidemark_schemas::summary::RecordId;

/// What the delivery does about a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It may have arrived: the same bytes under the same id go out again, later.
    ResendSameBytes,
    /// They read it and said no: a refused receipt with the reason, and the rows behind it go on.
    Park,
    /// Nothing more can be sent to this destination until a person has acted.
    Stop,
}

impl Remedy {
    /// As a field of the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ResendSameBytes => "resend",
            Self::Park => "park",
            Self::Stop => "stop",
        }
    }
}

/// `to` is the endpoint without credentials or query, `record` the row's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error(
        "no answer from {to} about {record}: {reason}; it may have arrived, so the same bytes will be sent again"
    )]
    Uncertain { to: String, record: RecordId, reason: String },
    #[error("{to} does not take {record} now: {reason}; it will be sent again")]
    Unavailable { to: String, record: RecordId, reason: String, retry_after: Option<Duration> },
    #[error("cannot connect to {to}: {reason}; {record} waits and will be sent again")]
    Unreachable { to: String, record: RecordId, reason: String },
    #[error(
        "{to} does not take requests of ours ({reason}); correct the address or the credentials, here or there; {record} waits and will be sent again"
    )]
    NotAdmitted { to: String, record: RecordId, reason: String },
    /// A polite answer is not an effect: see `erp::http`.
    #[error(
        "{to} answered about {record}, but read back it is not in effect: {found}; it will be looked up again"
    )]
    NotInEffect { to: String, record: RecordId, found: String },
    #[error("{to} refused {record}: {reason}; correct the cause there, then replay its exception")]
    Refused { to: String, record: RecordId, reason: String },
    #[error(
        "{to} has other content under the id {record}: {difference}; compare both before its exception is replayed"
    )]
    Conflict { to: String, record: RecordId, difference: String },
    #[error(
        "{record} cannot be sent: {reason}; this is damage or a defect on our side, nothing more is sent"
    )]
    Corrupt { record: RecordId, reason: String },
    #[error(
        "line {line} of {} holds another record than {record}, which has that sequence number now: either the state is \
         older than the file, because an older copy was put back, or the file was changed. Nothing was written over. Move \
         the folder away, start with an empty one, and compare the lines of both by id: billing may have taken the old \
         ones. Nothing more is sent until then", path.display()
    )]
    FileDiffers { path: PathBuf, line: u64, record: RecordId },
    #[error("cannot use {}: {reason}; free space, correct permissions or bring the folder back, it will be tried again", path.display())]
    FileUnavailable { path: PathBuf, reason: String },
    /// After a failed fsync nobody knows what is on the disk (Rebello et al., "Can Applications Recover from fsync Failures?", 2020).
    #[error("cannot make {} durable: {reason}; check the disk, then start again", path.display())]
    NotDurable { path: PathBuf, reason: String },
}

impl Failure {
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Uncertain { .. }
            | Self::Unavailable { .. }
            | Self::Unreachable { .. }
            // Parking here would park every row of the day for one wrong secret.
            | Self::NotAdmitted { .. }
            | Self::NotInEffect { .. }
            | Self::FileUnavailable { .. } => Remedy::ResendSameBytes,
            Self::Refused { .. } | Self::Conflict { .. } => Remedy::Park,
            Self::Corrupt { .. } | Self::FileDiffers { .. } | Self::NotDurable { .. } => Remedy::Stop,
        }
    }

    /// Whether it is about the destination, so that every other key would fail alike.
    #[must_use]
    pub fn is_of_destination(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NotAdmitted { .. } | Self::FileUnavailable { .. })
    }

    /// How long the other side asked us to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
