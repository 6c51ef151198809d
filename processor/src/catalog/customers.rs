//! Who pays, and whose subject is it? The `[[customer]]` tables.
//!
//! Keeps: within a tenant every subject belongs to one customer, and at most one customer catches all others.

use std::collections::HashMap;

use tidemark_schemas::customer::Customer;
use tidemark_schemas::ids::{CustomerId, TenantId};

use super::mistake::Place;
use super::names::{Kind, Names};
use super::table::Table;
use super::value::{Value, shown};

/// Alone in `subjects`: every subject of the tenant that no other customer names.
const CATCH_ALL: &str = "*";

pub(super) struct Customers {
    pub list: Vec<Customer>,
    /// Known even of customers that are otherwise wrong.
    pub tenants: HashMap<CustomerId, TenantId>,
}

/// Who has which subject of a tenant, and where that is written.
type Claims = HashMap<TenantId, HashMap<String, Place>>;

/// The tenant of entries that name none.
pub(super) fn default_tenant() -> TenantId {
    TenantId::new("default").expect("letters only")
}

impl Customers {
    pub fn read(tops: &mut [Table<'_>], names: &mut Names) -> Self {
        let mut customers = Self { list: Vec::new(), tenants: HashMap::new() };
        let mut claims = Claims::new();
        for table in tops.iter_mut().flat_map(|top| top.tables("customer")) {
            let read = customers.customer(table, names, &mut claims);
            customers.list.extend(read);
        }
        customers
    }

    fn customer(&mut self, mut table: Table<'_>, names: &mut Names, claims: &mut Claims) -> Option<Customer> {
        let id = table.id(Kind::Customer, names, CustomerId::new);
        let tenant = table.or("tenant", default_tenant(), |v| v.name(TenantId::new));
        let name = table.optional("name", Value::owned_text);
        let subjects = table.required("subjects", subjects);
        let billing_subscriber = table.optional("billing_subscriber", Value::owned_text);
        let erp_debtor = table.optional("erp_debtor", Value::owned_text);
        let crm_account = table.optional("crm_account", Value::owned_text);
        if let (Some(tenant), Some(subjects)) = (&tenant, &subjects) {
            claim(&table, tenant, subjects, claims);
        }
        table.finish();
        let (id, tenant) = (id?, tenant?);
        self.tenants.insert(id.clone(), tenant.clone());
        let or_id = |text: Option<String>| text.unwrap_or_else(|| id.to_string());
        Some(Customer {
            tenant,
            name: or_id(name?),
            subjects: subjects?.into_iter().map(|(subject, _)| subject.to_owned()).collect(),
            billing_subscriber: or_id(billing_subscriber?),
            erp_debtor: or_id(erp_debtor?),
            crm_account: crm_account?,
            id,
        })
    }
}

fn subjects<'a>(value: Value<'a>) -> Option<Vec<(&'a str, Place)>> {
    let place = value.place.clone();
    let mistakes = value.mistakes;
    let subjects = value.list(|element| Some((element.text()?, element.place)))?;
    if subjects.is_empty() {
        mistakes.add(
            &place,
            "a customer without subjects uses nothing",
            "name its subjects, or [\"*\"] for all others",
        );
        return None;
    }
    let catch_all = subjects.iter().find(|(subject, _)| *subject == CATCH_ALL);
    if let (Some((_, place)), true) = (catch_all, subjects.len() > 1) {
        mistakes.add(place, "`*` stands beside other subjects", "write [\"*\"] alone, or leave it out");
        return None;
    }
    Some(subjects)
}

fn claim(table: &Table<'_>, tenant: &TenantId, subjects: &[(&str, Place)], claims: &mut Claims) {
    let taken = claims.entry(tenant.clone()).or_default();
    for (subject, place) in subjects {
        let Some(first) = taken.get(*subject) else {
            taken.insert((*subject).to_owned(), place.clone());
            continue;
        };
        let at = table.mistakes.locate(first);
        if *subject == CATCH_ALL {
            let message =
                format!("the tenant `{tenant}` already has a customer for all other subjects, at {at}");
            table.mistakes.add(place, message, "at most one customer of a tenant has [\"*\"]");
        } else {
            let message = format!(
                "the subject `{}` of the tenant `{tenant}` is already taken, at {at}",
                shown(subject)
            );
            table.mistakes.add(place, message, "a subject belongs to one customer");
        }
    }
}
