//! Who sells? The `[[legal_entity]]` tables.

use jiff::tz::TimeZone;
use tidemark_schemas::ids::LegalEntityId;
use tidemark_schemas::legal_entity::LegalEntity;

use super::names::{Kind, Names};
use super::table::Table;
use super::value::{Value, Zones, zone_name};

pub(super) fn read(tops: &mut [Table<'_>], names: &mut Names, zones: &Zones) -> Vec<LegalEntity> {
    tops.iter_mut()
        .flat_map(|top| top.tables("legal_entity"))
        .filter_map(|table| legal_entity(table, names, zones))
        .collect()
}

fn legal_entity(mut table: Table<'_>, names: &mut Names, zones: &Zones) -> Option<LegalEntity> {
    let id = table.id(Kind::LegalEntity, names, LegalEntityId::new);
    let name = table.optional("name", Value::owned_text);
    let zone = table.or("time_zone", TimeZone::UTC, |v| v.zone(zones));
    let closed_through = table.optional("closed_through", |v| v.parsed(v.text()?, str::parse));
    table.finish();
    let id = id?;
    Some(LegalEntity {
        name: name?.unwrap_or_else(|| id.to_string()),
        id,
        time_zone: zone_name(&zone?),
        closed_through: closed_through?,
    })
}
