//! What decoding accepts, refuses and extracts, as tables.
//!
//! Sources: CloudEvents conformance `format/` (Apache-2.0) for events, JSONTestSuite (MIT, N. Seriot) for JSON. A few
//! cases of each stand here; the whole suites run when `TIDEMARK_DATA` names a folder that holds them.

use proptest::prelude::*;
use tidemark_core::identity::{ContentDigest, DeploymentKey};
use tidemark_schemas::ids::TenantId;
use tidemark_schemas::limits::{ATTRIBUTE_BYTES_MAX, DEPTH_MAX, EVENT_BYTES_MAX};
use tidemark_schemas::time::ReceiveTime;

use super::fault::NOT_USAGE;
use super::*;

const KEY: DeploymentKey = DeploymentKey([7; 16]);

fn tenant() -> TenantId {
    TenantId::new("acme").expect("a name")
}

struct Decoded {
    block: EventBlock,
    /// `[WantedType::index]`
    rows: Vec<Rows<'static>>,
}

fn decode_with(wanted: &Wanted, records: &[&[u8]]) -> Decoded {
    let tenant = tenant();
    let provenance =
        Provenance { key: &KEY, tenant: &tenant, origin: "test", received_at: ReceiveTime::from_micros(0) };
    let (text, records) = joined((1..).zip(records.iter().copied()));
    let mut rows = vec![Rows::default(); wanted.types()];
    let mut block = decode(wanted, provenance, &text, &records, |found| {
        for (rows, found) in rows.iter_mut().zip(found) {
            rows.events.extend(&found.events);
            rows.values.extend(found.values.iter().copied().map(kept));
        }
    });
    block.text = text;
    Decoded { block, rows }
}

