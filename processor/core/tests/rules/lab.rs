//! A partition in memory, driven by lines of text.
//!
//! ```text
//! 10:00 acme e1 5            an event of 2026-01-15: time, subject, id, value; `model=x` adds the dimension
//! 2026-02-01T00:00 acme …    another day
//! advance 11:30              declares the watermark
//! complete                   everything so far is billed and booked
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use tidemark_core::batch::{EventBlock, Measurement, Route};
use tidemark_core::changes::{Changes, Fates};
use tidemark_core::identity::{ContentDigest, DeploymentKey, Identity, Remembered};
use tidemark_core::needs::{needs, series_of_due};
use tidemark_core::resolve::resolve;
use tidemark_core::settle::{Due, adopt, complete_at, declare};
use tidemark_core::state::Progress;
use tidemark_core::step::{Prepared, step};
use tidemark_core::terms::Terms;
use tidemark_core::working::Working;
use tidemark_schemas::catalog::{Catalog, CatalogVersion, Timing};
use tidemark_schemas::customer::Customer;
use tidemark_schemas::decimal::Decimal;
use tidemark_schemas::ids::*;
use tidemark_schemas::legal_entity::LegalEntity;
use tidemark_schemas::meter::{Aggregation, Field, FieldKind, Meter, WindowLength};
use tidemark_schemas::posting_rule::PostingRule;
use tidemark_schemas::rate_card::{Charge, Price, RateCard, RateCardVersion};
use tidemark_schemas::subscription::{CivilDate, PeriodLength, Subscription};
use tidemark_schemas::time::{EventTime, MICROS_PER_MINUTE, ReceiveTime};

pub const KEY: DeploymentKey = DeploymentKey([9; 16]);

pub fn at(text: &str) -> EventTime {
    let day = if text.contains('T') { text.to_owned() } else { format!("2026-01-15T{text}") };
    let full = if day.len() == 16 { format!("{day}:00Z") } else { format!("{day}Z") };
    EventTime::parse(full.as_bytes()).expect("a time like 10:00 or 2026-02-01T00:00")
}

pub fn number(text: &str) -> Decimal {
    text.parse().expect("a number")
}

/// One meter `tokens` in hours, customers `acme` and `bolt`, 0.01 USD a token, entries every 15 minutes.
pub fn catalog() -> Catalog {
    let tenant = TenantId::new("t").expect("a name");
    let customer = |id: &str| Customer {
        id: CustomerId::new(id).expect("a name"),
        tenant: tenant.clone(),
        name: id.into(),
        subjects: vec![id.into()],
        billing_subscriber: format!("sub-{id}"),
        erp_debtor: format!("D-{id}"),
        crm_account: None,
    };
    let subscription = |id: &str| Subscription {
        id: SubscriptionId::new(&format!("{id}-1")).expect("a name"),
        tenant: tenant.clone(),
        customer: CustomerId::new(id).expect("a name"),
        rate_card: RateCardId::new("std").expect("a name"),
        start: at("2026-01-01T00:00"),
        end: None,
        period_anchor: CivilDate { year: 2026, month: 1, day: 1 },
        period: PeriodLength::Month,
        time_zone: "UTC".into(),
        currency: "USD".parse().expect("a currency"),
        legal_entity: LegalEntityId::new("main").expect("a name"),
    };
    Catalog {
        version: CatalogVersion("v1".into()),
        timing: Timing {
            disorder_micros: 5 * MICROS_PER_MINUTE,
            grace_micros: 5 * MICROS_PER_MINUTE,
            ..Timing::default()
        },
        meters: vec![meter("tokens", Aggregation::Sum)],
        customers: vec![customer("acme"), customer("bolt")],
        subscriptions: vec![subscription("acme"), subscription("bolt")],
        rate_cards: vec![RateCard {
            id: RateCardId::new("std").expect("a name"),
            currency: "USD".parse().expect("a currency"),
            versions: vec![RateCardVersion {
                version: "1".into(),
                effective_from: at("2026-01-01T00:00"),
                charges: vec![charge("tokens", Price::PerUnit { unit: number("0.01") })],
            }],
        }],
        legal_entities: vec![LegalEntity {
            id: LegalEntityId::new("main").expect("a name"),
            name: "Main".into(),
            time_zone: "UTC".into(),
            closed_through: None,
        }],
        posting_rules: vec![PostingRule {
            id: PostingRuleId::new("usage").expect("a name"),
            meter: None,
            legal_entity: None,
            debit: AccountCode::new("1150").expect("a name"),
            credit: AccountCode::new("4000").expect("a name"),
        }],
    }
}

