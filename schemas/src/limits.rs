//! How large may anything be? Every bound on what comes in from outside, with its reason (I-9).

/// CloudEvents asks receivers to accept at least 64 KiB; a usage event is about 300 bytes.
pub const EVENT_BYTES_MAX: usize = 64 * 1024;

/// Attributes that producers choose. Longer ones are refused by name, so that a key never outgrows a disk page.
pub const ATTRIBUTE_BYTES_MAX: usize = 1024;

/// Nesting of `data`. Real payloads stay below ten; recursion below this never exhausts a thread's stack.
pub const DEPTH_MAX: usize = 64;

/// One request: 10,000 events of about 300 bytes fit, and hold a connection's memory to a known bound.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Events in one HTTP batch: more would make its answer, one line an event, larger than a page of logs.
pub const REQUEST_EVENTS_MAX: usize = 10_000;

/// A compressed body may not grow more than this: usage JSON compresses 10 to 30 times, a bomb 1,000 times.
pub const DECOMPRESSION_RATIO_MAX: usize = 100;

/// Fractional digits of a quantity: enough for 100 ns as seconds and for a byte as an exabyte's fraction.
pub const QUANTITY_SCALE_MAX: u32 = 18;

/// Distinct dimension values that one meter may open for one subscription, unless its catalog entry says less or more.
pub const GROUPS_PER_SUBSCRIPTION_DEFAULT: u32 = 100_000;

/// Bytes of one dimension's value.
pub const DIMENSION_BYTES_MAX: usize = 256;

/// Distinct values that one window of a unique-count meter holds, late ones included: 16 bytes each, so at most 1.6 MB a
/// window. An event with one more waits as `cardinality_exceeded`; one with a value that the window has counts.
pub const UNIQUE_VALUES_MAX: usize = 100_000;

/// Bytes of the original event that an exception keeps; longer payloads are cut and say so.
pub const EXCEPTION_PAYLOAD_BYTES_MAX: usize = EVENT_BYTES_MAX;