/// A test's few bytes, so that what is decoded may outlive them.
fn kept(value: FieldValue<'_>) -> FieldValue<'static> {
    let keep = |text: &str| -> &'static str { text.to_owned().leak() };
    match value {
        FieldValue::Missing => FieldValue::Missing,
        FieldValue::Null => FieldValue::Null,
        FieldValue::Boolean(value) => FieldValue::Boolean(value),
        FieldValue::Number(text) => FieldValue::Number(keep(text)),
        FieldValue::Text(text) => FieldValue::Text(keep(text)),
        FieldValue::Structure => FieldValue::Structure,
    }
}

fn decode_all(records: &[&[u8]]) -> EventBlock {
    decode_with(&Wanted::default(), records).block
}

/// `accepted`, or the code and path of the rejection.
fn verdict(record: &[u8]) -> String {
    let block = decode_all(&[record]);
    assert_eq!(block.len() + block.rejections.len(), 1, "one record gives one answer");
    match block.rejections.first() {
        Some(rejection) => format!("{} {}", rejection.code, rejection.path),
        None => "accepted".to_owned(),
    }
}

fn digest(record: &str) -> ContentDigest {
    let block = decode_all(&[record.as_bytes()]);
    *block.digests.first().unwrap_or_else(|| panic!("{record}: {:?}", block.rejections))
}

/// A valid event with these members added or, by name, replaced.
fn event_with(members: &str) -> String {
    let replaced = |name: &str| members.contains(&format!("{name:?}:"));
    let defaults = [
        ("specversion", r#""1.0""#),
        ("id", r#""e1""#),
        ("source", r#""/api""#),
        ("type", r#""api.request""#),
        ("subject", r#""acme""#),
        ("time", r#""2026-01-31T13:45:00Z""#),
    ];
    let mut all: Vec<String> = defaults
        .iter()
        .filter(|(name, _)| !replaced(name))
        .map(|(name, value)| format!("{name:?}:{value}"))
        .collect();
    if !members.is_empty() {
        all.push(members.to_owned());
    }
    format!("{{{}}}", all.join(","))
}

fn event_with_data(data: &str) -> String {
    event_with(&format!(r#""data":{data}"#))
}

#[test]
fn members_decide_the_verdict() {
    let long = "x".repeat(ATTRIBUTE_BYTES_MAX + 1);
    for (members, expected) in [
        ("", "accepted"),
        (r#""data":{"n":1}"#, "accepted"),
        (r#""data":null"#, "accepted"),
        (r#""id":"a\u0000b/c|d""#, "accepted"),
        (r#""source":"#, "invalid_json $"),
        (r#""specversion":null"#, "missing_attribute $.specversion"),
        (r#""specversion":"0.3""#, "unsupported_specversion $.specversion"),
        (r#""specversion":1.0"#, "invalid_attribute $.specversion"),
        (r#""id":null"#, "missing_attribute $.id"),
        (r#""id":"""#, "invalid_attribute $.id"),
        (r#""id":25"#, "invalid_attribute $.id"),
        (&format!(r#""id":"{long}""#), "invalid_attribute $.id"),
        (&format!(r#""subject":"{long}""#), "invalid_attribute $.subject"),
        (r#""source":"""#, "invalid_attribute $.source"),
        (r#""type":{}"#, "invalid_attribute $.type"),
        (r#""time":null"#, "missing_time $.time"),
        (r#""time":"lunchtime""#, "invalid_time $.time"),
        (r#""time":1700000000"#, "invalid_attribute $.time"),
        (r#""subject":null"#, "missing_subject $.subject"),
        (r#""subject":"""#, "invalid_attribute $.subject"),
        (r#""datacontenttype":"text/plain""#, "accepted"),
        (r#""datacontenttype":"text/plain","data":"x""#, "unsupported_content_type $.datacontenttype"),
        (r#""data":{},"datacontenttype":"application/x+json; charset=utf-8""#, "accepted"),
        (r#""datacontenttype":"xyz""#, "invalid_attribute $.datacontenttype"),
        (r#""dataschema":"""#, "invalid_attribute $.dataschema"),
        (r#""region":"eu","paid":true,"shard":-7,"none":null"#, "accepted"),
        (r#""shard":1.5"#, "invalid_attribute $.shard"),
        (r#""shard":1e3"#, "invalid_attribute $.shard"),
        (r#""region":[]"#, "invalid_attribute $.region"),
        (r#""myRegion":"eu""#, "invalid_attribute_name $.myRegion"),
        (r#""my.region":null"#, "invalid_attribute_name $['my.region']"),
        (r#""":"eu""#, "invalid_attribute_name $['']"),
        (r#""data_base64":"eyJuIjoxfQ==""#, "accepted"),
        (r#""data_base64":"AAEC""#, "accepted"),
        (r#""data_base64":"%""#, "invalid_data $.data_base64"),
        (r#""data_base64":7"#, "invalid_data $.data_base64"),
        (r#""data_base64":"AAEC","data":1"#, "invalid_data $"),
        (r#""shard":1,"shard":1"#, "duplicate_key $.shard"),
        (r#""shard":1,"sh\u0061rd":2"#, "duplicate_key $.shard"),
        (r#""id":"","shard":1,"shard":2"#, "duplicate_key $.shard"),
        (r#""id":"","data":{"a":1,"a":2}"#, "invalid_attribute $.id"),
        (r#""id":"","source":"#, "invalid_json $"),
        (r#""data":{"a":{"b":[0,{"c d":1,"c d":2}]}}"#, "duplicate_key $.data.a.b[1]['c d']"),
        (r#""data":{"a":["\ud800"]}"#, "invalid_json $.data.a[0]"),
        (r#""data":{"\udc00":1}"#, "invalid_json $.data"),
        (r#""data":NaN"#, "invalid_json $"),
        (r#""data":1e999999999999"#, "accepted"),
    ] {
        assert_eq!(verdict(event_with(members).as_bytes()), expected, "{members}");
    }
}

#[test]
fn what_is_no_json_object_is_refused() {
    let valid = event_with("");
    let mut twice = valid.clone();
    twice.push_str(&valid);
    for (record, expected) in [
        (&b""[..], "invalid_json $"),
        (b" ", "invalid_json $"),
        (b"{", "invalid_json $"),
        (b"nul", "invalid_json $"),
        (b"null", "not_an_object $"),
        (b"[]", "not_an_object $"),
        (b"\"text\"", "not_an_object $"),
        (b"{}", "missing_attribute $.specversion"),
        (b"{\"id\":\"\xff\"}", "invalid_json $"),
        (b"\xef\xbb\xbf{}", "invalid_json $"),
        (twice.as_bytes(), "invalid_json $"),
        (format!("{valid},").as_bytes(), "invalid_json $"),
    ] {
        assert_eq!(verdict(record), expected, "{}", String::from_utf8_lossy(record));
    }
    assert_eq!(verdict(format!("\n\t{valid} \r\n").as_bytes()), "accepted");
}

#[test]
fn size_and_depth_have_limits() {
    let nested = |depth: usize| event_with_data(&format!("{}1{}", "[".repeat(depth), "]".repeat(depth)));
    assert_eq!(verdict(nested(DEPTH_MAX).as_bytes()), "accepted");
    assert!(verdict(nested(DEPTH_MAX + 1).as_bytes()).starts_with("too_deep $.data[0][0]"));
    assert!(verdict(nested(30_000).as_bytes()).starts_with("too_deep $.data[0]"));
    assert_eq!(verdict(nested(100_000).as_bytes()), "too_large $");
    let objects = event_with_data(&format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000)));
    assert!(verdict(objects.as_bytes()).starts_with("too_deep $.data.a.a"));

    let empty = event_with_data(r#""""#).len();
    let filled = |bytes: usize| event_with_data(&format!("{:?}", "x".repeat(bytes - empty)));
    assert_eq!(verdict(filled(EVENT_BYTES_MAX).as_bytes()), "accepted");
    assert_eq!(verdict(filled(EVENT_BYTES_MAX + 1).as_bytes()), "too_large $");
    let long_id = event_with(&format!(r#""id":"{}""#, "x".repeat(EVENT_BYTES_MAX)));
    assert_eq!(verdict(long_id.as_bytes()), "too_large $");
}

#[test]
fn a_duplicate_among_many_members_is_found() {
    let members = |last: &str| {
        let many: Vec<String> = (0..100).map(|n| format!("\"m{n}\":{n}")).collect();
        event_with_data(&format!("{{{},\"{last}\":0}}", many.join(",")))
    };
    assert_eq!(verdict(members("m100").as_bytes()), "accepted");
    assert_eq!(verdict(members("m57").as_bytes()), "duplicate_key $.data.m57");
}

#[test]
fn a_rejection_keeps_the_record_and_says_what_to_do() {
    let valid = event_with("");
    let large = vec![b'x'; EVENT_BYTES_MAX + 5];
    let block = decode_all(&[b"{]", valid.as_bytes(), &large]);
    assert_eq!((block.len(), block.places[0]), (1, 2));
    assert_eq!(block.event_text(0), valid.as_bytes());
    let [first, second] = &block.rejections[..] else { panic!("two rejections") };
    assert_eq!((first.place, block.slice(&first.range)), (1, &b"{]"[..]));
    assert_eq!(
        first.reason,
        "not JSON as RFC 8259 defines it: key must be a string at line 1 column 2; send exactly one JSON object per event"
    );
    assert_eq!((second.place, block.slice(&second.range).len()), (3, EVENT_BYTES_MAX));
}

#[test]
fn columns_follow_the_records() {
    let records = [
        event_with(r#""id":"a""#),
        event_with(r#""id":"b","subject":"zeta""#),
        event_with(r#""id":"c","time":"2026-01-31T15:45:00+02:00""#),
    ];
    let block = decode_all(&records.each_ref().map(|record| record.as_bytes()));
    assert_eq!(block.event_routes, [0, 1, 0]);
    assert_eq!(block.routes[1], Route { event_type: "api.request".into(), subject: "zeta".into() });
    assert_eq!(block.identities[1], KEY.identity("acme", "/api", "b"));
    assert_eq!(block.times[0], block.times[2]);
    assert_eq!(block.places, [1, 2, 3]);
}

#[test]
fn an_envelope_is_what_an_event_says_of_itself() {
    let found = envelope(event_with("").as_bytes()).expect("a usage event");
    assert_eq!((&*found.source, &*found.id, &*found.subject), ("/api", "e1", "acme"));
    assert_eq!((&*found.event_type, found.time.to_string()), ("api.request", "2026-01-31T13:45:00Z".into()));
    assert_eq!(envelope(b"{}"), None);
}

#[test]
fn wanted_values_are_found() {
    let mut wanted = Wanted::default();
    let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    for text in ["data.n", "data.deep.x", "data.deep", "subject", "region", "data.s", "data.none"] {
        wanted.slot("api.request", &path(text));
    }
    assert_eq!(wanted.slot("api.request", &path("data.n")), 0, "equal paths share a slot");
    let member = r#""region":"eu","data":{"deep":{"x":1.50},"n":-0.10e1,"s":"a\nb","none":null}"#;
    let record = event_with(member);
    let other = event_with(r#""type":"other","data":{"n":1}"#);
    let decoded = decode_with(&wanted, &[other.as_bytes(), record.as_bytes()]);
    let rows = &decoded.rows[0];
    assert_eq!(rows.events, [1]);
    let (number, text) = (FieldValue::Number, FieldValue::Text);
    let expected =
        [number("-0.10e1"), number("1.50"), FieldValue::Structure, text("acme"), text("eu"), text("a\nb")];
    assert_eq!(rows.values[..6], expected);
    assert_eq!(rows.values[6..], [FieldValue::Null]);

    // {"n":1,"s":"x"} as Base64; then the same bytes declared as something else than JSON.
    for (content_type, n) in [("application/json", number("1")), ("text/plain", FieldValue::Missing)] {
        let members = format!(r#""data_base64":"eyJuIjoxLCJzIjoieCJ9","datacontenttype":"{content_type}""#);
        let record = event_with(&members);
        let decoded = decode_with(&wanted, &[record.as_bytes()]);
        assert_eq!(decoded.rows[0].values[0], n, "{content_type}");
        assert_eq!(decoded.rows[0].values[3], text("acme"));
    }
}

#[test]
fn values_before_the_type_are_found() {
    let mut wanted = Wanted::default();
    for path in [&["data", "n"][..], &["id"], &["subject"]] {
        wanted.slot("api.request", &path.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    }
    let first = r#"{"data":{"n":1.50,"m":{}},"id":"a\u0062","source":"/api","specversion":"1.0","subject":"acme","time":"2026-01-31T13:45:00Z","type":"api.request"}"#;
    let decoded = decode_with(&wanted, &[first.as_bytes(), first.replace("api.request", "other").as_bytes()]);
    let expected = [FieldValue::Number("1.50"), FieldValue::Text("ab"), FieldValue::Text("acme")];
    assert_eq!((&decoded.rows[0].events[..], &decoded.rows[0].values[..]), (&[0][..], &expected[..]));
    assert_eq!(decoded.block.len(), 2);
}

#[test]
fn however_many_names_there_are_each_record_is_read_alike() {
    let members = |from: usize| (from..from + 1_000).map(|at| format!("\"m{at}\":{at}")).collect::<Vec<_>>();
    let records: Vec<String> =
        (0..7).map(|at| event_with_data(&format!("{{{}}}", members(at % 6 * 1_000).join(",")))).collect();
    let block = decode_all(&records.iter().map(String::as_bytes).collect::<Vec<_>>());
    assert_eq!(block.digests, records.iter().map(|record| digest(record)).collect::<Vec<_>>());
    assert_eq!(block.digests[0], block.digests[6]);
}

/// Both are stored: another value would make every event of before a new one, or a conflict.
#[test]
fn identity_and_digest_of_an_event_never_change() {
    let event = event_with_data(r#"{"a":[1,-2.50,true,null,12345678901234567890123],"b":{"c":"é"}}"#);
    let block = decode_all(&[event.as_bytes()]);
    assert_eq!(
        (block.identities[0].0, block.digests[0].0),
        (0x1f15_ac41_1b6c_7196_a3e8_d8b7_e5fb_2249, 0x71fa_6b99_95e1_a385)
    );
}

#[test]
fn spelling_is_not_content() {
    let same = [
        event_with(r#""region":"A","data":{"a":1.0,"b":["x",{"c":null,"d":10}]}"#),
        event_with(r#""data":{"b":["x",{"d":10,"c":null}],"a":1},"region":"A""#),
        event_with(
            r#""region":"\u0041", "data" : { "a" : 10e-1 , "\u0062":[ "\u0078", {"c":null,"d":1e1} ] } "#,
        ),
        event_with(r#""absent":null,"region":"A","data":{"a":1.000,"b":["x",{"c":null,"d":10.0}]}"#),
    ];
    for record in &same {
        assert_eq!(digest(record), digest(&same[0]), "{record}");
    }
}

#[test]
fn everything_else_is_content() {
    let all = [
        "",
        r#""id":"e2""#,
        r#""time":"2026-01-31T13:45:00+00:00""#,
        r#""region":"""#,
        r#""region":"eu""#,
        r#""regions":"eu""#,
        r#""region":true"#,
        r#""region":1"#,
        r#""region":"1""#,
        r#""data":null"#,
        r#""data":{}"#,
        r#""data":[]"#,
        r#""data":"""#,
        r#""data":0"#,
        r#""data":false"#,
        r#""data":{"a":1}"#,
        r#""data":{"a":"1"}"#,
        r#""data":{"a":-1}"#,
        r#""data":{"a":1.00000000000000000001}"#,
        r#""data":{"a":[1]}"#,
        r#""data":{"a":[[1]]}"#,
        r#""data":[1,2]"#,
        r#""data":[2,1]"#,
        r#""data":{"a":{"b":1},"c":2}"#,
        r#""data":{"a":{"b":1,"c":2}}"#,
        r#""data":{"a":{"b":1},"b":{"a":1}}"#,
        r#""data":{"a":{"a":1},"b":{"b":1}}"#,
        r#""data_base64":"""#,
    ];
    let digests: std::collections::HashMap<u64, &str> =
        all.iter().map(|members| (digest(&event_with(members)).0, *members)).collect();
    assert_eq!(digests.len(), all.len());
    let other_key = {
        let tenant = tenant();
        let key = DeploymentKey([8; 16]);
        let provenance =
            Provenance { key: &key, tenant: &tenant, origin: "", received_at: ReceiveTime::from_micros(0) };
        let event = event_with("");
        let records = [(1, 0..event.len() as u32)];
        decode(&Wanted::default(), provenance, event.as_bytes(), &records, |_| {}).digests[0]
    };
    assert!(!digests.contains_key(&other_key.0), "the digest depends on the deployment's key");
}

/// A JSON tree whose writing (order, white space, escapes, spelling of numbers) is chosen apart from its content.
#[derive(Clone, Debug)]
enum Tree {
    Null,
    Boolean(bool),
    Number(i64, u32),
    Text(String),
    Array(Vec<Tree>),
    Object(std::collections::BTreeMap<String, Tree>),
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Boolean),
        (any::<i64>(), 0..20_u32).prop_map(|(mantissa, scale)| Tree::Number(mantissa, scale)),
        ".{0,8}".prop_map(Tree::Text),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Tree::Array),
            proptest::collection::btree_map(".{0,4}", inner, 0..6).prop_map(Tree::Object),
        ]
    })
}

impl Tree {
    /// `style` varies everything that is not content.
    fn write(&self, style: u64) -> String {
        let space = ["", " ", "\n\t", "  \r\n"][(style % 4) as usize];
        let next = style.rotate_right(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x51;
        match self {
            Self::Null => "null".into(),
            Self::Boolean(value) => value.to_string(),
            Self::Number(mantissa, scale) if style.is_multiple_of(3) => format!("{mantissa}e-{scale}"),
            Self::Number(mantissa, scale) if style % 3 == 1 => format!("{mantissa}.000E-{scale}"),
            Self::Number(mantissa, scale) => {
                format!("{}e+{}", tidemark_schemas::Decimal::new(i128::from(*mantissa), scale + 4), 4)
            }
            Self::Text(text) => write_text(text, style),
            Self::Array(elements) => {
                let all: Vec<String> = elements.iter().map(|element| element.write(next)).collect();
                format!("[{space}{}{space}]", all.join(&format!("{space},{space}")))
            }
            Self::Object(members) => {
                let mut all: Vec<String> = members
                    .iter()
                    .map(|(name, value)| {
                        format!("{}{space}:{space}{}", write_text(name, next), value.write(next))
                    })
                    .collect();
                let turn = if all.is_empty() { 0 } else { style as usize % all.len() };
                all.rotate_left(turn);
                format!("{{{space}{}{space}}}", all.join(&format!(",{space}")))
            }
        }
    }

    fn leaves(&self) -> usize {
        match self {
            Self::Array(elements) => 1 + elements.iter().map(Self::leaves).sum::<usize>(),
            Self::Object(members) => 1 + members.values().map(Self::leaves).sum::<usize>(),
            _ => 1,
        }
    }

    /// Changes the node with this number, counted as [`Self::leaves`] counts.
    fn change(&mut self, at: &mut usize) {
        if *at == 0 {
            *self = match self {
                Self::Boolean(value) => Self::Boolean(!*value),
                Self::Number(mantissa, scale) => Self::Number(mantissa.wrapping_add(1), *scale),
                Self::Text(text) => Self::Text(format!("{text}!")),
                _ => Self::Text("changed".into()),
            };
        }
        let children: Vec<&mut Self> = match self {
            Self::Array(elements) => elements.iter_mut().collect(),
            Self::Object(members) => members.values_mut().collect(),
            _ => Vec::new(),
        };
        for child in children {
            *at = at.wrapping_sub(1);
            child.change(at);
        }
    }
}

fn write_text(text: &str, style: u64) -> String {
    if style & 16 == 0 {
        return serde_json::to_string(text).expect("text is JSON");
    }
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}

proptest! {
    #[test]
    fn decoding_any_bytes_gives_one_answer(record in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = verdict(&record);
    }

    #[test]
    fn decoding_broken_events_gives_one_answer(at in 0..200_usize, byte in any::<u8>(), cut in 0..220_usize) {
        let mut record = event_with(r#""data":{"a":[1,{"b":"\u00e4"}],"n":-1.5e3}"#).into_bytes();
        if let Some(place) = record.get_mut(at) {
            *place = byte;
        }
        let first = verdict(&record[..cut.min(record.len())]);
        prop_assert_eq!(first, verdict(&record[..cut.min(record.len())]));
    }

    #[test]
    fn the_digest_sees_content_only(tree in trees(), a in any::<u64>(), b in any::<u64>()) {
        let (left, right) = (event_with_data(&tree.write(a)), event_with_data(&tree.write(b)));
        prop_assert_eq!(digest(&left), digest(&right), "{}\n{}", left, right);
    }

    #[test]
    fn records_of_a_block_do_not_show_in_each_other(trees in prop::collection::vec((trees(), any::<u64>()), 1..6)) {
        let records: Vec<_> = trees.iter().map(|(tree, style)| event_with_data(&tree.write(*style))).collect();
        let block = decode_all(&records.iter().map(String::as_bytes).collect::<Vec<_>>());
        prop_assert_eq!(block.digests, records.iter().map(|record| digest(record)).collect::<Vec<_>>());
    }

    #[test]
    fn changing_one_value_changes_the_digest(tree in trees(), style in any::<u64>(), at in any::<prop::sample::Index>()) {
        let mut changed = tree.clone();
        changed.change(&mut at.index(tree.leaves()));
        prop_assert_ne!(digest(&event_with_data(&tree.write(style))), digest(&event_with_data(&changed.write(style))));
    }
}

/// The folder with the public conformance suites, when this machine has it.
fn suites(subject: &str) -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("TIDEMARK_DATA").map(std::path::PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: {subject} needs TIDEMARK_DATA to name the folder with the public suites");
    }
    folder
}

#[test]
fn json_test_suite() {
    let Some(folder) = suites("JSONTestSuite") else { return };
    let mut files = 0;
    for entry in std::fs::read_dir(folder.join("jsontestsuite/test_parsing")).expect("the suite's folder") {
        let entry = entry.expect("a file");
        let name = entry.file_name().into_string().expect("a plain name");
        let json = std::fs::read(entry.path()).expect("a readable file");
        let event = event_with_data("@");
        let (before, after) = event.split_once('@').expect("the place of the data");
        let wrapped = [before.as_bytes(), &json, after.as_bytes()].concat();
        let (bare, data) = (verdict(&json), verdict(&wrapped));
        files += 1;
        match name.as_bytes()[0] {
            b'n' => assert!(bare != "accepted" && data != "accepted", "{name}: {bare} {data}"),
            b'y' => assert!(data == "accepted" || data.starts_with("duplicate_key"), "{name}: {data}"),
            _ => assert_eq!((bare, data), (verdict(&json), verdict(&wrapped)), "{name}"),
        }
    }
    assert_eq!(files, 318, "the whole suite");
}

#[test]
fn cloudevents_conformance() {
    let Some(folder) = suites("CloudEvents conformance") else { return };
    for (file, valid, count) in [("valid-events.json", true, 10), ("invalid-events.json", false, 25)] {
        let text = std::fs::read_to_string(folder.join("cloudevents/format-json").join(file))
            .expect("the suite's file");
        let suite: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let tests = suite["tests"].as_array().expect("a list of tests");
        assert_eq!(tests.len(), count, "{file}");
        for test in tests {
            let verdict = verdict(test["event"].to_string().as_bytes());
            let code = verdict.split(' ').next().expect("a first word");
            let valid_event = code == "accepted" || NOT_USAGE.contains(&code);
            assert_eq!(valid_event, valid, "{}: {verdict}", test["id"]);
        }
    }
}

#[test]
fn cloudevents_batches_conformance() {
    let Some(folder) = suites("CloudEvents conformance") else { return };
    for (file, valid, count) in [("valid-batches.json", true, 5), ("invalid-batches.json", false, 3)] {
        let text = std::fs::read_to_string(folder.join("cloudevents/format-json").join(file))
            .expect("the suite's file");
        let suite: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let tests = suite["tests"].as_array().expect("a list of tests");
        assert_eq!(tests.len(), count, "{file}");
        for test in tests {
            let events = test["batch"].as_array().expect("a batch");
            let verdicts: Vec<_> = events.iter().map(|event| verdict(event.to_string().as_bytes())).collect();
            let code = |verdict: &String| verdict.split(' ').next().expect("a first word").to_owned();
            let is_valid = |code: String| code == "accepted" || NOT_USAGE.contains(&code.as_str());
            assert_eq!(verdicts.iter().map(code).all(is_valid), valid, "{}: {verdicts:?}", test["id"]);
        }
    }
}
