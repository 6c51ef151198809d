//! Does every row reach the other side once in effect, whatever fails on the way? Against an outbox in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidemark_schemas::summary::RecordId;

use super::*;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A partition in memory: rows, and the receipts that removed them.
#[derive(Default)]
struct Partition {
    rows: Mutex<BTreeMap<u64, OutboxRow>>,
    receipts: Mutex<Vec<String>>,
    /// How many commits fail before one succeeds.
    failing_commits: Mutex<u32>,
    resent: Mutex<u64>,
}

impl Partition {
    fn with_rows(count: u64) -> Arc<Self> {
        let partition = Self::default();
        for sequence in 1..=count {
            partition.add(sequence);
        }
        Arc::new(partition)
    }

    /// Rows by their names: the letter is the key.
    fn with(names: &str) -> Arc<Self> {
        let partition = Self::default();
        for (name, sequence) in names.split(' ').zip(1..) {
            partition.add_named(sequence, name);
        }
        Arc::new(partition)
    }

    fn add(&self, sequence: u64) {
        self.add_named(sequence, &format!("r{sequence}"));
    }

    fn add_named(&self, sequence: u64, name: &str) {
        let (id, payload) = (RecordId(name.into()), b"{}".to_vec());
        let row = OutboxRow { destination: Destination::Billing, sequence, id, payload };
        locked(&self.rows).insert(sequence, row);
    }

    fn receipts(&self) -> String {
        locked(&self.receipts).join(" ")
    }
}

impl Outbox for Arc<Partition> {
    fn pending(&self, _: Destination, after: u64, limit: usize) -> Result<Vec<OutboxRow>, PartitionError> {
        Ok(locked(&self.rows).range(after + 1..).take(limit).map(|(_, row)| row.clone()).collect())
    }

    fn resent(&self) -> u64 {
        *locked(&self.resent)
    }
}

impl Receipts for Arc<Partition> {
    async fn commit(&self, receipts: Vec<Receipt>) -> Result<(), PartitionError> {
        let mut failing = locked(&self.failing_commits);
        if *failing > 0 {
            *failing -= 1;
            return Err("the disk is full".into());
        }
        for receipt in receipts {
            let shown = match receipt.outcome {
                Outcome::Accepted { .. } => format!("{}+", receipt.record),
                Outcome::Refused { .. } => format!("{}-", receipt.record),
            };
            locked(&self.receipts).push(shown);
            locked(&self.rows).retain(|_, row| row.id != receipt.record);
        }
        Ok(())
    }
}

/// The other side: keeps one copy by id, as the wire contract asks, and fails on cue.
#[derive(Default)]
struct OtherSide {
    /// What to answer to the next rows: `+` accept, `u` take it but lose the answer, `b` busy, `n` nobody there,
    /// `-` refuse, `x` stop everything. Without one, rows are accepted.
    cues: Mutex<VecDeque<char>>,
    /// Keys whose rows meet an error each time.
    failing: Mutex<String>,
    /// Rows in the order of arrival, repetitions too.
    arrived: Mutex<Vec<String>>,
    booked: Mutex<BTreeMap<String, u32>>,
}

impl OtherSide {
    fn answering(cues: &str) -> Arc<Self> {
        Arc::new(Self { cues: Mutex::new(cues.chars().collect()), ..Self::default() })
    }

    fn take(&self, row: &OutboxRow) -> Answer {
        let (to, record, reason) = ("there".to_owned(), row.id.clone(), String::new());
        locked(&self.arrived).push(row.id.to_string());
        let fails = locked(&self.failing).contains(&row.id.0[..1]);
        let cue = locked(&self.cues).pop_front().unwrap_or(if fails { 'b' } else { '+' });
        if matches!(cue, '+' | 'u') {
            locked(&self.booked).insert(row.id.to_string(), 1);
        }
        match cue {
            '+' => Answer::Accepted { reference: "1".into() },
            'u' => Answer::Failed(Failure::Uncertain { to, record, reason }),
            'b' => Answer::Failed(Failure::Unavailable { to, record, reason, retry_after: None }),
            '-' => Answer::Failed(Failure::Refused { to, record, reason }),
            'n' => Answer::Failed(Failure::Unreachable { to, record, reason }),
            _ => Answer::Failed(Failure::Corrupt { record, reason }),
        }
    }
}

impl Sink for Arc<OtherSide> {
    fn rows_per_batch(&self) -> usize {
        2
    }

    fn key(&self, row: &OutboxRow) -> String {
        row.id.0[..1].to_owned()
    }

    async fn send(&self, rows: Arc<[OutboxRow]>) -> Vec<Answer> {
        let (mut answers, mut held) = (Vec::new(), BTreeSet::new());
        for row in rows.iter() {
            let answer = if held.contains(&self.key(row)) { Answer::NotSent } else { self.take(row) };
            if !answer.is_final() {
                held.insert(self.key(row));
            }
            answers.push(answer);
        }
        answers
    }
}