pub fn meter(id: &str, aggregation: Aggregation) -> Meter {
    Meter {
        id: MeterId::new(id).expect("a name"),
        tenant: None,
        event_type: "use".into(),
        fields: vec![Field {
            name: "v".into(),
            path: vec!["data".into(), "v".into()],
            kind: FieldKind::Text,
        }],
        filter: None,
        value: Some("v".into()),
        aggregation,
        dimensions: vec!["model".into()],
        groups_max: 3,
        window: WindowLength::Hour,
        unit: "token".into(),
        scale: 0,
    }
}

pub fn charge(meter: &str, price: Price) -> Charge {
    let meter = MeterId::new(meter).expect("a name");
    Charge { meter, price, tiers_per: vec![], maximum: None, flat_fee_at_zero: true }
}

/// What a partition remembers and has said so far.
pub struct Lab {
    pub terms: Arc<Terms>,
    pub working: Working,
    remembered: BTreeMap<Identity, Remembered>,
    pub said: String,
}

impl Lab {
    pub fn new(catalog: Catalog) -> Self {
        let terms = Arc::new(Terms::new(Arc::new(catalog)).expect("a good catalog"));
        let mut working = Working::new(KEY, Progress::default());
        adopt(&terms, &mut working);
        Self { terms, working, remembered: BTreeMap::new(), said: String::new() }
    }

