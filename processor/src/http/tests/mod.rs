//! Does the HTTP edge keep its promises over a real socket? A product in memory behind a listener on port 0.
//!
//! `memory` stands in for the product; the other files ask: which events are in a request (`binding`), what is
//! refused (`limits`), who may do what (`access`), what is answered (`reading`); `suites` asks with other people's bodies.
//! The certificate here is for these tests only: whoever trusts it trusts everybody.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::auth::Keys;
use super::serve;
use crate::config::{ApiKey, Http, Tls};

mod access;
mod binding;
mod limits;
mod memory;
mod reading;
mod suites;

use memory::Memory;

/// A served edge; it stops when dropped.
struct Served {
    address: SocketAddr,
    memory: Arc<Memory>,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    ended: tokio::task::JoinHandle<Result<(), serve::ServeError>>,
}

fn settings() -> Http {
    Http {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        tls: Tls::None,
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(10),
        requests_max: 64,
        connections_max: 64,
        shutdown_grace: Duration::from_secs(5),
    }
}

fn start() -> Served {
    start_with(settings(), Vec::new())
}

fn start_with(settings: Http, keys: Vec<ApiKey>) -> Served {
    let memory = Arc::new(Memory::default());
    let listening = serve::bind(&settings).expect("port 0 is always free");
    let address = listening.address();
    let (stop, stopped) = oneshot::channel();
    let metering = memory.clone();
    let stopping = async { drop(stopped.await) };
    let ended = tokio::spawn(listening.serve(metering, Keys::new(keys), stopping));
    Served { address, memory, client: client(), stop: Some(stop), ended }
}

fn client() -> reqwest::Client {
    // The second test of the process finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = std::fs::read(test_file("test_only_certificate.pem")).expect("checked in");
    let certificate = reqwest::Certificate::from_pem(&certificate).expect("a PEM certificate");
    reqwest::Client::builder().tls_certs_only([certificate]).no_proxy().build().expect("a client")
}

fn test_file(name: &str) -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .join("src/http/tests")
        .join(name)
}

impl Served {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.client.get(self.url(path))).await
    }

    async fn post(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        answer(self.client.post(self.url(path)).header("content-type", content_type).body(body)).await
    }

    /// What the server says to exactly these bytes, until it closes the connection.
    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("listening");
        stream.write_all(request).await.expect("the server reads");
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
        read.expect("the server closes the connection").expect("an orderly end");
        String::from_utf8(answer).expect("answers are UTF-8")
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let content_type = response.headers().get("content-type").cloned();
    let body: Value = response.json().await.expect("every answer is JSON");
    if status >= 400 {
        assert_eq!(content_type.expect("a content type"), "application/problem+json");
        assert_eq!(body["status"], status, "the problem repeats the status: {body}");
        for member in ["type", "title", "detail"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {body}");
        }
    }
    (status, body)
}
