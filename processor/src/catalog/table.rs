//! How is a TOML table read? Key by key; what nobody asked for is an unknown key, with the keys that are allowed.
//!
//! Keeps: a reader answers `None` only after it recorded a mistake, so callers combine answers with `?` at the end,
//! when every key has been looked at.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Mistakes, Place};
use super::names::{Kind, Names};
use super::value::Value;

pub(super) struct Table<'a> {
    rows: &'a DeTable<'a>,
    pub place: Place,
    pub mistakes: &'a Mistakes<'a>,
    asked: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub fn new(rows: &'a DeTable<'a>, place: Place, mistakes: &'a Mistakes<'a>) -> Self {
        Self { rows, place, mistakes, asked: Vec::new() }
    }

    pub fn find(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.asked.push(key);
        self.rows.get(key).map(|row| self.value(key, row))
    }

    pub fn has(&self, key: &str) -> bool {
        self.rows.get(key).is_some()
    }

    fn value(&self, key: &str, row: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        Value { raw: row.get_ref(), place: self.place.member(key, row.span().start), mistakes: self.mistakes }
    }

    pub fn required<T>(&mut self, key: &'static str, read: impl FnOnce(Value<'a>) -> Option<T>) -> Option<T> {
        match self.find(key) {
            Some(value) => read(value),
            None => {
                self.mistake(format!("the key `{key}` is missing"), format!("add `{key} = …` here"));
                None
            }
        }
    }

    /// `Some(None)` when the key is absent, `None` when it is there and wrong.
    pub fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.find(key) {
            Some(value) => read(value).map(Some),
            None => Some(None),
        }
    }

    pub fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.find(key) {
            Some(value) => read(value),
            None => Some(default),
        }
    }

    /// Reads the entry's `id`, defines it, and names it in all further mistakes of this table.
    pub fn id<T, E: std::fmt::Display>(
        &mut self,
        kind: Kind,
        names: &mut Names,
        new: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if let Some(DeValue::String(text)) = self.rows.get("id").map(Spanned::get_ref) {
            self.place.belongs_to(kind.name(), text);
        }
        let read = self.required("id", |value| {
            let place = value.place.clone();
            let text = value.text()?;
            let id = value.parsed(text, new)?;
            Some((id, text, place))
        });
        let Some((id, text, place)) = read else {
            // References to it cannot be told from references to nothing.
            names.open(kind);
            return None;
        };
        names.define(kind, text, place, self.mistakes).then_some(id)
    }

    /// The tables of `[[key]]`; none when the key is absent.
    pub fn tables(&mut self, key: &'static str) -> Vec<Table<'a>> {
        let Some(value) = self.find(key) else {
            return Vec::new();
        };
        let DeValue::Array(elements) = value.raw else {
            let help = format!("write each as [[{key}]], with double brackets");
            value.mistake(format!("`{key}` is a list of tables, found {}", value.found()), help);
            return Vec::new();
        };
        value.elements(elements).filter_map(Value::table).collect()
    }

    /// All members in the order of the file, for tables whose keys are free.
    pub fn members(&mut self) -> Vec<(&'a str, Value<'a>)> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|(key, _)| key.span().start);
        rows.into_iter()
            .map(|(key, row)| {
                let key: &'a str = key.get_ref();
                (key, self.value(key, row))
            })
            .collect()
    }

    pub fn mistake(&self, message: impl Into<String>, help: impl Into<String>) {
        self.mistakes.add(&self.place, message, help);
    }

    /// Reports the keys that nobody asked for.
    pub fn finish(self) {
        for (key, _) in self.rows.iter() {
            let name: &str = key.get_ref();
            if !self.asked.contains(&name) {
                let place = self.place.member(name, key.span().start);
                let shown: String = name.chars().take(64).collect();
                let help = format!("allowed: {}", self.asked.join(", "));
                self.mistakes.add(&place, format!("unknown key `{}`", shown.escape_debug()), help);
            }
        }
    }
}
