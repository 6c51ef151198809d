//! Is `data` JSON? What a `datacontenttype` says, as far as metering needs to know.
//!
//! Source: RFC 2045 section 5.1 for the syntax, CloudEvents JSON format 1.0 section 3.1 for what counts as JSON.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    Json,
    Other,
    /// Not `type/subtype`.
    Malformed,
}

pub(super) fn media_type(text: &str) -> MediaType {
    let essence = text.split(';').next().unwrap_or("").trim();
    let Some((kind, subtype)) = essence.split_once('/') else {
        return MediaType::Malformed;
    };
    if !is_token(kind) || !is_token(subtype) {
        return MediaType::Malformed;
    }
    let subtype = subtype.to_ascii_lowercase();
    let named =
        subtype == "json" && ["application", "text"].iter().any(|known| kind.eq_ignore_ascii_case(known));
    if named || subtype.ends_with("+json") { MediaType::Json } else { MediaType::Other }
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_by_name_or_suffix() {
        for (text, expected) in [
            ("application/json", MediaType::Json),
            ("Application/JSON; charset=utf-8", MediaType::Json),
            ("text/json", MediaType::Json),
            ("application/vnd.acme.usage+json", MediaType::Json),
            ("text/plain", MediaType::Other),
            ("application/jsonx", MediaType::Other),
            ("image/json", MediaType::Other),
            ("xyz", MediaType::Malformed),
            ("", MediaType::Malformed),
            ("a/b/c", MediaType::Malformed),
            ("/json", MediaType::Malformed),
        ] {
            assert_eq!(media_type(text), expected, "{text:?}");
        }
    }
}
