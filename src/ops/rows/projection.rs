//! [`Projection`]: the columns of a tuple that two sides have in common, in one order and one form.

use crate::codec::CodecError;

/// Where a field lies in a tuple, the four bytes of its length included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) struct Span {
    pub(in crate::ops) start: usize,
    pub(in crate::ops) end: usize,
}

impl Span {
    /// Whether the field is NULL.
    pub(in crate::ops) fn is_null(&self, tuple: &[u8]) -> bool {
        tuple.get(self.start).is_some_and(|sign| *sign >= 0x80)
    }
}

/// The fields of a tuple of COPY.
pub(in crate::ops) fn fields_of(tuple: &[u8]) -> Result<Vec<Span>, CodecError> {
    let short = || CodecError::Piece("a tuple ends early".to_owned());
    let mut at = 2;
    let mut fields = Vec::new();
    while at < tuple.len() {
        let length = tuple.get(at..).and_then(|rest| rest.first_chunk()).ok_or_else(short)?;
        // -1 is NULL, and has no bytes.
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let span = Span { start: at, end: at + 4 + length };
        if span.end > tuple.len() {
            return Err(short());
        }
        fields.push(span);
        at = span.end;
    }
    Ok(fields)
}

/// One column of a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) struct Field {
    /// Its place in the tuple.
    pub(in crate::ops) place: usize,
    /// An integer that is made eight bytes wide, as the other side's type is another one.
    pub(in crate::ops) widened: bool,
}

/// Columns to take from a tuple.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ops) enum Projection {
    /// The tuple as it is.
    Whole,
    /// These columns, in this order.
    Fields(Vec<Field>),
}

impl Projection {
    /// The projection onto these fields of a tuple of `columns` columns.
    pub(in crate::ops) fn onto(fields: Vec<Field>, columns: usize) -> Self {
        let whole = fields.len() == columns
            && fields.iter().enumerate().all(|(at, field)| field.place == at && !field.widened);
        if whole { Self::Whole } else { Self::Fields(fields) }
    }

    /// The projected tuple: `tuple` itself, or what is put into `room`.
    pub(in crate::ops) fn apply<'t>(
        &self,
        tuple: &'t [u8],
        room: &'t mut Vec<u8>,
    ) -> Result<&'t [u8], CodecError> {
        let Self::Fields(fields) = self else { return Ok(tuple) };
        let spans = fields_of(tuple)?;
        room.clear();
        room.extend_from_slice(&(fields.len() as u16).to_be_bytes());
        for field in fields {
            let missing = || CodecError::Piece("a tuple has too few columns".to_owned());
            let span = spans.get(field.place).ok_or_else(missing)?;
            match tuple.get(span.start + 4..span.end) {
                Some(value) if field.widened && !span.is_null(tuple) => {
                    room.extend_from_slice(&8i32.to_be_bytes());
                    room.extend_from_slice(&widened(value).to_be_bytes());
                }
                _ => room.extend_from_slice(&tuple[span.start..span.end]),
            }
        }
        Ok(room)
    }
}

fn widened(value: &[u8]) -> i64 {
    let sign = if value.first().is_some_and(|first| *first >= 0x80) { -1 } else { 0 };
    value.iter().fold(sign, |number, byte| number << 8 | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(fields: &[Option<&[u8]>]) -> Vec<u8> {
        let mut tuple = (fields.len() as u16).to_be_bytes().to_vec();
        for field in fields {
            let length = field.map_or(-1, |value| value.len() as i32);
            tuple.extend_from_slice(&length.to_be_bytes());
            tuple.extend_from_slice(field.unwrap_or_default());
        }
        tuple
    }

    #[test]
    fn columns_are_taken_in_another_order_and_integers_made_wider() {
        let from = tuple(&[Some(b"ab"), None, Some(&(-7i32).to_be_bytes()), Some(&300i16.to_be_bytes())]);
        let field = |place, widened| Field { place, widened };
        let projection =
            Projection::onto(vec![field(2, true), field(1, true), field(0, false), field(3, true)], 4);
        let wanted = tuple(&[Some(&(-7i64).to_be_bytes()), None, Some(b"ab"), Some(&300i64.to_be_bytes())]);
        assert_eq!(projection.apply(&from, &mut Vec::new()).unwrap(), wanted);
        assert_eq!(Projection::onto(vec![field(0, false), field(1, false)], 2), Projection::Whole);
        assert_ne!(Projection::onto(vec![field(0, false)], 2), Projection::Whole);
    }

    #[test]
    fn a_tuple_that_ends_early_is_an_error() {
        let whole = tuple(&[Some(b"abc"), None]);
        assert_eq!(fields_of(&whole).unwrap().len(), 2);
        assert!(fields_of(&whole[..whole.len() - 2]).is_err());
        assert!(fields_of(&whole[..6]).is_err());
        let beyond = Projection::Fields(vec![Field { place: 2, widened: false }]);
        assert!(beyond.apply(&whole, &mut Vec::new()).is_err());
    }
}
