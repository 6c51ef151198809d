//! Who may do what? Keys, roles, tenants, TLS, and paths that do not exist.

use tidemark_schemas::ids::TenantId;

use super::{Served, answer, settings, start, start_with, test_file};
use crate::config::{ApiKey, Role, Scope, Tls};
use crate::http::auth::new_key;
use crate::http::operation::{Operation, route_codes};
use crate::http::serve;
use crate::observe::registry;

fn tenant(name: &str) -> Scope {
    Scope::Tenant(TenantId::new(name).expect("a name"))
}

/// A new key, and its text.
fn key(id: &str, scope: Scope, roles: &[Role]) -> (ApiKey, String) {
    let (text, hash) = new_key(id).expect("randomness");
    (ApiKey { id: id.into(), scope, roles: roles.to_vec(), hash }, text)
}

async fn status(served: &Served, operation: Operation, authorization: Option<&str>) -> u16 {
    let path = operation.path().replace("{id}", "x");
    let mut request = served.client.request(operation.method(), served.url(&path));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn each_operation_needs_exactly_its_role() {
    let (keys, texts): (Vec<_>, Vec<_>) =
        Role::ALL.iter().map(|role| key(role.name(), tenant("acme"), &[*role])).unzip();
    let served = start_with(settings(), keys);
    let stranger = key("ingest", tenant("acme"), &Role::ALL).1;
    for operation in Operation::ALL {
        for (role, text) in Role::ALL.iter().zip(&texts) {
            let got = status(&served, operation, Some(&format!("Bearer {text}"))).await;
            let allowed = operation.role().is_none_or(|needed| needed == *role);
            assert_eq!(got != 403, allowed, "{operation:?} with {role}: {got}");
            assert_ne!(got, 401, "{operation:?} with {role}");
            assert!(
                operation.statuses().contains(&got) || got == 403,
                "{operation:?} answers {got}, which is not listed"
            );
        }
        let needs_key = operation.role().is_some();
        for authorization in [
            None,
            Some(format!("Bearer {stranger}")),
            Some(format!("Basic {}", texts[0])),
            Some(texts[0].clone()),
            Some("Bearer ".into()),
            Some(format!("Bearer {}x", texts[0])),
        ] {
            let got = status(&served, operation, authorization.as_deref()).await;
            assert_eq!(got == 401, needs_key, "{operation:?} with another credential: {got}");
        }
    }
    assert_eq!(served.memory.requests(), 0);
}

#[tokio::test]
async fn a_refusal_never_repeats_the_credential() {
    let (configured, text) = key("reader", tenant("acme"), &[Role::Read]);
    let served = start_with(settings(), vec![configured]);
    let secret = "tm_reader_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for credential in [secret, &text] {
        let request = served.client.post(served.url("/v1/events")).bearer_auth(credential);
        let response = request.send().await.expect("an answer");
        assert!([401, 403].contains(&response.status().as_u16()));
        let body = response.text().await.expect("a body");
        assert!(!body.contains(credential.rsplit('_').next().expect("a part")), "{body}");
    }
}

#[tokio::test]
async fn a_key_sees_its_own_tenant_only_and_an_operator_may_choose() {
    let (acme, acme_text) = key("acme", tenant("acme"), &[Role::Read, Role::Ingest]);
    let (every, every_text) = key("every", Scope::Every, &[Role::Read]);
    let served = start_with(settings(), vec![acme, every]);
    let get = |path: &str, text: &str| answer(served.client.get(served.url(path)).bearer_auth(text));
    assert_eq!(get("/v1/usage", &acme_text).await.1["items"][0]["customer"], "acme");
    assert_eq!(get("/v1/usage?tenant=acme", &acme_text).await.0, 200);
    assert_eq!(get("/v1/usage?tenant=other", &acme_text).await.0, 403);
    assert_eq!(get("/v1/usage?tenant=other", &every_text).await.1["items"][0]["customer"], "other");
    assert_eq!(get("/v1/usage?tenant=a%20b", &every_text).await.0, 400);
    assert_eq!(get("/v1/trace/event?source=s&id=1", &every_text).await.0, 400);

    let request = served.client.post(served.url("/v1/events")).bearer_auth(&acme_text);
    let request = request.header("content-type", "application/cloudevents-batch+json").body("[{}]");
    assert_eq!(answer(request).await.0, 200);
    let caller = served.memory.last_caller();
    assert_eq!((caller.key_id.as_str(), caller.scope), ("acme", tenant("acme")));
}

#[tokio::test]
async fn without_keys_everyone_is_the_default_tenant() {
    let served = start();
    served.post("/v1/events", "application/cloudevents-batch+json", "[{}]").await;
    assert_eq!(served.memory.last_caller().scope, tenant("default"));
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let served = start();
    assert_eq!(served.get("/v1/nothing").await.0, 404);
    assert_eq!(served.get("/").await.0, 404);
    let response = served.client.delete(served.url("/v1/events")).send().await.expect("an answer");
    assert_eq!(response.status().as_u16(), 405);
    assert_eq!(response.headers()["allow"], "POST");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn every_answer_is_measured_by_route_and_code() {
    let recorder = registry::recorder(&route_codes()).expect("buckets are given");
    let _here = metrics::set_default_local_recorder(&recorder);
    let served = start();
    served.get("/v1/usage").await;
    served.get("/v1/usage?nonsense=1").await;
    served.get("/nowhere").await;
    served.get("/v1/events").await;
    served.post("/v1/events", "application/cloudevents-batch+json", "[{}]").await;
    let text = recorder.handle().render();
    for line in [
        r#"tidemark_http_requests_total{route="/v1/usage",code="200"} 1"#,
        r#"tidemark_http_requests_total{route="/v1/usage",code="400"} 1"#,
        r#"tidemark_http_requests_total{route="unmatched",code="404"} 1"#,
        r#"tidemark_http_requests_total{route="/v1/events",code="405"} 1"#,
        r#"tidemark_http_request_seconds_count{route="/v1/usage"} 2"#,
        "tidemark_ingest_batches_total 1",
        "tidemark_ingest_bytes_total 4",
    ] {
        assert!(text.lines().any(|rendered| rendered == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn tls_is_spoken_when_configured() {
    let (certificate, key) = (test_file("test_only_certificate.pem"), test_file("test_only_key.pem"));
    let served = start_with(super::Http { tls: Tls::Here { certificate, key }, ..settings() }, Vec::new());
    let url = format!("https://{}/healthz", served.address);
    assert_eq!(answer(served.client.get(&url)).await.0, 200);
    served.client.get(served.url("/healthz")).send().await.expect_err("plain text is not answered");
}

#[test]
fn an_unusable_certificate_stops_the_start_and_is_named() {
    let file = test_file("mod.rs");
    let tls = Tls::Here { certificate: file.clone(), key: test_file("test_only_key.pem") };
    let refused = serve::bind(&super::Http { tls, ..settings() }).err().expect("no certificate in it");
    assert!(refused.to_string().contains("mod.rs"), "{refused}");
}

#[tokio::test]
async fn a_stop_releases_those_who_wait_and_ends() {
    let mut served = start();
    let waiting = tokio::spawn(answer(served.client.get(served.url("/v1/rated-summaries?wait=30"))));
    served.memory.was_read().await;
    served.stop.take().expect("not stopped yet").send(()).expect("served");
    let (status, page) = waiting.await.expect("no panic");
    assert_eq!((status, &page["items"]), (200, &serde_json::json!([])));
    served.ended.await.expect("no panic").expect("an orderly end");
}
