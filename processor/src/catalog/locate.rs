//! Where does a meter say what whoever plans it cannot take? A catalog has no lines; the texts that it was read from have.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Mistake, Source};

/// A mistake in `part` (a key, such as `value`) of the meter with this id, at its place in the texts.
#[must_use]
pub fn mistake_of_meter(files: &[(String, String)], meter: &str, part: &str, message: String) -> Mistake {
    let found = files.iter().find_map(|(name, text)| {
        let source = Source::new(name, text);
        let offset = offset_of(source.text(), meter, part)?;
        Some((name.clone(), source.position(offset)))
    });
    // Every meter of a catalog was read from its texts; without one the meter's name still tells.
    let (file, (line, column)) = found.unwrap_or_default();
    let (entry, path) = (format!("meter \"{meter}\""), format!("meter.{part}"));
    Mistake { file, line, column, entry, path, message, help: String::new() }
}

/// Where the value of the part begins; where the meter's id does when the part is not written.
fn offset_of(text: &str, meter: &str, part: &str) -> Option<usize> {
    let (document, _) = DeTable::parse_recoverable(text);
    let DeValue::Array(meters) = document.get_ref().get("meter")?.get_ref() else { return None };
    meters.iter().find_map(|entry| {
        let DeValue::Table(table) = entry.get_ref() else { return None };
        let id = table.get("id")?;
        let is_it = matches!(id.get_ref(), DeValue::String(text) if text.as_ref() == meter);
        is_it
            .then(|| table.get(part).map_or_else(|| id.span().start, |value: &Spanned<_>| value.span().start))
    })
}
