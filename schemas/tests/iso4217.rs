//! Is every currency of ISO 4217 accepted with its minor unit, or refused by name? SIX list one (datasets/currency-codes,
//! public domain), when `TIDEMARK_DATA` names a folder that holds it.

use tidemark_schemas::money::{Currency, CurrencyError};

/// Codes of the list, which is of June 2024, that the standard has withdrawn since: XCG took the place of ANG in 2025.
const RETIRED: [&str; 1] = ["ANG"];

#[test]
fn every_code_of_the_standard_has_its_minor_unit_or_none() {
    let Some(folder) = std::env::var_os("TIDEMARK_DATA").map(std::path::PathBuf::from) else {
        println!("SKIPPED: ISO 4217 needs TIDEMARK_DATA to name a folder that has the data set `iso4217`");
        return;
    };
    let text = std::fs::read_to_string(folder.join("iso4217/minor_units.csv")).expect("a data file");
    let (mut rows, mut retired) = (0, Vec::new());
    for row in text.lines().skip(1) {
        let [code, _, digits] = row.splitn(4, ',').take(3).collect::<Vec<_>>()[..] else { panic!("{row}") };
        let expected = match digits {
            "N.A." => Err(CurrencyError::NoMinorUnit { code: code.into() }),
            digits => Ok(digits.parse().expect("digits")),
        };
        rows += 1;
        match code.parse::<Currency>().map(Currency::minor_digits) {
            Err(CurrencyError::Unknown { code }) => retired.push(code),
            found => assert_eq!(found, expected, "{row}"),
        }
    }
    assert_eq!(rows, 179, "the whole list");
    assert_eq!(retired, RETIRED);
}
