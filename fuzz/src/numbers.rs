//! Slow arithmetic of numerics: decimal digits one by one, by PostgreSQL's description of the wire form.

/// A numeric whose digits are spelled as PostgreSQL spells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    pub negative: bool,
    /// Decimal digits, the first one the highest.
    pub digits: Vec<u8>,
    /// The power of ten of the last digit.
    pub power: i64,
    /// Digits shown after the point.
    pub dscale: u16,
}

/// What wire bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wire {
    /// No numeric at all.
    Malformed,
    /// NaN, an infinity, or a spelling that PostgreSQL does not send.
    Odd,
    Number(Number),
}

/// Reads the wire form.
pub fn read(wire: &[u8]) -> Wire {
    if wire.len() < 8 || !wire.len().is_multiple_of(2) {
        return Wire::Malformed;
    }
    let words: Vec<u16> = wire.chunks(2).map(|word| u16::from_be_bytes([word[0], word[1]])).collect();
    let (head, groups) = words.split_at(4);
    if groups.len() != usize::from(head[0]) {
        return Wire::Malformed;
    }
    let (weight, sign, dscale) = (head[1] as i16, head[2], head[3]);
    let zero = groups.is_empty();
    let odd = !matches!(sign, 0 | 0x4000)
        || dscale > 0x3fff
        || groups.iter().any(|group| *group > 9999)
        || groups.first() == Some(&0)
        || groups.last() == Some(&0)
        || (zero && (weight != 0 || sign != 0));
    if odd {
        return Wire::Odd;
    }
    let digits = groups.iter().flat_map(|group| format!("{group:04}").into_bytes()).map(|byte| byte - b'0');
    let power = 4 * (i64::from(weight) + 1 - groups.len() as i64);
    Wire::Number(Number { negative: sign != 0, digits: digits.collect(), power, dscale })
}

impl Number {
    /// The value times 10^`scale`, if it is whole and has at most `precision` digits.
    pub fn scaled(&self, precision: u8, scale: u8) -> Option<i128> {
        let mut digits = self.digits.clone();
        let mut power = self.power + i64::from(scale);
        while power < 0 && digits.last() == Some(&0) {
            digits.pop();
            power += 1;
        }
        let first = digits.iter().position(|digit| *digit != 0);
        let Some(first) = first else { return Some(0) };
        let digits = &digits[first..];
        if power < 0 || digits.len() as i64 + power > i64::from(precision) {
            return None;
        }
        let text: String = digits.iter().map(|digit| char::from(digit + b'0')).collect();
        let magnitude: i128 =
            format!("{text}{}", "0".repeat(power as usize)).parse().expect("at most 38 digits");
        Some(if self.negative { -magnitude } else { magnitude })
    }

    /// Whether all its digits are shown. PostgreSQL sends no other, but its wire form could hold one.
    pub fn is_shown(&self) -> bool {
        let hidden = (-self.power - i64::from(self.dscale)).max(0) as usize;
        self.digits.iter().rev().take(hidden).all(|digit| *digit == 0) && hidden <= self.digits.len()
    }

    /// The text that PostgreSQL prints.
    pub fn text(&self) -> String {
        let at = |power: i64| {
            let place = self.digits.len() as i64 - 1 - (power - self.power);
            usize::try_from(place)
                .ok()
                .and_then(|place| self.digits.get(place))
                .map_or('0', |d| (d + b'0').into())
        };
        let highest = (self.power + self.digits.len() as i64 - 1).max(0);
        let whole: String = (0..=highest).rev().map(at).collect();
        let whole = whole.trim_start_matches('0');
        let fraction: String = (1..=i64::from(self.dscale)).map(|place| at(-place)).collect();
        let sign = if self.negative { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{}{point}{fraction}", if whole.is_empty() { "0" } else { whole })
    }
}
