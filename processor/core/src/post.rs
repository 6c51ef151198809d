//! Which journal entry does a rated line go into? Lines gather in one open entry per legal entity, currency, accounting
//! period and posting rule, until it is cut by time or by its number of lines.
//!
//! Keeps I-6 through [`tidemark_schemas::posting::Balanced`]: debits equal credits at every moment.

use tidemark_schemas::posting::{JournalEntry, LineKey, PostingGroup};
use tidemark_schemas::summary::{RatedSummary, RecordId};
use tidemark_schemas::time::EventTime;

use crate::changes::{Changes, JournalRow};
use crate::record::record_id;
use crate::settle::next_multiple;
use crate::state::{OpenPosting, PostingId, Task, Timer};
use crate::terms::Terms;
use crate::working::Working;

const PURPOSE_POSTING: u8 = 5;

/// Adds a rated line that is not zero to its open entry. Answers which one that is: its posting and number.
pub fn post(
    terms: &Terms,
    working: &mut Working,
    rated: &RatedSummary,
    debtor: &str,
    at: EventTime,
    changes: &mut Changes,
) -> (PostingId, u64) {
    let rule = terms
        .posting_rule(&rated.summary.meter, &rated.legal_entity)
        .expect("the catalog has a posting rule for every charged meter and entity");
    let (service_period, accounting_period) =
        terms.booked_in(&rated.legal_entity, rated.summary.window.start);
    let group = PostingGroup {
        legal_entity: rated.legal_entity.clone(),
        currency: rated.amount.currency,
        accounting_period,
        rule: rule.id.clone(),
    };
    let debit = LineKey { account: rule.debit.clone(), debtor: Some(debtor.into()), service_period };
    let credit = LineKey { account: rule.credit.clone(), debtor: None, service_period };
    let id = posting_id(working, &group);
    let timing = terms.timing();
    let is_full = working.postings.get(&id).is_some_and(|open| {
        open.rated_lines > 0 && open.amounts.lines_with(&debit, &credit) > timing.post_lines_max
    });
    if is_full {
        cut(working, id, changes);
    }
    let open = working.postings.entry(id).or_insert_with(|| OpenPosting {
        group,
        number: 1,
        amounts: Default::default(),
        rated_lines: 0,
        due: None,
    });
    open.amounts
        .add(debit, credit, rated.amount.minor)
        .expect("an entry holds far fewer lines than 128 bits overflow with");
    open.rated_lines += 1;
    if open.due.is_none() {
        let due = next_multiple(at, timing.post_every_micros);
        open.due = Some(due);
        working.timers.set(Timer { due, task: Task::Cut(id) });
    }
    let number = open.number;
    working.postings_dirty.insert(id);
    (id, number)
}

/// Cuts the entry, and leaves an empty one with the next number. Lines that cancel out make no entry; their rated lines
/// stay members of the next.
pub fn cut(working: &mut Working, id: PostingId, changes: &mut Changes) {
    let open = working.postings.get_mut(&id).expect("a cut timer means that an entry is open");
    working.postings_dirty.insert(id);
    if let Some(due) = open.due.take() {
        working.timers.clear(Timer { due, task: Task::Cut(id) });
    }
    let amounts = std::mem::take(&mut open.amounts);
    if amounts.lines().next().is_none() {
        return;
    }
    let sum: i128 = amounts.lines().map(|(_, minor)| minor).sum();
    assert!(sum == 0, "I-6: debits equal credits");
    let entry = JournalEntry {
        id: journal_id(open, &amounts),
        group: open.group.clone(),
        number: open.number,
        amounts,
        rated_lines: std::mem::take(&mut open.rated_lines),
    };
    open.number += 1;
    working.progress.journal += 1;
    changes.journal.push(JournalRow { sequence: working.progress.journal, posting: id, entry });
}

fn posting_id(working: &Working, group: &PostingGroup) -> PostingId {
    let period = group.accounting_period.to_string();
    let parts = [group.legal_entity.as_str(), group.currency.code(), period.as_str(), group.rule.as_str()];
    PostingId(working.key.hash_parts(PURPOSE_POSTING, parts))
}

fn journal_id(open: &OpenPosting, amounts: &tidemark_schemas::posting::Balanced) -> RecordId {
    let group = &open.group;
    let mut text = format!(
        "{} {} {} {} {} {}",
        group.legal_entity,
        group.currency,
        group.accounting_period,
        group.rule,
        open.number,
        open.rated_lines
    );
    for (key, minor) in amounts.lines() {
        text.push_str(&format!("\n{} {:?} {} {minor}", key.account, key.debtor, key.service_period));
    }
    record_id("je", &[text.as_bytes()])
}
