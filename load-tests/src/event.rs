//! What does one usage event look like? A CloudEvent of about 250 bytes, made from integers.
//!
//! Rendering is a pure function: an event that is sent again has the same bytes.
//! Source of the shape: CloudEvents 1.0, JSON format.

use crate::rng::{Draws, Zipf};

/// Largest value of one event. Small enough that a day of events stays far inside 64 bits.
pub const TOKENS_MAX: u32 = 4_000;

const MODELS: [&str; 4] = ["gpt-4o-mini", "gpt-4o", "claude-sonnet", "llama-3-70b"];
const REGIONS: [&str; 4] = ["eu-west-1", "eu-central-1", "us-east-1", "ap-south-1"];
const GATEWAYS: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventType {
    ApiRequest,
    LlmTokens,
    StorageWrite,
}

impl EventType {
    pub const ALL: [Self; 3] = [Self::ApiRequest, Self::LlmTokens, Self::StorageWrite];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiRequest => "api.request",
            Self::LlmTokens => "llm.tokens",
            Self::StorageWrite => "storage.write",
        }
    }

    /// 60 % API requests, 30 % tokens, 10 % storage writes.
    pub fn draw(draws: &mut Draws) -> Self {
        match draws.below(10) {
            0..6 => Self::ApiRequest,
            6..9 => Self::LlmTokens,
            _ => Self::StorageWrite,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: [u8; 16],
    pub event_type: EventType,
    /// Number of the customer, from 0.
    pub customer: u32,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// The value that meters sum, 1 to [`TOKENS_MAX`].
    pub tokens: u32,
    gateway: u8,
    model: u8,
    region: u8,
}

impl Event {
    /// Draws everything but type and time, which the scenarios choose in their own ways.
    pub fn draw(draws: &mut Draws, customers: &Zipf, event_type: EventType, time_ms: i64) -> Self {
        let id = ((u128::from(draws.bits()) << 64) | u128::from(draws.bits())).to_be_bytes();
        let choice = draws.bits();
        Self {
            id: uuid_version_8(id),
            event_type,
            customer: customers.draw(draws),
            time_ms,
            tokens: draws.below(u64::from(TOKENS_MAX)) as u32 + 1,
            gateway: (choice % GATEWAYS) as u8,
            model: ((choice >> 8) % MODELS.len() as u64) as u8,
            region: ((choice >> 16) % REGIONS.len() as u64) as u8,
        }
    }

    /// Appends the event as one JSON object without a line end.
    pub fn render(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"specversion\":\"1.0\",\"id\":\"");
        render_uuid(&self.id, out);
        out.extend_from_slice(b"\",\"source\":\"api-gw-");
        out.push(b'0' + self.gateway);
        out.extend_from_slice(b"\",\"type\":\"");
        out.extend_from_slice(self.event_type.name().as_bytes());
        out.extend_from_slice(b"\",\"subject\":\"");
        render_subject(self.customer, out);
        out.extend_from_slice(b"\",\"time\":\"");
        render_time(self.time_ms, out);
        out.extend_from_slice(b"\",\"data\":{\"tokens\":");
        render_number(self.tokens, out);
        out.extend_from_slice(b",\"model\":\"");
        out.extend_from_slice(MODELS[usize::from(self.model)].as_bytes());
        out.extend_from_slice(b"\",\"region\":\"");
        out.extend_from_slice(REGIONS[usize::from(self.region)].as_bytes());
        out.extend_from_slice(b"\"}}");
    }
}

/// The CloudEvents subject, and the customer's name in the catalog: `cust-00042`.
#[must_use]
pub fn subject(customer: u32) -> String {
    let mut out = Vec::with_capacity(16);
    render_subject(customer, &mut out);
    String::from_utf8(out).expect("a subject is ASCII")
}

/// `2026-01-01T00:00:00.123Z`
#[must_use]
pub fn time(time_ms: i64) -> String {
    let mut out = Vec::with_capacity(24);
    render_time(time_ms, &mut out);
    String::from_utf8(out).expect("a time is ASCII")
}

/// RFC 9562 leaves all bits of version 8 but version and variant to the application.
fn uuid_version_8(mut id: [u8; 16]) -> [u8; 16] {
    id[6] = (id[6] & 0x0f) | 0x80;
    id[8] = (id[8] & 0x3f) | 0x80;
    id
}

fn render_uuid(id: &[u8; 16], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (at, byte) in id.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
}

fn render_subject(customer: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"cust-");
    if customer < 100_000 {
        render_padded(u64::from(customer), 5, out);
    } else {
        render_number(customer, out);
    }
}

fn render_number(number: u32, out: &mut Vec<u8>) {
    render_padded(u64::from(number), number.checked_ilog10().unwrap_or(0) as usize + 1, out);
}

fn render_padded(mut number: u64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Source of the calendar: Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn render_time(time_ms: i64, out: &mut Vec<u8>) {
    let (days, ms) = (time_ms.div_euclid(86_400_000), time_ms.rem_euclid(86_400_000) as u64);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let parts = [
        (year as u64, 4, b'-'),
        (month as u64, 2, b'-'),
        (day as u64, 2, b'T'),
        (ms / 3_600_000, 2, b':'),
        (ms / 60_000 % 60, 2, b':'),
        (ms / 1_000 % 60, 2, b'.'),
        (ms % 1_000, 3, b'Z'),
    ];
    for (number, width, after) in parts {
        render_padded(number, width, out);
        out.push(after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_a_calendar_library() {
        let mut draws = Draws::at(9, 0);
        let drawn = (0..10_000).map(|_| draws.below(4_102_444_800_000) as i64);
        for ms in drawn.chain([0, 1_767_225_600_123, 1_709_164_800_000, 951_782_399_999]) {
            let expected = jiff::Timestamp::from_millisecond(ms).expect("in range");
            assert_eq!(time(ms), format!("{expected:.3}"));
        }
    }

    #[test]
    fn an_event_is_json_of_about_250_bytes() {
        let zipf = Zipf::new(10);
        let event = Event::draw(&mut Draws::at(1, 1), &zipf, EventType::LlmTokens, 1_767_225_600_123);
        let mut out = Vec::new();
        event.render(&mut out);
        assert!((220..=280).contains(&out.len()), "{} bytes", out.len());
        let json: serde_json::Value = serde_json::from_slice(&out).expect("an event is JSON");
        assert_eq!(json["specversion"], "1.0");
        assert_eq!(json["type"], "llm.tokens");
        assert_eq!(json["subject"], subject(event.customer));
        assert_eq!(json["time"], "2026-01-01T00:00:00.123Z");
        assert_eq!(json["data"]["tokens"], event.tokens);
        let id = json["id"].as_str().expect("an id is text");
        assert_eq!((id.len(), &id[14..15]), (36, "8"));
    }

    #[test]
    fn numbers_have_as_many_digits_as_they_need() {
        for number in [0, 1, 9, 10, 99, 100, 4_000, u32::MAX] {
            let mut out = Vec::new();
            render_number(number, &mut out);
            assert_eq!(String::from_utf8(out).expect("ASCII"), number.to_string());
        }
    }

    #[test]
    fn subjects_have_at_least_five_digits() {
        assert_eq!(subject(42), "cust-00042");
        assert_eq!(subject(99_999), "cust-99999");
        assert_eq!(subject(1_234_567), "cust-1234567");
    }
}
