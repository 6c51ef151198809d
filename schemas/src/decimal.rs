//! How do we write a number that money depends on? As an integer and a power of ten, never as a binary float.
//!
//! Keeps I-6: [`Decimal::rounded`] is the only rounding in the product.
//! Every operation is exact or answers [`NumberError`]; nothing wraps and nothing is rounded in silence.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// More fractional digits than any price or quantity in use; 10^36 still fits 127 bits.
pub const SCALE_MAX: u32 = 36;

/// An exact decimal: `mantissa * 10^-scale`, with no trailing zeros in the fraction, so equal numbers have equal fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: i128,
    scale: u32,
}

/// Why a number cannot be represented. The text is for the person who sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    #[error("`{text}` is not a decimal number; write digits with an optional sign, point and exponent")]
    NotANumber { text: String },
    #[error("the number has more than {SCALE_MAX} fractional digits, more than can be kept exactly")]
    TooPrecise,
    #[error("the number is too large to be kept exactly in 128 bits")]
    Overflow,
    #[error(
        "{value} has more than {scale} fractional digits, the scale declared for it; widen the scale or send fewer digits"
    )]
    BeyondScale { value: Decimal, scale: u32 },
}

#[expect(clippy::should_implement_trait, reason = "operators cannot fail, and these can")]
impl Decimal {
    pub const ZERO: Self = Self { mantissa: 0, scale: 0 };
    pub const ONE: Self = Self { mantissa: 1, scale: 0 };

    /// `mantissa * 10^-scale`. Panics only on a scale above [`SCALE_MAX`], which no caller can be given from outside.
    #[must_use]
    pub fn new(mantissa: i128, scale: u32) -> Self {
        assert!(scale <= SCALE_MAX, "a scale is checked where it is declared");
        Self { mantissa, scale }.normalized()
    }

    #[must_use]
    pub fn from_int(value: i128) -> Self {
        Self { mantissa: value, scale: 0 }
    }

    /// The number as an integer count of `10^-scale`.
    ///
    /// # Errors
    /// [`NumberError::BeyondScale`] when digits would be lost, [`NumberError::Overflow`] when it does not fit.
    pub fn to_scaled(self, scale: u32) -> Result<i128, NumberError> {
        if self.scale > scale {
            return Err(NumberError::BeyondScale { value: self, scale });
        }
        times_power_of_ten(self.mantissa, scale - self.scale)
    }

    /// Rounds half away from zero to `scale` fractional digits and returns the count of `10^-scale`.
    ///
    /// The one rounding function of the product (I-6).
    ///
    /// # Errors
    /// [`NumberError::Overflow`] when the result does not fit 128 bits.
    pub fn rounded(self, scale: u32) -> Result<i128, NumberError> {
        if self.scale <= scale {
            return self.to_scaled(scale);
        }
        let divisor = power_of_ten(self.scale - scale)?;
        Ok(divide_half_away(self.mantissa, divisor))
    }

    /// `self / divisor`, rounded half away from zero to `scale` digits. For averages; never used on money.
    ///
    /// # Errors
    /// [`NumberError::Overflow`]; a zero divisor is a bug of ours and panics.
    pub fn divided(self, divisor: i128, scale: u32) -> Result<Self, NumberError> {
        assert!(divisor > 0, "an average is taken over at least one value");
        if self.scale <= scale {
            let numerator = times_power_of_ten(self.mantissa, scale - self.scale)?;
            return Ok(Self::new(divide_half_away(numerator, divisor), scale));
        }
        let whole = divisor.checked_mul(power_of_ten(self.scale - scale)?).ok_or(NumberError::Overflow)?;
        Ok(Self::new(divide_half_away(self.mantissa, whole), scale))
    }

    /// # Errors
    /// [`NumberError::Overflow`]
    pub fn add(self, other: Self) -> Result<Self, NumberError> {
        let scale = self.scale.max(other.scale);
        let sum = self.to_scaled(scale)?.checked_add(other.to_scaled(scale)?).ok_or(NumberError::Overflow)?;
        Ok(Self::new(sum, scale))
    }

    /// # Errors
    /// [`NumberError::Overflow`]
    pub fn sub(self, other: Self) -> Result<Self, NumberError> {
        self.add(other.negated()?)
    }

    /// # Errors
    /// [`NumberError::Overflow`] or [`NumberError::TooPrecise`]
    pub fn mul(self, other: Self) -> Result<Self, NumberError> {
        let mantissa = self.mantissa.checked_mul(other.mantissa).ok_or(NumberError::Overflow)?;
        let product = Self { mantissa, scale: self.scale + other.scale }.normalized();
        if product.scale > SCALE_MAX {
            return Err(NumberError::TooPrecise);
        }
        Ok(product)
    }

    /// # Errors
    /// [`NumberError::Overflow`]
    pub fn negated(self) -> Result<Self, NumberError> {
        let mantissa = self.mantissa.checked_neg().ok_or(NumberError::Overflow)?;
        Ok(Self { mantissa, scale: self.scale })
    }

