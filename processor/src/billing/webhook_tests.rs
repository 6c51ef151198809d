//! Does a record reach a billing platform once in effect, and is each of its answers understood? Against a real HTTP server.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tidemark_schemas::ReceiveTime;
use tidemark_schemas::outbox::Destination;
use tidemark_schemas::summary::RecordId;

use super::*;

const SECRETS: [&str; 2] =
    ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="];

/// Status, headers, body. Status 0 takes the record and never answers.
type Cue = (u16, &'static [(&'static str, &'static str)], &'static str);

#[derive(Default)]
struct Platform {
    cues: Mutex<VecDeque<Cue>>,
    stored: Mutex<BTreeSet<String>>,
    arrived: Mutex<Vec<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn noon() -> ReceiveTime {
    ReceiveTime::from_micros(1_767_225_600_000_000)
}

async fn receive(State(platform): State<Arc<Platform>>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().expect("text").to_owned());
    let id = header("webhook-id").expect("every request has one");
    assert_eq!(header("idempotency-key").as_ref(), Some(&id));
    assert_eq!(header("webhook-timestamp").as_deref(), Some("1767225600"));
    // The newer secret alone must do: that is what rotation needs.
    let newer = [SigningSecret::parse(SECRETS[1]).expect("a secret")];
    let expected = signatures(&newer, &id, 1_767_225_600, &body);
    assert!(header("webhook-signature").is_some_and(|all| all.split(' ').any(|one| one == expected)));

    locked(&platform.arrived).push(id.clone());
    let cue = locked(&platform.cues).pop_front();
    let Some((status, headers, body)) = cue else {
        let first = locked(&platform.stored).insert(id);
        return if first { StatusCode::CREATED } else { StatusCode::CONFLICT }.into_response();
    };
    if status == 0 {
        locked(&platform.stored).insert(id);
        std::future::pending::<()>().await;
    }
    let mut response = (StatusCode::from_u16(status).expect("a status"), body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().expect("a header"));
    }
    response
}

async fn serve(cues: &[Cue]) -> (Arc<Platform>, BillingWebhook) {
    let platform =
        Arc::new(Platform { cues: Mutex::new(cues.iter().copied().collect()), ..Platform::default() });
    let app = Router::new().fallback(receive).with_state(Arc::clone(&platform));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    // A platform that hangs once is waited for briefly; otherwise longer than a busy test machine takes to answer.
    let answer_ms = if cues.iter().any(|(status, ..)| *status == 0) { 1_000 } else { 30_000 };
    (platform, webhook(&format!("http://{address}/usage?key=s3cret"), answer_ms))
}

fn webhook(url: &str, answer_ms: u64) -> BillingWebhook {
    let config = WebhookConfig {
        url: url.into(),
        secrets: SECRETS.map(|text| SigningSecret::parse(text).expect("a secret")).into(),
        plain_http: false,
        in_flight_max: 4,
        timeouts: Timeouts { answer: Duration::from_millis(answer_ms), ..Timeouts::default() },
    };
    BillingWebhook::new(config, noon).expect("a configuration")
}

fn row(sequence: u64, subscriber: &str) -> OutboxRow {
    let payload = format!("{{\"billing_subscriber\":\"{subscriber}\"}}").into_bytes();
    OutboxRow { destination: Destination::Billing, sequence, id: RecordId(format!("rs-{sequence}")), payload }
}

async fn send(webhook: &BillingWebhook, rows: &[OutboxRow]) -> Vec<Answer> {
    webhook.send(rows.to_vec().into()).await
}

async fn answer_to(cue: Cue) -> Answer {
    let (_, webhook) = serve(&[cue]).await;
    send(&webhook, &[row(1, "acme")]).await.remove(0)
}

async fn failure_after(cue: Cue) -> Failure {
    match answer_to(cue).await {
        Answer::Failed(failure) => failure,
        other => panic!("{cue:?}: {other:?}"),
    }
}