fn noon() -> ReceiveTime {
    ReceiveTime::from_micros(1_790_000_000_000_000)
}

fn delivery(
    partition: &Arc<Partition>,
    there: &Arc<OtherSide>,
) -> Delivery<Arc<Partition>, Arc<Partition>, Arc<OtherSide>> {
    Delivery::new(
        Destination::Billing,
        Arc::clone(partition),
        Arc::clone(partition),
        Arc::clone(there),
        noon,
        AT_ONCE,
    )
}

const AT_ONCE: DeliveryConfig = DeliveryConfig {
    first_wait: Duration::ZERO,
    longest_wait: Duration::ZERO,
    retry_after_max: Duration::ZERO,
    failures_to_open: 5,
    open: Duration::ZERO,
};

/// Drains five rows and shows what arrived, what was committed and what was counted.
fn check(cues: &str, arrived: &str, receipts: &str, counts: (u64, u64, u64)) {
    let (partition, there) = (Partition::with_rows(5), OtherSide::answering(cues));
    let drained = drain(delivery(&partition, &there)).expect("the partition is well");
    assert_eq!(locked(&there.arrived).join(" "), arrived, "arrived, {cues}");
    assert_eq!(partition.receipts(), receipts, "receipts, {cues}");
    assert_eq!((drained.accepted, drained.refused, drained.left), counts, "counts, {cues}");
    assert_eq!(drained.bytes, 2 * (counts.0 + counts.1), "bytes, {cues}");
    assert_eq!(drained.held_by.is_some(), counts.2 > 0, "held, {cues}");
}

#[test]
fn rows_arrive_in_order_and_leave_with_their_receipt() {
    check("", "r1 r2 r3 r4 r5", "r1+ r2+ r3+ r4+ r5+", (5, 0, 0));
}

#[test]
fn what_may_have_arrived_is_sent_again_before_anything_else() {
    check("+u", "r1 r2 r2 r3 r4 r5", "r1+ r2+ r3+ r4+ r5+", (5, 0, 0));
    check("ubu", "r1 r1 r1 r1 r2 r3 r4 r5", "r1+ r2+ r3+ r4+ r5+", (5, 0, 0));
}

#[test]
fn a_refused_row_is_parked_and_the_rest_goes_on() {
    check("+-+", "r1 r2 r3 r4 r5", "r1+ r2- r3+ r4+ r5+", (4, 1, 0));
}

#[test]
fn a_row_that_must_not_leave_stops_everything() {
    check("+x", "r1 r2", "r1+", (1, 0, 4));
}

#[test]
fn a_drain_gives_up_on_a_destination_that_stays_away() {
    check("bbbbbbbb", "r1 r1 r1 r1", "", (0, 0, 5));
}

#[test]
fn a_lost_receipt_sends_again_and_doubles_nothing() {
    let (partition, there) = (Partition::with_rows(3), OtherSide::answering(""));
    *locked(&partition.failing_commits) = 1;
    let failed = drain(delivery(&partition, &there));
    assert!(matches!(failed, Err(DeliveryError::Receipts { .. })), "{failed:?}");
    assert_eq!(partition.receipts(), "");

    drain(delivery(&partition, &there)).expect("the partition is well again");
    assert_eq!(locked(&there.arrived).join(" "), "r1 r2 r1 r2 r3");
    assert_eq!(locked(&there.booked).values().sum::<u32>(), 3);
    assert_eq!(partition.receipts(), "r1+ r2+ r3+");
}

#[tokio::test]
async fn a_running_delivery_outlives_an_outage_and_stops_when_told() {
    let (partition, there) = (Partition::with_rows(2), OtherSide::answering(&"b".repeat(20)));
    let (stop, stopped) = watch::channel(false);
    let committed = Arc::new(Notify::new());
    let running = tokio::spawn(delivery(&partition, &there).run(
        Arc::clone(&committed),
        stopped,
        Duration::from_secs(60),
    ));
    while partition.receipts() != "r1+ r2+" {
        tokio::task::yield_now().await;
    }
    partition.add(3);
    committed.notify_one();
    while partition.receipts() != "r1+ r2+ r3+" {
        tokio::task::yield_now().await;
    }
    stop.send(true).expect("the delivery listens");
    running.await.expect("no panic").expect("a stop is no error");
}

#[tokio::test]
async fn an_open_breaker_lets_one_row_through_at_a_time() {
    let recorder = crate::observe::registry::recorder(&[]).expect("buckets are given");
    let _here = metrics::set_default_local_recorder(&recorder);
    let shows = |line: &str| {
        let text = recorder.handle().render();
        assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
    };
    let (partition, there) = (Partition::with_rows(4), OtherSide::answering("nnnnn"));
    let mut delivery = delivery(&partition, &there);
    while delivery.breaker.position() != Position::Open {
        rounds(&mut delivery, 1).await;
    }
    shows("tidemark_delivery_breaker_state{destination=\"billing\"} 2");
    shows("tidemark_outbox_oldest_timestamp_seconds{destination=\"billing\"} 1790000000");
    delivery.round().await.expect("the partition is well");
    assert_eq!(partition.receipts(), "r1+");
    delivery.round().await.expect("the partition is well");
    assert_eq!(partition.receipts(), "r1+ r2+ r3+");
    shows("tidemark_delivery_breaker_state{destination=\"billing\"} 0");
    while !matches!(delivery.round().await, Ok(Round::Idle)) {}
    shows("tidemark_outbox_oldest_timestamp_seconds{destination=\"billing\"} 0");
}