    /// How many whole packages of `size` cover this quantity: the ceiling of `self / size`, 0 at or below zero.
    ///
    /// # Errors
    /// [`NumberError::Overflow`]; a size that is not positive is refused by the catalog.
    pub fn packages_of(self, size: Self) -> Result<i128, NumberError> {
        assert!(size.is_positive(), "the catalog refuses a package without a size");
        let scale = self.scale.max(size.scale);
        let (quantity, size) = (self.to_scaled(scale)?, size.to_scaled(scale)?);
        if quantity <= 0 {
            return Ok(0);
        }
        Ok((quantity - 1) / size + 1)
    }

    #[must_use]
    pub fn mantissa(self) -> i128 {
        self.mantissa
    }

    #[must_use]
    pub fn scale(self) -> u32 {
        self.scale
    }

    #[must_use]
    pub fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    #[must_use]
    pub fn is_positive(self) -> bool {
        self.mantissa > 0
    }

    #[must_use]
    pub fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    fn normalized(mut self) -> Self {
        if self.mantissa == 0 {
            return Self::ZERO;
        }
        while self.scale > 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale -= 1;
        }
        self
    }
}

fn power_of_ten(exponent: u32) -> Result<i128, NumberError> {
    10_i128.checked_pow(exponent).ok_or(NumberError::Overflow)
}

fn times_power_of_ten(mantissa: i128, exponent: u32) -> Result<i128, NumberError> {
    if mantissa == 0 || exponent == 0 {
        return Ok(mantissa);
    }
    mantissa.checked_mul(power_of_ten(exponent)?).ok_or(NumberError::Overflow)
}

/// Half away from zero, the rule of European and US billing alike: 0.5 becomes 1 and -0.5 becomes -1.
fn divide_half_away(numerator: i128, divisor: i128) -> i128 {
    let (quotient, remainder) = (numerator / divisor, numerator % divisor);
    // `remainder >= divisor - remainder` instead of doubling: doubling could overflow.
    let magnitude = remainder.unsigned_abs();
    if magnitude >= divisor.unsigned_abs() - magnitude { quotient + numerator.signum() } else { quotient }
}

