//! A running `tidemark serve`, asked over its socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::product::Product;

/// A running service; killed when dropped.
pub struct Service {
    child: Child,
    pub address: SocketAddr,
}

impl Service {
    pub fn start(product: &Product, arguments: &[&str]) -> Self {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--data", "data", "--catalog", "catalog"];
        all.extend(arguments);
        let mut child = product.command(&all).stderr(Stdio::piped()).spawn().expect("starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let (mut line, mut address) = (String::new(), None);
        while address.is_none() {
            line.clear();
            assert_ne!(log.read_line(&mut line).expect("text"), 0, "it ended before it was ready");
            address =
                line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        }
        // A full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address: address.expect("just found") }
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
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
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
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