#[test]
fn attempts_are_counted_by_what_came_of_them() {
    let recorder = crate::observe::registry::recorder(&[]).expect("buckets are given");
    let (partition, there) = (Partition::with_rows(5), OtherSide::answering("+-+ubx"));
    let drained = metrics::with_local_recorder(&recorder, || drain(delivery(&partition, &there)));
    assert_eq!(drained.expect("the partition is well").left, 2);
    let text = recorder.handle().render();
    for (outcome, count) in [("accepted", 2), ("refused", 1), ("retried", 2), ("stopped", 1)] {
        let line =
            format!("tidemark_deliveries_total{{destination=\"billing\",outcome=\"{outcome}\"}} {count}");
        assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
    }
}

/// Rounds with nothing else between them.
async fn rounds(delivery: &mut Delivery<Arc<Partition>, Arc<Partition>, Arc<OtherSide>>, count: usize) {
    for _ in 0..count {
        delivery.round().await.expect("the partition is well");
    }
}

#[tokio::test]
async fn a_key_that_fails_holds_its_own_rows_and_no_other() {
    let (partition, there) = (Partition::with("a1 a2 a3 b1 a4 c1 b2"), OtherSide::answering(""));
    "a".clone_into(&mut locked(&there.failing));
    let mut delivery = delivery(&partition, &there);
    rounds(&mut delivery, 20).await;
    assert_eq!(partition.receipts(), "b1+ c1+ b2+");
    assert_eq!(delivery.breaker.position(), Position::Closed);
    partition.add_named(8, "b3");
    rounds(&mut delivery, 10).await;
    assert_eq!(partition.receipts(), "b1+ c1+ b2+ b3+");
    locked(&there.failing).clear();
    rounds(&mut delivery, 10).await;
    assert_eq!(partition.receipts(), "b1+ c1+ b2+ b3+ a1+ a2+ a3+ a4+");
}

#[tokio::test]
async fn an_open_breaker_probes_another_key_each_time() {
    let (partition, there) = (Partition::with("a1 a2 b1 c1 d1 e1"), OtherSide::answering(""));
    "abcde".clone_into(&mut locked(&there.failing));
    let mut delivery = delivery(&partition, &there);
    while delivery.breaker.position() != Position::Open {
        rounds(&mut delivery, 1).await;
    }
    locked(&there.arrived).clear();
    rounds(&mut delivery, 6).await;
    let arrived = locked(&there.arrived).join(" ");
    let each: BTreeSet<&str> = arrived.split(' ').take(5).collect();
    assert_eq!(each.into_iter().collect::<String>(), "a1b1c1d1e1", "{arrived}");
    // A key that has not failed is asked first, and its success is everyone's.
    partition.add_named(7, "f1");
    rounds(&mut delivery, 1).await;
    assert_eq!((partition.receipts().as_str(), delivery.breaker.position()), ("f1+", Position::Closed));
}

#[tokio::test]
async fn a_row_that_comes_back_is_sent_again() {
    let (partition, there) = (Partition::with_rows(3), OtherSide::answering("-"));
    let mut delivery = delivery(&partition, &there);
    while !matches!(delivery.round().await, Ok(Round::Idle)) {}
    partition.add(1);
    rounds(&mut delivery, 3).await;
    assert_eq!(partition.receipts(), "r1- r2+ r3+", "nobody said that it is back");
    *locked(&partition.resent) += 1;
    rounds(&mut delivery, 1).await;
    assert_eq!(partition.receipts(), "r1- r2+ r3+ r1+");
}

/// Takes rows and never answers.
struct Silent;

impl Sink for Silent {
    fn rows_per_batch(&self) -> usize {
        2
    }

    fn key(&self, _: &OutboxRow) -> String {
        String::new()
    }

    async fn send(&self, _: Arc<[OutboxRow]>) -> Vec<Answer> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_stop_waits_for_an_attempt_no_longer_than_its_grace() {
    let partition = Partition::with_rows(1);
    let outbox = (Arc::clone(&partition), Arc::clone(&partition));
    let delivery = Delivery::new(Destination::Billing, outbox.0, outbox.1, Silent, noon, AT_ONCE);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(delivery.run(Arc::default(), stopped, Duration::from_millis(1)));
    stop.send(true).expect("the delivery listens");
    running.await.expect("no panic").expect("a stop is no error");
    assert_eq!(partition.receipts(), "");
}
