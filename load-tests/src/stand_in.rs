//! Would the scenarios notice? A stand-in for the product, honest or with a fault of our choice.
//!
//! A test that has never failed proves little: the scenarios run against this server in our tests, and must pass
//! when it is honest and fail when it loses, doubles or dawdles. It keeps one line per event in a file, so that an
//! honest one survives kill -9 (an unclean power cut is not its subject: there is no fsync).
//!
//! Deliberately absent: everything else of the product. One thread per connection, only the requests that the
//! scenarios make, and no care for hostile input.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Honest,
    /// Acknowledges one event in a thousand without writing it down: gone after a restart.
    Loses,
    /// Remembers totals but not ids across a restart: what is sent again is counted again.
    Forgets,
    /// Refuses one event in a thousand as an exception.
    Refuses,
    /// Works on one request at a time, each this long.
    Slow(Duration),
    /// Answers this many requests with 429 first.
    Sheds(u32),
}

#[derive(Debug)]
struct Store {
    fault: Fault,
    seen: HashMap<String, ()>,
    totals: BTreeMap<String, (u64, u64)>,
    file: Option<File>,
    taken: u64,
    to_shed: u32,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    subject: String,
    data: Usage,
}

#[derive(Deserialize)]
struct Usage {
    tokens: u64,
}

/// Serves until the process ends.
///
/// # Errors
/// When `data` cannot be read; connections that break are simply closed.
pub fn serve(listener: &TcpListener, data: Option<&Path>, fault: Fault) -> io::Result<()> {
    let store = Arc::new(Mutex::new(Store::open(data, fault)?));
    for connection in listener.incoming() {
        let (connection, store) = (connection?, Arc::clone(&store));
        std::thread::spawn(move || answer_all(connection, &store));
    }
    Ok(())
}

/// A stand-in in a thread of this process, for tests; returns its address.
///
/// # Errors
/// When there is no free port.
pub fn spawn(fault: Fault) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || serve(&listener, None, fault));
    Ok(address)
}

impl Store {
    fn open(data: Option<&Path>, fault: Fault) -> io::Result<Self> {
        let to_shed = if let Fault::Sheds(count) = fault { count } else { 0 };
        let mut store =
            Self { fault, seen: HashMap::new(), totals: BTreeMap::new(), file: None, taken: 0, to_shed };
        let Some(data) = data else { return Ok(store) };
        let mut file = File::options().read(true).append(true).create(true).open(data.join("events"))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        // A line that the kill cut short was never acknowledged.
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        for line in text[..whole].lines() {
            let mut parts = line.split(' ').map(String::from);
            if let (Some(id), Some(subject), Some(Ok(tokens))) =
                (parts.next(), parts.next(), parts.next().map(|part| part.parse()))
            {
                store.count(&subject, tokens);
                if fault != Fault::Forgets {
                    store.seen.insert(id, ());
                }
            }
        }
        store.file = Some(file);
        Ok(store)
    }

    fn count(&mut self, subject: &str, tokens: u64) {
        let total = self.totals.entry(subject.into()).or_default();
        total.0 += 1;
        total.1 += tokens;
    }

    fn take(&mut self, events: &[Event]) -> io::Result<serde_json::Value> {
        let mut lines = String::new();
        let (mut accepted, mut duplicate, mut listed) = (0, 0, Vec::new());
        for (index, event) in events.iter().enumerate() {
            self.taken += 1;
            let unlucky = self.taken.is_multiple_of(1_000);
            if self.fault == Fault::Refuses && unlucky {
                listed.push(serde_json::json!({"index": index, "id": event.id, "status": "exception",
                    "code": "unmapped_subject", "path": "$.subject", "reason": "nobody has this subject"}));
                continue;
            }
            if self.seen.insert(event.id.clone(), ()).is_some() {
                duplicate += 1;
                listed.push(serde_json::json!({"index": index, "id": event.id, "status": "duplicate"}));
                continue;
            }
            accepted += 1;
            self.count(&event.subject, event.data.tokens);
            if !(self.fault == Fault::Loses && unlucky) {
                lines.push_str(&format!("{} {} {}\n", event.id, event.subject, event.data.tokens));
            }
        }
        if let Some(file) = &mut self.file {
            file.write_all(lines.as_bytes())?;
        }
        let exceptions = events.len() as u64 - accepted - duplicate;
        Ok(serde_json::json!({"received": events.len(), "accepted": accepted, "duplicate": duplicate,
            "conflict": 0, "rejected": 0, "exceptions": exceptions, "events": listed}))
    }

    fn usage(&self) -> serde_json::Value {
        let items: Vec<_> = self
            .totals
            .iter()
            .map(|(customer, (events, quantity))| {
                serde_json::json!({"customer": customer, "meter": "tokens",
                    "quantity": quantity.to_string(), "events": events})
            })
            .collect();
        serde_json::json!({"items": items})
    }
}

/// Answers one connection's requests until the other side closes it.
fn answer_all(connection: TcpStream, store: &Mutex<Store>) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut writer = connection;
    while let Some((line, body)) = read_request(&mut reader)? {
        let (status, answer) = answer(&line, &body, store)?;
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nretry-after: 0\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        writer.write_all(format!("{head}{answer}").as_bytes())?;
    }
    Ok(())
}

/// The request line and the body; `None` at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut request_line = String::new();
    if reader.read_line(&mut request_line)? == 0 {
        return Ok(None);
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((request_line, body)))
}

fn answer(line: &str, body: &[u8], store: &Mutex<Store>) -> io::Result<(&'static str, serde_json::Value)> {
    let mut store = store.lock().map_err(|_| io::Error::other("another connection's thread panicked"))?;
    if line.starts_with("GET /ready ") {
        return Ok(("200 OK", serde_json::json!({"ready": true})));
    }
    if line.starts_with("GET /v1/usage?meter=tokens&limit=") {
        return Ok(("200 OK", store.usage()));
    }
    if !line.starts_with("POST /v1/events ") {
        return Ok(("404 Not Found", serde_json::json!({"title": "not found"})));
    }
    if store.to_shed > 0 {
        store.to_shed -= 1;
        return Ok(("429 Too Many Requests", serde_json::json!({"title": "busy"})));
    }
    if let Fault::Slow(time) = store.fault {
        // While the store is locked: the others queue, as behind a slow disk.
        std::thread::sleep(time);
    }
    let events: Vec<Event> = serde_json::from_slice(body)?;
    Ok(("200 OK", store.take(&events)?))
}
