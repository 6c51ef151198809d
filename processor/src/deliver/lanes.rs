//! How do we send many rows at once without one overtaking another of its key? A lane per key, a bounded number at once.
//!
//! Keeps: within a key, a row is sent only after the one before it was accepted or refused.
//! Deliberately absent: an in-flight window inside a key; a correction must never be seen before what it corrects.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidemark_schemas::outbox::OutboxRow;
use tokio::task::JoinSet;

use super::{Answer, Failure, Remedy};

/// Lanes that fail one after the other with none that is answered between them: the other side is away, and the lanes
/// that have not started are left for the next attempt.
const FAILED_LANES_MAX: usize = 8;

/// Sends every row with `send`, rows of one `key` in order, at most `in_flight_max` keys at a time.
pub async fn send_in_lanes<K, S, F>(
    rows: Arc<[OutboxRow]>,
    key: impl Fn(&OutboxRow) -> K,
    in_flight_max: usize,
    send: S,
) -> Vec<Answer>
where
    K: Eq + Hash,
    S: Fn(OutboxRow) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<String, Failure>> + Send + 'static,
{
    let mut waiting = lanes(&rows, key).into_iter();
    let stopped = Arc::new(AtomicBool::new(false));
    let mut answers = vec![Answer::NotSent; rows.len()];
    let (mut running, mut failed_lanes) = (JoinSet::new(), 0);
    loop {
        while running.len() < in_flight_max.max(1)
            && failed_lanes < FAILED_LANES_MAX
            && let Some(lane) = waiting.next()
        {
            running.spawn(send_lane(Arc::clone(&rows), lane, send.clone(), Arc::clone(&stopped)));
        }
        let Some(finished) = running.join_next().await else {
            return answers;
        };
        let lane = finished.unwrap_or_else(|lost| std::panic::resume_unwind(lost.into_panic()));
        let is_answered = lane.iter().any(|(_, answer)| answer.is_final());
        failed_lanes = if is_answered { 0 } else { failed_lanes + 1 };
        for (row, answer) in lane {
            answers[row] = answer;
        }
    }
}

/// Indexes of rows by key, lanes and rows in order of appearance.
fn lanes<K: Eq + Hash>(rows: &[OutboxRow], key: impl Fn(&OutboxRow) -> K) -> Vec<Vec<usize>> {
    let mut lane_of = HashMap::new();
    let mut lanes: Vec<Vec<usize>> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let lane = *lane_of.entry(key(row)).or_insert(lanes.len());
        if lane == lanes.len() {
            lanes.push(Vec::new());
        }
        lanes[lane].push(index);
    }
    lanes
}

async fn send_lane<S, F>(
    rows: Arc<[OutboxRow]>,
    lane: Vec<usize>,
    send: S,
    stopped: Arc<AtomicBool>,
) -> Vec<(usize, Answer)>
where
    S: Fn(OutboxRow) -> F,
    F: Future<Output = Result<String, Failure>>,
{
    let mut answers = Vec::with_capacity(lane.len());
    for index in lane {
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        match send(rows[index].clone()).await {
            Ok(reference) => answers.push((index, Answer::Accepted { reference })),
            Err(failure) => {
                let remedy = failure.remedy();
                answers.push((index, Answer::Failed(failure)));
                match remedy {
                    Remedy::Park => {}
                    Remedy::ResendSameBytes => break,
                    Remedy::Stop => stopped.store(true, Ordering::Relaxed),
                }
            }
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tidemark_schemas::outbox::Destination;
    use tidemark_schemas::summary::RecordId;

    use super::*;

    /// Rows are words: the first letter is the key, `!` at the end fails it, `-` refuses it, `.` stops everything.
    async fn sent(words: &str, in_flight_max: usize) -> (String, String) {
        let rows: Arc<[OutboxRow]> = words
            .split(' ')
            .zip(1..)
            .map(|(word, sequence)| OutboxRow {
                destination: Destination::Billing,
                sequence,
                id: RecordId(word.into()),
                payload: word.into(),
            })
            .collect();
        let order = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&order);
        let answers = send_in_lanes(
            rows,
            |row| row.payload[0],
            in_flight_max,
            move |row| {
                log.lock().expect("no test panics holding it").push(row.id.to_string());
                async move {
                    tokio::task::yield_now().await;
                    let (to, record, reason) = (String::new(), row.id.clone(), String::new());
                    match row.payload.last() {
                        Some(b'!') => Err(Failure::Uncertain { to, record, reason }),
                        Some(b'-') => Err(Failure::Refused { to, record, reason }),
                        Some(b'.') => Err(Failure::Corrupt { record, reason }),
                        _ => Ok(String::new()),
                    }
                }
            },
        )
        .await;
        let shown = answers.iter().map(|answer| match answer {
            Answer::Accepted { .. } => 'A',
            Answer::Failed(_) => 'F',
            Answer::NotSent => '-',
        });
        let order = order.lock().expect("no test panics holding it").join(" ");
        (order, shown.collect())
    }

    #[tokio::test]
    async fn a_failed_row_holds_its_key_and_no_other() {
        assert_eq!(sent("a1 b1! a2 b2 a3", 1).await, ("a1 a2 a3 b1!".into(), "AFA-A".into()));
        let (order, answers) = sent("a1 b1! a2 b2 a3", 8).await;
        assert_eq!(answers, "AFA-A");
        assert!(!order.contains("b2"), "{order}");
    }

    #[tokio::test]
    async fn when_every_lane_fails_the_rest_is_left_for_later() {
        let (order, answers) = sent("a! b! c! d! e! f! g! h! i j", 1).await;
        assert_eq!((order.as_str(), answers.as_str()), ("a! b! c! d! e! f! g! h!", "FFFFFFFF--"));
        let (_, answers) = sent("a! b! c! d e! f! g! h! i j", 1).await;
        assert_eq!(answers, "FFFAFFFFAA");
    }

    #[tokio::test]
    async fn a_refused_row_lets_its_key_go_on_and_a_stop_stops_all() {
        assert_eq!(sent("a1- a2 b1", 1).await, ("a1- a2 b1".into(), "FAA".into()));
        assert_eq!(sent("a1. a2 b1", 1).await, ("a1.".into(), "F--".into()));
    }
}