#[tokio::test]
async fn acceptance_is_referenced_by_their_id_or_the_status() {
    let accepted = |reference: &str| Answer::Accepted { reference: reference.into() };
    assert_eq!(answer_to((201, &[], r#"{"id":"evt_42","ok":true}"#)).await, accepted("evt_42"));
    assert_eq!(answer_to((204, &[], "")).await, accepted("HTTP 204"));
    assert_eq!(answer_to((200, &[], r#"{"id":7}"#)).await, accepted("HTTP 200"));
    assert_eq!(answer_to((409, &[], "known")).await, accepted("HTTP 409"));
}

#[tokio::test]
async fn what_is_about_the_moment_is_sent_again_when_they_say() {
    for (status, wait) in
        [(429, Some("7")), (503, Some("120")), (425, None), (408, None), (500, None), (502, None)]
    {
        let headers: &'static [_] = match wait {
            Some("7") => &[("retry-after", "7")],
            Some(_) => &[("retry-after", "Thu, 01 Jan 2026 00:02:00 GMT")],
            None => &[],
        };
        let failure = failure_after((status, headers, "later")).await;
        assert_eq!(failure.remedy(), crate::deliver::Remedy::ResendSameBytes, "{status}");
        let seconds = wait.map(|text| text.parse().expect("seconds"));
        assert_eq!(failure.retry_after(), seconds.map(Duration::from_secs), "{status}");
    }
}

#[tokio::test]
async fn what_is_about_the_record_parks_it_with_their_words() {
    for status in [400, 413, 422] {
        let failure = failure_after((status, &[], "no such subscriber")).await;
        assert!(matches!(&failure, Failure::Refused { reason, .. } if reason.contains("no such subscriber")));
        assert!(!failure.to_string().contains("s3cret"), "{failure}");
    }
}

#[tokio::test]
async fn what_is_about_the_endpoint_holds() {
    for status in [401, 403, 404, 405, 407, 410, 302] {
        let failure = failure_after((status, &[("location", "http://127.0.0.1:1/elsewhere")], "")).await;
        assert!(matches!(failure, Failure::NotAdmitted { .. }), "{status}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_sent_again_and_stored_once() {
    let (platform, webhook) = serve(&[(0, &[], "")]).await;
    let rows = [row(1, "acme"), row(2, "acme")];
    let answers = send(&webhook, &rows).await;
    assert!(matches!(answers[0], Answer::Failed(Failure::Uncertain { .. })), "{answers:?}");
    assert_eq!(answers[1], Answer::NotSent);

    let answers = send(&webhook, &rows).await;
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Accepted { .. })), "{answers:?}");
    assert_eq!(*locked(&platform.arrived), ["rs-1", "rs-1", "rs-2"]);
    assert_eq!(locked(&platform.stored).len(), 2);
}

#[tokio::test]
async fn one_subscribers_failure_holds_only_its_own_rows() {
    let (platform, webhook) = serve(&[(500, &[], "")]).await;
    // One at a time, so that the cue meets the first row.
    let webhook = BillingWebhook {
        inner: Arc::new(Inner {
            endpoint: webhook.inner.endpoint.clone(),
            secrets: webhook.inner.secrets.clone(),
            in_flight_max: 1,
            clock: noon,
        }),
    };
    let answers = send(&webhook, &[row(1, "acme"), row(2, "globex"), row(3, "acme")]).await;
    assert!(matches!(
        answers[..],
        [Answer::Failed(Failure::Unavailable { .. }), Answer::Accepted { .. }, Answer::NotSent]
    ));
    assert_eq!(*locked(&platform.arrived), ["rs-1", "rs-2"]);
}

#[tokio::test]
async fn nobody_listening_is_unreachable_not_uncertain() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let answers = send(&webhook(&format!("http://{address}/"), 30_000), &[row(1, "acme")]).await;
    assert!(matches!(answers[0], Answer::Failed(Failure::Unreachable { .. })), "{answers:?}");
}

#[test]
fn a_configuration_is_checked_and_shows_no_secret() {
    let read = |text: &str| serde_json::from_str::<WebhookConfig>(text).map_err(|error| error.to_string());
    let text = format!(r#"{{"url":"https://b.example/","secrets":["{}"]}}"#, SECRETS[0]);
    let config = read(&text).expect("a configuration");
    assert!(!format!("{config:?}").contains("MfKQ"));
    let with = |change: fn(&mut WebhookConfig)| {
        let mut changed = config.clone();
        change(&mut changed);
        BillingWebhook::new(changed, noon).map(|_| ())
    };
    assert_eq!(with(|_| ()), Ok(()));
    assert_eq!(with(|c| c.secrets.clear()), Err(WebhookConfigError::NoSecret));
    assert_eq!(with(|c| c.in_flight_max = 0), Err(WebhookConfigError::InFlight { given: 0 }));
    let short = read(r#"{"url":"https://b.example/","secrets":["whsec_c2hvcnQ="]}"#).expect_err("too short");
    assert!(short.contains("5 bytes") && !short.contains("c2hvcnQ"), "{short}");
}