impl Ord for Decimal {
    /// Compares the numbers, whatever their scales. Never fails: when aligning overflows, the integer parts decide.
    fn cmp(&self, other: &Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (self.to_scaled(scale), other.to_scaled(scale)) {
            (Ok(left), Ok(right)) => left.cmp(&right),
            // Only the operand with the smaller scale is multiplied, so the one that overflows is the larger magnitude.
            (Err(_), _) => self.mantissa.cmp(&0),
            (_, Err(_)) => 0.cmp(&other.mantissa),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Decimal {
    type Err = NumberError;

    /// Reads `-12.50`, `1e3`, `0.4567890123456789`: the JSON number grammar, plus leading zeros and `+`.
    fn from_str(text: &str) -> Result<Self, NumberError> {
        let not_a_number = || NumberError::NotANumber { text: text.chars().take(64).collect() };
        let bytes = text.as_bytes();
        let (negative, mut rest) = match bytes.first() {
            Some(b'-') => (true, &bytes[1..]),
            Some(b'+') => (false, &bytes[1..]),
            _ => (false, bytes),
        };
        let mut digits = Digits::default();
        let whole = digits.take(&mut rest, 0)?;
        let fraction = match rest.first() {
            Some(b'.') => {
                rest = &rest[1..];
                let fraction = digits.take(&mut rest, 1)?;
                if fraction == 0 {
                    return Err(not_a_number());
                }
                fraction
            }
            _ => 0,
        };
        if whole + fraction == 0 {
            return Err(not_a_number());
        }
        let exponent = match rest.first() {
            Some(b'e' | b'E') => {
                let exponent = read_exponent(&rest[1..]).ok_or_else(not_a_number)?;
                rest = &[];
                exponent
            }
            _ => 0,
        };
        if !rest.is_empty() {
            return Err(not_a_number());
        }
        digits.into_decimal(negative, exponent)
    }
}

/// Digits read so far. Zeros at the end are counted, not multiplied in, so that `1.000…0` with any number of zeros is 1.
#[derive(Default)]
struct Digits {
    mantissa: i128,
    pending_zeros: u32,
    scale: i64,
}

impl Digits {
    /// Takes the leading digits of `rest`, each counting as `fraction` digits after the point; returns how many.
    fn take(&mut self, rest: &mut &[u8], fraction: i64) -> Result<usize, NumberError> {
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        for byte in &rest[..count] {
            self.push(*byte - b'0')?;
            self.scale += fraction;
        }
        *rest = &rest[count..];
        Ok(count)
    }

    fn push(&mut self, digit: u8) -> Result<(), NumberError> {
        if digit == 0 {
            self.pending_zeros += u32::from(self.mantissa != 0);
            return Ok(());
        }
        self.mantissa = times_power_of_ten(self.mantissa, self.pending_zeros + 1)?
            .checked_add(i128::from(digit))
            .ok_or(NumberError::Overflow)?;
        self.pending_zeros = 0;
        Ok(())
    }

    fn into_decimal(self, negative: bool, exponent: i64) -> Result<Decimal, NumberError> {
        if self.mantissa == 0 {
            return Ok(Decimal::ZERO);
        }
        let mantissa = if negative { -self.mantissa } else { self.mantissa };
        let scale = self.scale - exponent - i64::from(self.pending_zeros);
        if scale > i64::from(SCALE_MAX) {
            return Err(NumberError::TooPrecise);
        }
        if let Ok(scale) = u32::try_from(scale) {
            return Ok(Decimal::new(mantissa, scale));
        }
        let exponent = u32::try_from(-scale).map_err(|_| NumberError::Overflow)?;
        Ok(Decimal::from_int(times_power_of_ten(mantissa, exponent)?))
    }
}

/// An exponent, saturated at a million: anything beyond is out of range for every caller.
fn read_exponent(bytes: &[u8]) -> Option<i64> {
    let (sign, digits) = match bytes.first()? {
        b'-' => (-1, &bytes[1..]),
        b'+' => (1, &bytes[1..]),
        _ => (1, bytes),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0_i64, |sum, byte| (sum * 10 + i64::from(byte - b'0')).min(1_000_000));
    Some(sign * magnitude)
}

impl fmt::Display for Decimal {
    /// Plain notation, no exponent: `-0.0025`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.mantissa.unsigned_abs().to_string();
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let scale = self.scale as usize;
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        if digits.len() <= scale {
            return write!(f, "{sign}0.{digits:0>scale$}");
        }
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().expect("a number")
    }

    #[test]
    fn numbers_are_read_exactly() {
        for (text, shown) in [
            ("0", "0"),
            ("-0.0", "0"),
            ("123.4567890123456789", "123.4567890123456789"),
            ("1e3", "1000"),
            ("1.50E-2", "0.015"),
            ("1.000000000000000000000000000000000000000000000000000000", "1"),
            ("1000e-3", "1"),
            ("0e999999999999", "0"),
            ("-2301505330.1", "-2301505330.1"),
        ] {
            assert_eq!(decimal(text).to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        for text in ["", "-", ".", "1.", "abc", "1e", "1e+", "NaN", "Infinity", "0x10", "1 ", "1_000", "--1"]
        {
            assert!(matches!(text.parse::<Decimal>(), Err(NumberError::NotANumber { .. })), "{text:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        assert_eq!("1e39".parse::<Decimal>(), Err(NumberError::Overflow));
        assert_eq!("1e999999999999".parse::<Decimal>(), Err(NumberError::Overflow));
        assert_eq!("1e-37".parse::<Decimal>(), Err(NumberError::TooPrecise));
        assert_eq!("170141183460469231731687303715884105728".parse::<Decimal>(), Err(NumberError::Overflow));
        assert!(matches!(decimal("1.005").to_scaled(2), Err(NumberError::BeyondScale { scale: 2, .. })));
        assert_eq!(Decimal::from_int(i128::MAX).add(Decimal::ONE), Err(NumberError::Overflow));
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        for (text, scale, expected) in [
            ("10.275", 2, 1028),
            ("1000.5", 0, 1001),
            ("-10.275", 2, -1028),
            ("0.0049", 2, 0),
            ("0.005", 2, 1),
            ("-0.005", 2, -1),
            ("0.333", 2, 33),
        ] {
            assert_eq!(decimal(text).rounded(scale), Ok(expected), "{text}");
        }
        assert_eq!(Decimal::new(i128::MAX, 1).rounded(0), Ok(i128::MAX / 10 + 1));
    }

    #[test]
    fn averages_divide_once() {
        assert_eq!(Decimal::from_int(80).divided(4, 6), Ok(Decimal::from_int(20)));
        assert_eq!(Decimal::from_int(2).divided(3, 4), Ok(decimal("0.6667")));
        assert_eq!(decimal("1.00001").divided(2, 2), Ok(decimal("0.5")));
    }

    #[test]
    fn packages_are_whole() {
        for (quantity, size, packages) in
            [("0", "10", 0), ("1", "10", 1), ("10", "10", 1), ("10.1", "10", 2), ("-3", "10", 0)]
        {
            assert_eq!(decimal(quantity).packages_of(decimal(size)), Ok(packages), "{quantity}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(mantissa in any::<i128>(), scale in 0..=SCALE_MAX) {
            let number = Decimal::new(mantissa, scale);
            prop_assert_eq!(number.to_string().parse::<Decimal>(), Ok(number));
        }

        #[test]
        fn order_agrees_with_subtraction(a in any::<i64>(), b in any::<i64>(), s in 0..12_u32, t in 0..12_u32) {
            let (left, right) = (Decimal::new(i128::from(a), s), Decimal::new(i128::from(b), t));
            let difference = left.sub(right).expect("64-bit numbers at these scales fit");
            prop_assert_eq!(left.cmp(&right), difference.mantissa().cmp(&0));
        }

        #[test]
        fn parsing_is_total(text in "\\PC*") {
            let _ = text.parse::<Decimal>();
        }
    }
}
