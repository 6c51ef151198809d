//! Which accounts? The `[[posting_rule]]` tables.
//!
//! Keeps: no two rules are equally specific for the same usage, so the accounts never depend on the order of files.

use std::collections::HashMap;

use tidemark_schemas::ids::{AccountCode, LegalEntityId, MeterId, PostingRuleId};
use tidemark_schemas::posting_rule::PostingRule;

use super::mistake::Place;
use super::names::{Kind, Names};
use super::table::Table;

/// Meter and legal entity that a rule is for; `None`: every one.
type Selector = (Option<MeterId>, Option<LegalEntityId>);

#[derive(Default)]
pub(super) struct Rules {
    pub list: Vec<PostingRule>,
    selectors: HashMap<Selector, Place>,
    /// A rule whose selector is wrong: what it was meant for is unknown.
    has_unknown_selector: bool,
}

pub(super) fn read(tops: &mut [Table<'_>], names: &mut Names) -> Rules {
    let mut rules = Rules::default();
    for table in tops.iter_mut().flat_map(|top| top.tables("posting_rule")) {
        let read = rules.rule(table, names);
        rules.list.extend(read);
    }
    rules
}

impl Rules {
    /// Whether some rule applies, or may apply once its own mistake is corrected.
    pub fn cover(&self, meter: &MeterId, entity: &LegalEntityId) -> bool {
        let (meter, entity) = (Some(meter.clone()), Some(entity.clone()));
        self.has_unknown_selector
            || [(None, None), (meter.clone(), None), (None, entity.clone()), (meter, entity)]
                .iter()
                .any(|selector| self.selectors.contains_key(selector))
    }

    fn rule(&mut self, mut table: Table<'_>, names: &mut Names) -> Option<PostingRule> {
        let id = table.id(Kind::PostingRule, names, PostingRuleId::new);
        let meter = table.optional("meter", |v| names.refer(Kind::Meter, &v, MeterId::new));
        let legal_entity =
            table.optional("legal_entity", |v| names.refer(Kind::LegalEntity, &v, LegalEntityId::new));
        let debit = table.required("debit", |v| v.name(AccountCode::new));
        let credit = table.required("credit", |v| Some((v.name(AccountCode::new)?, v.place)));
        if let (Some(debit), Some((credit, place))) = (&debit, &credit)
            && debit == credit
        {
            let message = format!("debit and credit are the same account `{credit}`");
            table.mistakes.add(place, message, "an entry moves an amount between two accounts");
        }
        match (&meter, &legal_entity) {
            (Some(meter), Some(entity)) => self.select((meter.clone(), entity.clone()), &table),
            _ => self.has_unknown_selector = true,
        }
        table.finish();
        Some(PostingRule {
            id: id?,
            meter: meter?,
            legal_entity: legal_entity?,
            debit: debit?,
            credit: credit?.0,
        })
    }

    fn select(&mut self, selector: Selector, table: &Table<'_>) {
        match self.selectors.get(&selector) {
            Some(first) => {
                let at = table.mistakes.locate(first);
                let message = format!("another rule is for the same meter and legal entity, at {at}");
                table.mistake(message, "keep one of them, or make one more specific");
            }
            None => {
                self.selectors.insert(selector, table.place.clone());
            }
        }
    }
}
