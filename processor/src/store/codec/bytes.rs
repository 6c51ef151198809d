//! Numbers and texts as bytes, and back without trusting a single one.

use tidemark_schemas::Decimal;
use tidemark_schemas::decimal::SCALE_MAX;
use tidemark_schemas::summary::Span;
use tidemark_schemas::time::EventTime;

/// Why bytes are not the value they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damaged(pub &'static str);

#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    pub fn i128(&mut self, value: i128) {
        self.raw(&value.to_le_bytes());
    }

    pub fn u128(&mut self, value: u128) {
        self.raw(&value.to_le_bytes());
    }

    pub fn text(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).expect("stored texts are bounded far below 4 GiB"));
        self.raw(text.as_bytes());
    }

    pub fn time(&mut self, time: EventTime) {
        self.raw(&time.micros().to_le_bytes());
    }

    pub fn span(&mut self, span: Span) {
        self.time(span.start);
        self.time(span.end);
    }

    pub fn decimal(&mut self, number: Decimal) {
        self.i128(number.mantissa());
        self.u8(u8::try_from(number.scale()).expect("scales are at most 36"));
    }

    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// # Errors
    /// [`Damaged`] when bytes are left.
    pub fn finish(self) -> Result<(), Damaged> {
        if self.rest.is_empty() { Ok(()) } else { Err(Damaged("bytes are left after the value")) }
    }

    /// # Errors
    /// [`Damaged`] when the row is too short, here and below.
    pub fn raw(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Damaged("the row is too short"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Everything that was not read yet.
    #[must_use]
    pub fn left(&self) -> &'a [u8] {
        self.rest
    }

    /// # Errors
    /// See [`Reader::raw`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        Ok(*self.raw(N)?.first_chunk::<N>().expect("exactly N bytes were taken"))
    }

    /// # Errors
    /// See [`Reader::raw`].
    pub fn u8(&mut self) -> Result<u8, Damaged> {
        Ok(self.array::<1>()?[0])
    }

    /// # Errors
    /// See [`Reader::raw`].
    pub fn u32(&mut self) -> Result<u32, Damaged> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// # Errors
    /// See [`Reader::raw`].
    pub fn u64(&mut self) -> Result<u64, Damaged> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// # Errors
    /// See [`Reader::raw`].
    pub fn i128(&mut self) -> Result<i128, Damaged> {
        Ok(i128::from_le_bytes(self.array()?))
    }

    /// # Errors
    /// See [`Reader::raw`].
    pub fn u128(&mut self) -> Result<u128, Damaged> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    /// # Errors
    /// Also when it is no UTF-8.
    pub fn text(&mut self) -> Result<&'a str, Damaged> {
        let length = self.u32()? as usize;
        std::str::from_utf8(self.raw(length)?).map_err(|_| Damaged("a text is not UTF-8"))
    }

    /// # Errors
    /// Also outside the years 1 to 9999.
    pub fn time(&mut self) -> Result<EventTime, Damaged> {
        let micros = i64::from_le_bytes(self.array()?);
        let time = EventTime::from_micros(micros);
        if time.micros() == micros { Ok(time) } else { Err(Damaged("a time is outside the years 1 to 9999")) }
    }

    /// # Errors
    /// See [`Reader::time`].
    pub fn span(&mut self) -> Result<Span, Damaged> {
        Ok(Span { start: self.time()?, end: self.time()? })
    }

    /// # Errors
    /// Also for a scale that no number has.
    pub fn decimal(&mut self) -> Result<Decimal, Damaged> {
        let (mantissa, scale) = (self.i128()?, u32::from(self.u8()?));
        if scale > SCALE_MAX {
            return Err(Damaged("a number has more fractional digits than are kept"));
        }
        Ok(Decimal::new(mantissa, scale))
    }

    /// # Errors
    /// Also when the flag is neither 0 nor 1.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Damaged>,
    ) -> Result<Option<T>, Damaged> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Damaged("a flag is neither 0 nor 1")),
        }
    }

    /// A count of things that each take at least one byte, so that a damaged count cannot reserve memory.
    ///
    /// # Errors
    /// When there are fewer bytes than things.
    pub fn count(&mut self) -> Result<usize, Damaged> {
        let count = self.u32()? as usize;
        if count <= self.rest.len() { Ok(count) } else { Err(Damaged("a count is larger than the row")) }
    }
}
