//! The binary as a service, and an HTTP server that stands for a billing platform or an ERP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::product::Product;

/// A machine that is busy with other tests is given this long.
pub const PATIENCE: Duration = Duration::from_secs(60);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks until `found` answers something.
#[track_caller]
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running service; killed when dropped.
pub struct Service {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Service {
    /// Serves the product's folder, under `config`.
    pub fn configured(product: &Product, config: &str) -> Self {
        product.write("config.toml", config);
        Self::start(product, &["--config", "config.toml"])
    }

    /// Serves the product's folder.
    pub fn start(product: &Product, arguments: &[&str]) -> Self {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--data", "data", "--catalog", "catalog"];
        all.extend(arguments);
        let mut child = product.command(&all).stderr(Stdio::piped()).spawn().expect("starts");
        let (pipe, log) = (child.stderr.take().expect("piped"), Arc::new(Mutex::new(String::new())));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                locked(&kept).push_str(&(line + "\n"));
            }
        });
        let address = wait_for("the service is ready", || {
            let text = locked(&log).clone();
            assert!(child.try_wait().expect("a child").is_none(), "it ended before it was ready: {text}");
            text.split("address=").nth(1)?.split_whitespace().next()?.parse().ok()
        });
        Self { child, address, log }
    }

    pub fn log(&self) -> String {
        locked(&self.log).clone()
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub fn ask(&self, method: &str, path: &str, body: &str) -> String {
        self.ask_as("application/x-ndjson", method, path, body)
    }

    pub fn ask_as(&self, content_type: &str, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("listening");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// The answer's body, which must be JSON.
    pub fn json(&self, method: &str, path: &str, body: &str) -> Value {
        let content_type = if path == "/v1/events" { "application/x-ndjson" } else { "application/json" };
        let answer = self.ask_as(content_type, method, path, body);
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
    }

    #[track_caller]
    pub fn send(&self, events: &[String]) {
        let answer = self.ask("POST", "/v1/events", &(events.join("\n") + "\n"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Samples by name and labels, as they are exposed.
    pub fn samples(&self) -> Vec<(String, f64)> {
        let text = self.ask("GET", "/metrics", "");
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        text.lines().filter(|line| line.starts_with("tidemark_")).filter_map(sample).collect()
    }

    /// The value of a metric's sample, such as `tidemark_outbox_pending{destination="billing"}`.
    #[track_caller]
    pub fn metric(&self, sample: &str) -> f64 {
        let samples = self.samples();
        let found = samples.iter().find(|(name, _)| name == sample).map(|(_, value)| *value);
        found.unwrap_or_else(|| panic!("no {sample} in {samples:?}"))
    }

    /// Sends SIGTERM and waits for the end. Answers how long it took, and the whole log.
    pub fn terminate(mut self) -> (ExitStatus, Duration, String) {
        let (began, id) = (Instant::now(), self.child.id().to_string());
        let told = std::process::Command::new("kill").args(["-TERM", &id]).status().expect("kill runs");
        assert!(told.success());
        let ended = wait_for("the service ends", || self.child.try_wait().expect("a child"));
        let took = began.elapsed();
        // The pipe is read to its end a moment later.
        let log = Arc::clone(&self.log);
        let reader_is_done = || Arc::strong_count(&log) == 2;
        wait_for("its log is read", || reader_is_done().then_some(()));
        (ended, took, self.log())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub method: String,
    /// By lower-case name.
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Arrived {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn subscriber(&self) -> String {
        self.json()["billing_subscriber"].as_str().expect("a rated line").to_owned()
    }
}

type Answering = dyn Fn(&Arrived) -> (u16, String) + Send + Sync;

/// The other side of a webhook or an adapter: answers as told, and keeps what arrived.
#[derive(Clone)]
pub struct OtherSide {
    pub address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl OtherSide {
    pub fn start(answer: impl Fn(&Arrived) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let there = Self { address, arrived: Arc::default() };
        let (arrived, answer): (_, Arc<Answering>) = (Arc::clone(&there.arrived), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (arrived, answer) = (Arc::clone(&arrived), Arc::clone(&answer));
                std::thread::spawn(move || exchange(stream, &arrived, &*answer));
            }
        });
        there
    }

    pub fn arrived(&self) -> Vec<Arrived> {
        locked(&self.arrived).clone()
    }

    /// The configuration of a webhook to here.
    pub fn webhook(&self) -> String {
        format!(
            "[billing]\nkind = \"webhook\"\nurl = \"http://{}/usage\"\nsecret_env = \"BILLING_SECRET\"\n",
            self.address
        )
    }
}

fn exchange(stream: TcpStream, arrived: &Mutex<Vec<Arrived>>, answer: &Answering) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let method = line.split_whitespace().next()?.to_owned();
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? <= 2 {
            break;
        }
        let (name, value) = line.trim_end().split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let request = Arrived { method, headers, body: String::from_utf8(body).ok()? };
    locked(arrived).push(request.clone());
    let (status, body) = answer(&request);
    let mut stream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 {status} Status\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()
}