    /// Runs a story, `block_events` events to a block.
    pub fn tell(&mut self, story: &str, block_events: usize) {
        let mut block = Vec::new();
        for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[0] {
                "advance" | "complete" => {
                    self.take(&std::mem::take(&mut block));
                    let until = match words[0] {
                        "advance" => Some(at(words[1])),
                        _ => complete_at(&self.terms, &self.working),
                    };
                    declare(&mut self.working, until.expect("something to complete"));
                    self.take(&[]);
                }
                _ => block.push(words),
            }
            if block.len() >= block_events {
                self.take(&std::mem::take(&mut block));
            }
        }
        self.take(&block);
    }

    fn take(&mut self, lines: &[Vec<&str>]) {
        let block = self.block(lines);
        let resolved = resolve(&self.terms, &KEY, &block);
        let remembered: Vec<_> = block.identities.iter().map(|id| self.remembered.get(id).copied()).collect();
        let prepared = Prepared { block: &block, resolved: &resolved, remembered: &remembered };
        let (mut done, mut fates) = (0, Fates::default());
        loop {
            self.load(&resolved);
            let mut changes = Changes::default();
            let (now_done, due) =
                step(&self.terms, &mut self.working, &prepared, done, &mut fates, &mut changes);
            done = now_done;
            self.tell_changes(&changes);
            if due == Due::Nothing && done == block.len() {
                break;
            }
        }
        for (event, park) in &fates.parked {
            let meter =
                park.meter.map(|meter| format!(" {}", self.terms.meter(meter.into()).id)).unwrap_or_default();
            writeln!(self.said, "waits {}{meter}: event {}", park.kind, block.places[*event as usize])
                .expect("text");
        }
        self.remembered.extend(self.working.fresh.drain());
    }

    /// Everything that is not loaded is absent: rows never leave this partition's memory.
    fn load(&mut self, resolved: &tidemark_core::resolve::Resolved) {
        let working = &mut self.working;
        let needs = needs(&self.terms, working, resolved, Some(EventTime::MAX));
        needs.windows.iter().for_each(|key| working.windows.load(*key, None));
        needs.groups.iter().for_each(|key| working.groups.load(*key, None));
        needs.group_counts.iter().for_each(|key| working.group_counts.load(*key, None));
        needs.series.iter().for_each(|key| working.series.load(*key, None));
        for key in series_of_due(working, Some(EventTime::MAX)) {
            working.series.load(key, None);
        }
    }

    fn block(&self, lines: &[Vec<&str>]) -> EventBlock {
        let tenant = TenantId::new("t").expect("a name");
        let mut block = EventBlock::new(
            tenant,
            "story".into(),
            ReceiveTime::from_micros(at("2027-01-01T00:00").micros()),
        );
        for (event, words) in lines.iter().enumerate() {
            let [time, subject, id, value] = words[..4] else { panic!("time subject id value: {words:?}") };
            let model = words.get(4).map_or("", |word| word.trim_start_matches("model="));
            block.identities.push(KEY.identity("t", "s", id));
            block.digests.push(ContentDigest(KEY.hash_parts(99, words.iter().copied()) as u64));
            block.times.push(at(time));
            block.event_routes.push(event as u32);
            block.routes.push(Route { event_type: "use".into(), subject: subject.into() });
            block.ranges.push(0..0);
            block.places.push(id.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0));
            block.dimension_values.push(vec![model.into()]);
            for (at, meter) in self.terms.catalog.meters.iter().enumerate() {
                let value = match meter.aggregation {
                    Aggregation::Count => 1,
                    Aggregation::UniqueCount => KEY.hash_parts(98, [value]) as i128,
                    _ => number(value).to_scaled(meter.scale).expect("fits"),
                };
                block.measurements.push(Measurement {
                    event: event as u32,
                    meter: at as u16,
                    dimensions: event as u32,
                    value,
                });
            }
        }
        block
    }

    fn tell_changes(&mut self, changes: &Changes) {
        for row in &changes.rated {
            let rated = &row.rated;
            let summary = &rated.summary;
            let dimensions: String = summary
                .dimensions
                .iter()
                .filter(|(_, v)| !v.is_empty())
                .map(|(k, v)| format!(" {k}={v}"))
                .collect();
            writeln!(
                self.said,
                "{} {}{dimensions} {} rev {} = {} ({} events) {}",
                summary.customer,
                summary.meter,
                short(summary.window.start),
                summary.revision,
                summary.quantity,
                summary.evidence.events,
                rated.amount
            )
            .expect("text");
        }
        for row in &changes.journal {
            let entry = &row.entry;
            write!(self.said, "entry {} {}", entry.group.accounting_period, entry.number).expect("text");
            for (key, minor) in entry.amounts.lines() {
                let debtor = key.debtor.as_deref().unwrap_or("-");
                let service = if key.service_period == entry.group.accounting_period {
                    String::new()
                } else {
                    format!(" for {}", key.service_period)
                };
                write!(self.said, "; {} {debtor}{service} {minor}", key.account).expect("text");
            }
            self.said.push('\n');
        }
        for unratable in &changes.unratable {
            writeln!(self.said, "unratable: {}", unratable.reason).expect("text");
        }
    }

    /// `received = counted + again + rejected + exceptions`
    pub fn counts(&self) -> String {
        let counts = self.working.progress.counts;
        format!(
            "{} = {} + {} + {} + {}",
            counts.received, counts.counted, counts.again, counts.rejected, counts.exceptions
        )
    }
}

fn short(time: EventTime) -> String {
    time.to_string().trim_start_matches("2026-").trim_end_matches(":00Z").to_owned()
}

/// Runs the story in one block, and one event at a time; both must say `expected`.
#[track_caller]
pub fn check(catalog: Catalog, story: &str, expected: expect_test::Expect) {
    let mut together = Lab::new(catalog.clone());
    together.tell(story, usize::MAX);
    let mut apart = Lab::new(catalog);
    apart.tell(story, 1);
    let (together_said, apart_said) = (by_kind(&together.said), by_kind(&apart.said));
    assert_eq!(together_said, apart_said, "blocks must not show (I-10)");
    assert_eq!(together.counts(), apart.counts());
    expected.assert_eq(&format!("{together_said}counts {}\n", together.counts()));
}

/// Lines, entries and exceptions have an order each, but which is told first within a commit depends on the commit.
pub fn by_kind(said: &str) -> String {
    let kind = |line: &&str| (line.starts_with("entry"), line.starts_with("waits"));
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort_by_key(kind);
    lines.into_iter().map(|line| format!("{line}\n")).collect()
}
