//! What is a record called? By its content, so that making it twice gives the same name (I-5).

use tidemark_schemas::summary::RecordId;

/// `prefix_` and 32 hex digits: the first 128 bits of BLAKE3 over the parts, each preceded by its length.
#[must_use]
pub fn record_id(prefix: &str, parts: &[&[u8]]) -> RecordId {
    let mut hasher = blake3::Hasher::new();
    for part in std::iter::once(&prefix.as_bytes()).chain(parts) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let digest = first_128_bits(&hasher.finalize());
    RecordId(format!("{prefix}_{digest:032x}"))
}

/// A name's hash that is the same in every deployment.
#[must_use]
pub fn name_hash(name: &str) -> u128 {
    first_128_bits(&blake3::hash(name.as_bytes()))
}

fn first_128_bits(hash: &blake3::Hash) -> u128 {
    let bytes = hash.as_bytes().first_chunk::<16>().expect("BLAKE3 has 32 bytes");
    u128::from_be_bytes(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_injective_and_stable() {
        let id = record_id("rs", &[b"ab", b"c"]);
        assert_ne!(id, record_id("rs", &[b"a", b"bc"]));
        assert_ne!(id, record_id("je", &[b"ab", b"c"]));
        // Golden: ids are a promise to everyone who stored one.
        assert_eq!(id.0, "rs_a085a4fe34e9c8b9dc3033f0eda13f9f");
    }
}
