//! Is an entry in the ledger exactly once, whatever the ERP does? Against a real HTTP server that misbehaves on cue.

use std::collections::{BTreeMap, VecDeque};
use std::sync::MutexGuard;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tidemark_schemas::ReceiveTime;
use tidemark_schemas::wire::v1;
use tokio::sync::Notify;

use super::super::booking::tests::{entry, row};
use super::*;
use crate::deliver::Remedy;

/// What the ERP does with the next post.
#[derive(Clone, Copy, Debug)]
enum Cue {
    Book,
    /// Never answers; books when told, long after the client hung up.
    BookAfterHangUp,
    /// A polite answer and nothing else.
    Nothing,
    /// A draft that waits for an approval.
    Draft,
    /// Books in the next period.
    Redate,
    /// Books one cent less.
    Cut,
    /// Answers and does nothing.
    Say(u16, &'static str),
    SayLater(u16, &'static str),
    /// Forgets the keys it knows, then books: what happens hours or days after a key was used.
    ForgetKeys,
}

#[derive(Default)]
struct Ledger {
    cues: Mutex<VecDeque<Cue>>,
    /// Every posting, repetitions too: what an auditor would find.
    booked: Mutex<Vec<v1::JournalEntry>>,
    /// What the next look-ups answer instead; 0 is the truth.
    looks: Mutex<VecDeque<u16>>,
    standings: Mutex<BTreeMap<String, serde_json::Value>>,
    keys: Mutex<BTreeMap<String, ()>>,
    posts: Mutex<u32>,
    go_on: Notify,
    gone_on: Notify,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    fn book(&self, entry: &v1::JournalEntry, state: &str, change: impl Fn(&mut serde_json::Value)) {
        if locked(&self.keys).insert(entry.id.clone(), ()).is_some() {
            return;
        }
        locked(&self.booked).push(entry.clone());
        let sum = |side: fn(&v1::JournalLine) -> &String| {
            entry
                .lines
                .iter()
                .map(|line| side(line).parse::<i128>().expect("digits"))
                .sum::<i128>()
                .to_string()
        };
        let mut standing = json!({
            "id": entry.id, "state": state, "legal_entity": entry.legal_entity, "currency": entry.currency,
            "accounting_period": entry.accounting_period, "debit_minor": sum(|line| &line.debit_minor),
            "credit_minor": sum(|line| &line.credit_minor), "number": "2026-0000001",
        });
        change(&mut standing);
        locked(&self.standings).insert(entry.id.clone(), standing);
    }
}

async fn take(Shared(ledger): Shared<Arc<Ledger>>, headers: HeaderMap, body: Bytes) -> Response {
    let entry: v1::JournalEntry = serde_json::from_slice(&body).expect("our own wire format");
    assert_eq!(headers.get("idempotency-key").and_then(|key| key.to_str().ok()), Some(entry.id.as_str()));
    assert_eq!(headers.get("authorization").and_then(|key| key.to_str().ok()), Some("Bearer s3cret"));
    *locked(&ledger.posts) += 1;
    let cue = locked(&ledger.cues).pop_front().unwrap_or(Cue::Book);
    match cue {
        Cue::Book => ledger.book(&entry, "posted", |_| ()),
        Cue::Draft => ledger.book(&entry, "pending", |_| ()),
        Cue::Redate => {
            ledger.book(&entry, "posted", |standing| standing["accounting_period"] = json!("2026-03"))
        }
        Cue::Cut => ledger.book(&entry, "posted", |standing| standing["debit_minor"] = json!("47036")),
        Cue::Nothing => {}
        Cue::ForgetKeys => {
            locked(&ledger.keys).clear();
            ledger.book(&entry, "posted", |_| ());
        }
        Cue::BookAfterHangUp => {
            let zombie = Arc::clone(&ledger);
            tokio::spawn(async move {
                zombie.go_on.notified().await;
                zombie.book(&entry, "posted", |_| ());
                zombie.gone_on.notify_one();
            });
            std::future::pending::<()>().await;
        }
        Cue::Say(status, text) => {
            return (StatusCode::from_u16(status).expect("a status"), text).into_response();
        }
        Cue::SayLater(status, wait) => {
            let status = StatusCode::from_u16(status).expect("a status");
            return (status, [("retry-after", wait)], "busy").into_response();
        }
    }
    (StatusCode::OK, "{\"ok\":true}").into_response()
}

async fn find(Shared(ledger): Shared<Arc<Ledger>>, Path(id): Path<String>) -> Response {
    if let Some(status) = locked(&ledger.looks).pop_front().filter(|status| *status != 0) {
        return StatusCode::from_u16(status).expect("a status").into_response();
    }
    match locked(&ledger.standings).get(&id) {
        Some(standing) => axum::Json(standing.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn noon() -> ReceiveTime {
    ReceiveTime::from_micros(1_767_225_600_000_000)
}

async fn serve(cues: &[Cue]) -> (Arc<Ledger>, String) {
    let ledger = Arc::new(Ledger { cues: Mutex::new(cues.iter().copied().collect()), ..Ledger::default() });
    let app = Router::new()
        .route("/journal", post(take))
        .route("/journal/{id}", get(find))
        .with_state(Arc::clone(&ledger));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/journal", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (ledger, url)
}

/// A process that has just started: it remembers nothing of earlier requests.
fn started(url: &str) -> ErpHttp {
    // Longer than a busy test machine ever takes to answer.
    started_with(url, 30_000)
}

fn started_with(url: &str, answer_ms: u64) -> ErpHttp {
    let config = ErpHttpConfig {
        url: url.into(),
        bearer_token: Some(BearerToken("s3cret".into())),
        plain_http: false,
        request_limit_ms: 3_600_000,
        timeouts: Timeouts { answer: Duration::from_millis(answer_ms), ..Timeouts::default() },
    };
    ErpHttp::new(config, noon).expect("an address")
}

async fn send(erp: &ErpHttp, ids: &[&str]) -> Vec<Answer> {
    let rows: Vec<OutboxRow> = ids.iter().zip(1..).map(|(id, sequence)| row(sequence, &entry(id))).collect();
    erp.send(rows.into()).await
}

fn accepted() -> Answer {
    Answer::Accepted { reference: "2026-0000001".into() }
}

fn failure(answer: &Answer) -> &Failure {
    match answer {
        Answer::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

fn counts(ledger: &Ledger) -> (u32, usize) {
    (*locked(&ledger.posts), locked(&ledger.booked).len())
}

#[tokio::test]
async fn an_entry_is_accepted_under_the_ledgers_number() {
    let (ledger, url) = serve(&[]).await;
    assert_eq!(send(&started(&url), &["je-1", "je-2"]).await, [accepted(), accepted()]);
    assert_eq!(counts(&ledger), (2, 2));
    assert_eq!(locked(&ledger.booked)[0], entry("je-1"), "the wire entry arrives as it is");
}

#[tokio::test]
async fn a_polite_answer_without_effect_is_not_accepted() {
    let (ledger, url) = serve(&[Cue::Nothing, Cue::Say(202, "queued")]).await;
    let erp = started(&url);
    for _ in 0..2 {
        let answers = send(&erp, &["je-1"]).await;
        assert!(matches!(failure(&answers[0]), Failure::NotInEffect { .. }), "{answers:?}");
        assert_eq!(failure(&answers[0]).remedy(), Remedy::ResendSameBytes);
    }
    assert_eq!(counts(&ledger), (2, 0));
    assert_eq!(send(&erp, &["je-1"]).await, [accepted()]);
    assert_eq!(counts(&ledger), (3, 1));
}

#[tokio::test]
async fn a_draft_is_waited_for_and_not_posted_again() {
    let (ledger, url) = serve(&[Cue::Draft]).await;
    let erp = started(&url);
    for _ in 0..2 {
        let answers = send(&erp, &["je-1", "je-2"]).await;
        assert!(failure(&answers[0]).to_string().contains("approval"), "{answers:?}");
        assert_eq!(answers[1], Answer::NotSent);
    }
    locked(&ledger.standings).get_mut("je-1").expect("a draft")["state"] = json!("posted");
    assert_eq!(send(&erp, &["je-1"]).await, [accepted()]);
    assert_eq!(counts(&ledger), (1, 1));
}

#[tokio::test]
async fn a_rejected_draft_is_parked() {
    let (ledger, url) = serve(&[Cue::Draft]).await;
    let erp = started(&url);
    send(&erp, &["je-1"]).await;
    locked(&ledger.standings).get_mut("je-1").expect("a draft")["state"] = json!("rejected");
    assert_eq!(failure(&send(&erp, &["je-1"]).await[0]).remedy(), Remedy::Park);
}

#[tokio::test]
async fn what_was_booked_otherwise_is_a_conflict() {
    for (cue, difference) in [
        (Cue::Redate, "accounting period \"2026-03\" there, \"2026-02\" here"),
        (Cue::Cut, "debits \"47036\" there, 47037 here"),
    ] {
        let (_, url) = serve(&[cue]).await;
        let answers = send(&started(&url), &["je-1", "je-2"]).await;
        assert!(failure(&answers[0]).to_string().contains(difference), "{answers:?}");
        assert_eq!(failure(&answers[0]).remedy(), Remedy::Park);
        assert_eq!(answers[1], accepted(), "the entries behind it go on");
    }
}

#[tokio::test]
async fn an_id_that_is_taken_by_other_content_is_a_conflict() {
    let (ledger, url) = serve(&[Cue::Say(409, "exists")]).await;
    let mut other = entry("je-1");
    other.lines.remove(1);
    other.lines[1].credit_minor = "40000".into();
    let erp = started(&url);
    // Nothing there, yet 409: a request of ours is still at work, so it is looked up again.
    assert!(matches!(failure(&send(&erp, &["je-1"]).await[0]), Failure::NotInEffect { .. }));
    ledger.book(&other, "posted", |_| ());
    assert!(matches!(failure(&send(&erp, &["je-1"]).await[0]), Failure::Conflict { .. }));
    assert_eq!(counts(&ledger), (1, 1));
}

#[tokio::test]
async fn a_commit_after_hang_up_is_found_and_not_doubled() {
    let (ledger, url) = serve(&[Cue::BookAfterHangUp]).await;
    let erp = started_with(&url, 1_000);
    // The answer never comes; the second attempt must not post while the first may still take effect.
    for _ in 0..2 {
        let answers = send(&erp, &["je-1"]).await;
        assert!(matches!(failure(&answers[0]), Failure::Uncertain { .. }), "{answers:?}");
    }
    assert_eq!(counts(&ledger), (1, 0));
    // The zombie commits. Even an ERP that forgets its keys has nothing to double: it is looked up first.
    ledger.go_on.notify_one();
    ledger.gone_on.notified().await;
    locked(&ledger.keys).clear();
    assert_eq!(send(&erp, &["je-1"]).await, [accepted()]);
    assert_eq!(counts(&ledger), (1, 1));
}

#[tokio::test]
async fn a_restart_after_a_lost_receipt_books_nothing_twice() {
    let (ledger, url) = serve(&[Cue::Book, Cue::ForgetKeys]).await;
    assert_eq!(send(&started(&url), &["je-1"]).await, [accepted()]);
    locked(&ledger.keys).clear();
    assert_eq!(send(&started(&url), &["je-1"]).await, [accepted()]);
    assert_eq!(counts(&ledger), (1, 1));
}

#[tokio::test]
async fn a_busy_erp_is_asked_again_when_it_says() {
    let cues =
        [Cue::SayLater(429, "7"), Cue::SayLater(503, "Thu, 01 Jan 2026 00:01:00 GMT"), Cue::Say(503, "lock")];
    let (ledger, url) = serve(&cues).await;
    let erp = started(&url);
    for seconds in [Some(7), Some(60), None] {
        let answers = send(&erp, &["je-1"]).await;
        assert_eq!(failure(&answers[0]).remedy(), Remedy::ResendSameBytes);
        assert_eq!(failure(&answers[0]).retry_after(), seconds.map(Duration::from_secs));
    }
    assert_eq!(send(&erp, &["je-1"]).await, [accepted()]);
    assert_eq!(counts(&ledger), (4, 1));
}

#[tokio::test]
async fn a_refusal_is_parked_with_the_erps_words() {
    let words = "To continue, you must reopen the period \"2026-02\"";
    let (ledger, url) = serve(&[Cue::Say(400, words), Cue::Say(401, "who?")]).await;
    let erp = started(&url);
    let answers = send(&erp, &["je-1"]).await;
    assert!(failure(&answers[0]).to_string().contains(words), "{answers:?}");
    assert_eq!(failure(&answers[0]).remedy(), Remedy::Park);
    let held = send(&erp, &["je-2"]).await;
    assert!(matches!(failure(&held[0]), Failure::NotAdmitted { .. }), "{held:?}");
    assert!(!failure(&held[0]).to_string().contains("s3cret"));
    assert_eq!(counts(&ledger), (2, 0));
}

#[tokio::test]
async fn a_gateways_error_may_hide_an_effect() {
    let (ledger, url) = serve(&[Cue::Say(504, "gateway timeout")]).await;
    let erp = started(&url);
    for _ in 0..2 {
        assert!(matches!(failure(&send(&erp, &["je-1"]).await[0]), Failure::Uncertain { .. }));
    }
    assert_eq!(counts(&ledger).0, 1, "not posted again while the first may take effect");
}

#[tokio::test]
async fn an_entry_that_cannot_be_looked_up_is_neither_accepted_nor_parked() {
    for status in [400, 401, 429, 500] {
        let (ledger, url) = serve(&[]).await;
        let erp = started(&url);
        // The look-up before the post tells the truth, the one after it fails.
        locked(&ledger.looks).extend([0, status]);
        let answers = send(&erp, &["je-1"]).await;
        assert_eq!(failure(&answers[0]).remedy(), Remedy::ResendSameBytes, "{status}");
        assert_eq!(send(&erp, &["je-1"]).await, [accepted()]);
        assert_eq!(counts(&ledger), (1, 1));
    }
}

#[test]
fn a_token_is_never_shown() {
    let config: ErpHttpConfig =
        serde_json::from_str(r#"{"url":"https://erp.example/journal","bearer_token":"s3cret"}"#)
            .expect("read");
    assert!(!format!("{config:?}").contains("s3cret"));
    let erp = ErpHttp::new(config, noon).expect("an address");
    assert!(!format!("{erp:?}").contains("s3cret"));
}
