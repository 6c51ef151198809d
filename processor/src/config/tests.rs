//! Is every wrong configuration refused with its place, and is every key documented?

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    let environment = |name: &str| (name == "SECRET").then(|| "hunter2\n".to_owned());
    Config::from_text(text, Path::new("tidemark.toml"), &environment)
}

fn refused(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

const HASH: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000ff";

#[test]
fn without_a_file_it_runs_alone_on_loopback() {
    let config = Config::load(None).expect("defaults are valid");
    assert!(config.http.listen.ip().is_loopback());
    assert_eq!(config.billing, Billing::File { directory: "data/billing".into() });
    assert_eq!(config.erp, Erp::File { directory: "data/erp".into() });
    assert_eq!(config.archive, Archive::Local { directory: "data/archive".into() });
    assert_eq!(config.log, Log { format: LogFormat::Text, level: LogLevel::Info });
}

/// The wrong text; then what the message must contain.
#[test]
fn a_refusal_names_the_place_the_key_and_what_is_allowed() {
    let table: &[(&str, &[&str])] = &[
        ("dta_dir = 'x'", &["tidemark.toml, line 1, key `dta_dir`", "`data_dir`", "`catalog_dir`"]),
        ("\n[http]\nport = 1", &["line 3, key `http.port`", "`listen`", "`requests_max`"]),
        ("[http]\nlisten = 'localhost'", &["line 2, key `http.listen`", "127.0.0.1:8080"]),
        ("[http]\nlisten = 80", &["line 2, key `http.listen`", "expected a string"]),
        ("[http]\nrequests_max = 0", &["key `http.requests_max`", "0 is outside 1 to 65536"]),
        ("[http]\ntls = 'yes'", &["`here`", "`terminated upstream`"]),
        ("[http]\ntls_key_file = 'k'", &["line 1, key `http`", "`http.tls_certificate_file` is missing"]),
        ("[http]\ntls = 'here'", &["is missing"]),
        ("[http]\ntls = 'none'\ntls_key_file = 'k'\ntls_certificate_file = 'c'", &["line 2", "contradicts"]),
        ("[billing]\nkind = 'fax'", &["line 2, key `billing.kind`", "`file`", "`webhook`", "`pull`"]),
        (
            "[billing]\nkind = 'pull'\nurl = 'https://b'",
            &["line 3, key `billing.url`", "no meaning with kind pull"],
        ),
        ("[billing]\nkind = 'webhook'", &["`billing.url` is missing"]),
        ("[billing]\nkind = 'webhook'\nurl = 'b.example.com'", &["line 3", "https://"]),
        ("[billing]\nkind = 'webhook'\nurl = 'https://u:p@b.example.com'", &["line 3", "would be logged"]),
        (
            "[billing]\nkind = 'webhook'\nurl = 'https://b'",
            &["`billing.secret_file` is missing", "secret_env"],
        ),
        ("[erp]\nkind = 'http'\nurl = 'https://e'\ntoken_env = 'UNSET'", &["line 4", "UNSET is not set"]),
        ("[erp]\nkind = 'http'\nurl = 'https://e'\ntoken_file = '/nowhere/t'", &["line 4", "/nowhere/t"]),
        (
            "[erp]\nkind = 'http'\nurl = 'https://e'\ntoken_file = 'f'\ntoken_env = 'SECRET'",
            &["line 5", "keep one"],
        ),
        (
            "[erp]\nkind = 'file'\nplain_http = true",
            &["line 3, key `erp.plain_http`", "no meaning with kind file"],
        ),
        ("[delivery]\nfailures_to_open = 0", &["key `delivery.failures_to_open`", "0 is outside 1 to 1000"]),
        ("[delivery]\nlongest_wait_ms = 100", &["line 2, key `delivery.longest_wait_ms`", "first_wait_ms"]),
        ("[archive]\nkind = 'none'\ndirectory = 'a'", &["line 3, key `archive.directory`"]),
        ("[log]\nlevel = 'loud'", &["`warn`", "`trace`"]),
        ("[[api_key]]\nid = 'a'", &["tenant"]),
        ("a = [", &["line 1"]),
    ];
    for (text, parts) in table {
        let message = refused(text);
        for part in *parts {
            assert!(message.contains(part), "{text:?}: `{part}` is not in: {message}");
        }
    }
}

fn key(id: &str, tenant: &str, roles: &str, hash: &str) -> String {
    format!("[[api_key]]\nid = '{id}'\ntenant = '{tenant}'\nroles = [{roles}]\nhash = '{hash}'\n")
}

#[test]
fn keys_are_checked_one_by_one_and_together() {
    let good = key("a", "acme", "'ingest', 'read'", HASH);
    let config = parse(&good).expect("a valid key");
    assert_eq!(config.api_keys[0].hash.to_string(), HASH);
    for (text, part) in [
        (key("a_b", "acme", "'read'", HASH), "line 2, key `api_key.id`"),
        (key("a", "ac me", "'read'", HASH), "line 3, key `api_key.tenant`"),
        (key("a", "*", "'ingest'", HASH), "one tenant"),
        (key("a", "acme", "", HASH), "allowed are ingest, read, acknowledge, operate"),
        (key("a", "acme", "'root'", HASH), "`operate`"),
        (key("a", "acme", "'read'", "hunter2"), "line 5, key `api_key.hash`"),
        (key("a", "acme", "'read'", &HASH[..70]), "64 hex digits"),
        (key("a", "acme", "'read'", &HASH.replace('f', "g")), "64 hex digits"),
        (format!("{good}{good}"), "line 7, key `api_key.id`: another key has the same id"),
    ] {
        let message = refused(&text);
        assert!(message.contains(part), "{text}: `{part}` is not in: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn an_unprotected_port_is_refused() {
    let key = key("a", "acme", "'read'", HASH);
    for (listen, tls, keys, lack) in [
        ("127.0.0.1:1", "", "", None),
        ("[::1]:1", "", "", None),
        ("0.0.0.0:1", "tls = 'terminated upstream'", "", Some("without any API key")),
        ("[::]:1", "", key.as_str(), Some("without TLS")),
        ("10.0.0.1:1", "tls = 'none'", key.as_str(), Some("without TLS")),
        ("0.0.0.0:1", "tls = 'terminated upstream'", key.as_str(), None),
        ("0.0.0.0:1", "tls_certificate_file = 'c'\ntls_key_file = 'k'", key.as_str(), None),
    ] {
        let text = format!("[http]\nlisten = '{listen}'\n{tls}\n{keys}");
        match (parse(&text), lack) {
            (Ok(_), None) => {}
            (Err(error @ ConfigError::Exposed { .. }), Some(lack)) => {
                assert!(error.to_string().contains(lack), "{text}: {error}");
            }
            (got, _) => panic!("{text}: {got:?}"),
        }
    }
}

#[test]
fn secrets_are_read_and_never_shown() {
    let text = "[billing]\nkind = 'webhook'\nurl = 'https://b.example.com/usage'\nsecret_env = 'SECRET'";
    let config = parse(text).expect("a valid webhook");
    let Billing::Webhook { secret, .. } = &config.billing else { panic!("{:?}", config.billing) };
    assert_eq!(secret.expose(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));

    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "\n").expect("writable");
    let text = format!("[erp]\nkind = 'http'\nurl = 'http://e'\ntoken_file = '{}'", file.path().display());
    assert!(refused(&text).contains("holds 0 bytes"), "an empty secret is a mistake");
    std::fs::write(file.path(), "token\n").expect("writable");
    let token = Some(Secret::new("token".into()));
    assert_eq!(
        parse(&text).expect("valid").erp,
        Erp::Http { url: "http://e".into(), token, plain_http: false }
    );
}

const DOCUMENT: &str = include_str!("../../docs/configuration.md");

/// The keys that the parser allows, as it says itself, with their section.
fn allowed_keys() -> BTreeSet<String> {
    let sections = ["", "http", "api_key", "billing", "erp", "delivery", "archive", "log"];
    let mut keys = BTreeSet::new();
    for section in sections {
        let header = match section {
            "" => String::new(),
            "api_key" => "[[api_key]]\n".into(),
            name => format!("[{name}]\n"),
        };
        let message = refused(&format!("{header}no_such_key = 1"));
        let (_, allowed) = message.split_once("expected ").expect("the message lists the allowed keys");
        for name in allowed.split('`').skip(1).step_by(2) {
            let is_section = section.is_empty() && sections.contains(&name);
            if !is_section {
                keys.insert(if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") });
            }
        }
    }
    keys
}

#[test]
fn the_document_lists_exactly_the_keys_there_are() {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: BTreeSet<String> = rows.map(str::to_owned).collect();
    assert_eq!(documented, allowed_keys());
    assert!(documented.len() > 25, "{documented:?}");
}

#[test]
fn the_examples_of_the_document_are_valid() {
    let examples: Vec<&str> =
        DOCUMENT.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 2, "{examples:?}");
    for example in examples {
        parse(example).unwrap_or_else(|error| panic!("{example}: {error}"));
    }
}
