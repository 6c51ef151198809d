//! What did finance and product teams decide? A folder of readable TOML files, read into one checked [`Catalog`].
//!
//! Any file may hold any table, so people split as they like: `[timing]`, `[[meter]]`, `[[customer]]`,
//! `[[subscription]]`, `[[rate_card]]`, `[[legal_entity]]`, `[[posting_rule]]`.
//!
//! Keeps: a catalog that exists has no mistake, and whoever writes one sees every mistake at once, each with its
//! place and what is allowed. The order of entries is the order of file names, then of lines; the version is a
//! function of content alone (I-10).
//! Deliberately absent: the SQL of a meter's filter and value. Only their presence is checked here; whoever plans
//! them says what is wrong with them.
//!
//! Reading order: `folder` (files and their version) · `mistake` (what is wrong, and where) · `table` and `value`
//! (TOML to typed values) · `names` (what is defined, what is referred to) · one file per table · `checks` (what
//! only the whole catalog can tell).

mod checks;
mod customers;
mod folder;
mod legal_entities;
mod locate;
mod meters;
mod mistake;
mod names;
mod posting_rules;
mod prices;
mod rate_cards;
mod subscriptions;
mod table;
mod timing;
mod value;

#[cfg(test)]
mod tests;

use std::path::Path;

use tidemark_schemas::catalog::{Catalog, CatalogVersion};
use toml::Spanned;
use toml::de::DeTable;

use self::customers::Customers;
use self::folder::{files_of, version_of};
use self::mistake::{Mistakes, Place, Source};
use self::names::Names;
use self::rate_cards::Cards;
use self::table::Table;
use self::value::Zones;

pub use self::folder::{CATALOG_BYTES_MAX, FILE_BYTES_MAX, FILES_MAX};
pub use self::locate::mistake_of_meter;
pub use self::meters::METERS_MAX;
pub use self::mistake::{CatalogErrors, MISTAKES_MAX, Mistake};

/// File names and texts of a catalog.
pub type Texts = Vec<(String, String)>;

/// Syntax errors shown of one file: what follows the first few is mostly their echo.
const SYNTAX_ERRORS_MAX: usize = 20;

/// Reads every `*.toml` directly in the folder. Hidden files and subfolders are not the catalog's.
///
/// # Errors
/// Every mistake in it, ordered by file and line; a missing or empty folder is one.
pub fn load(folder: &Path) -> Result<Catalog, CatalogErrors> {
    let files = files_of(folder)?;
    check(&files.texts, files.unreadable)
}

/// The texts of a catalog without mistakes, for whoever keeps them.
///
/// # Errors
/// As [`load`].
pub fn load_texts(folder: &Path) -> Result<(Catalog, Texts), CatalogErrors> {
    let files = files_of(folder)?;
    let catalog = check(&files.texts, files.unreadable)?;
    Ok((catalog, files.texts))
}

/// Reads a catalog from `(file name, text)` pairs, in any order.
///
/// # Errors
/// Every mistake in it, ordered by file and line.
pub fn parse(files: &[(String, String)]) -> Result<Catalog, CatalogErrors> {
    check(files, Vec::new())
}

/// The catalog in the folder when it is another than `current`. Cheap to poll: unchanged files are read and hashed,
/// not parsed.
///
/// # Errors
/// Every mistake of the new content; the caller keeps `current` and shows them.
pub fn changed(folder: &Path, current: &CatalogVersion) -> Result<Option<(Catalog, Texts)>, CatalogErrors> {
    let files = files_of(folder)?;
    if files.unreadable.is_empty() && files.version() == *current {
        return Ok(None);
    }
    // Someone may be in the middle of saving several files: what differs between two readings is not finished.
    if files_of(folder)? != files {
        return Ok(None);
    }
    let catalog = check(&files.texts, files.unreadable)?;
    Ok(Some((catalog, files.texts)))
}

fn check(files: &[(String, String)], unreadable: Vec<Mistake>) -> Result<Catalog, CatalogErrors> {
    let mut files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    files.sort_unstable();
    let sources: Vec<Source<'_>> = files.iter().map(|(name, text)| Source::new(name, text)).collect();
    let mistakes = Mistakes::new(&sources);
    let mut names = Names::default();
    if !unreadable.is_empty() {
        names.open_all();
    }
    let catalog = read(&sources, names, &mistakes, version_of(files.iter().copied()));
    match mistakes.into_errors(unreadable) {
        Some(errors) => Err(errors),
        None => Ok(catalog.expect("what could not be read is a mistake")),
    }
}

/// `None` only together with at least one mistake.
fn read(
    sources: &[Source<'_>],
    mut names: Names,
    mistakes: &Mistakes<'_>,
    version: CatalogVersion,
) -> Option<Catalog> {
    let documents: Vec<Option<Spanned<DeTable<'_>>>> =
        sources.iter().enumerate().map(|(file, source)| document(file, source, mistakes)).collect();
    if documents.iter().any(Option::is_none) {
        // What is missing may be in the file that cannot be read.
        names.open_all();
    }
    let mut tops: Vec<Table<'_>> = documents
        .iter()
        .enumerate()
        .filter_map(|(file, document)| {
            Some(Table::new(document.as_ref()?.get_ref(), Place::top(file), mistakes))
        })
        .collect();

    // One kind after the other, each through all files: whatever a kind needs has been read before it.
    let zones = Zones::default();
    let timing = timing::read(&mut tops, mistakes);
    let meters = meters::read(&mut tops, &mut names);
    let legal_entities = legal_entities::read(&mut tops, &mut names, &zones);
    let customers = Customers::read(&mut tops, &mut names);
    let cards = Cards::read(&mut tops, &mut names);
    let drafts = subscriptions::read(&mut tops, &mut names, &zones);
    let rules = posting_rules::read(&mut tops, &mut names);
    for top in tops {
        top.finish();
    }

    names.resolve(mistakes);
    checks::charges_fit_their_meters(&cards, &meters, mistakes);
    let subscriptions = subscriptions::settle(drafts, &customers, &cards, &names, mistakes);
    checks::no_meter_is_priced_twice(&subscriptions, &cards, mistakes);
    checks::every_charge_has_a_posting_rule(&subscriptions, &cards, &rules, &names, mistakes);

    Some(Catalog {
        version,
        timing: timing?,
        meters,
        customers: customers.list,
        subscriptions: subscriptions.into_iter().filter_map(|settled| settled.subscription).collect(),
        rate_cards: cards.list,
        legal_entities,
        posting_rules: rules.list,
    })
}

fn document<'a>(file: usize, source: &Source<'a>, mistakes: &Mistakes<'_>) -> Option<Spanned<DeTable<'a>>> {
    let (document, errors) = DeTable::parse_recoverable(source.text());
    for error in errors.iter().take(SYNTAX_ERRORS_MAX) {
        let place = Place::top(file).at(error.span().map_or(0, |span| span.start));
        mistakes.add(&place, format!("not TOML: {}", error.message()), "see https://toml.io/en/v1.1.0");
    }
    errors.is_empty().then_some(document)
}
