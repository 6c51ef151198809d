//! Closes exceptions that no replay will count: a person has settled them, and says how.
//!
//! Keeps: the record stays, with who, when and why; only what is open is dismissed; ids of another tenant are as unknown as
//! those that never were.

use tidemark_schemas::exception::ExceptionStatus;
use tidemark_schemas::summary::RecordId;
use tidemark_schemas::wire::v1;

use super::ReplayError;
use super::records::{is_in_scope, record};
use crate::config::Scope;
use crate::http::metering::{DismissReport, DismissSelection};
use crate::partition::{Handle, Input};
use crate::store::{KeyValue, Keyspace};

/// Dismisses what is open of the selection, in one commit; `by` is an API key's id or a user of the operating system.
///
/// # Errors
/// [`ReplayError`]; then nothing is known to be dismissed, and doing it again is safe.
pub fn dismiss(
    store: &dyn KeyValue,
    handle: &Handle,
    scope: &Scope,
    selection: &DismissSelection,
    by: &str,
) -> Result<DismissReport, ReplayError> {
    let (mut open, mut report) = (Vec::new(), DismissReport::default());
    for id in &selection.ids {
        let found: Option<v1::ExceptionRecord> = record(store, Keyspace::Exception, id.as_bytes())?;
        match found.filter(|found| is_in_scope(scope, &found.tenant)) {
            None => report.unknown.push(id.clone()),
            Some(found) if found.status == ExceptionStatus::Open.name() => open.push(RecordId(id.clone())),
            Some(_) => report.not_open.push(id.clone()),
        }
    }
    if !open.is_empty() {
        let (by, reason) = (by.to_owned(), selection.reason.trim().to_owned());
        let committed = handle.ask(|reply| Input::Dismiss(open, by, reason, reply));
        report.dismissed = committed.ok_or(ReplayError::Gone)??;
    }
    Ok(report)
}
