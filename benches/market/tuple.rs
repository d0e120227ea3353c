//! Fields of COPY BINARY as PostgreSQL itself sends them.

/// What a stream starts with.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What a stream ends with.
pub(crate) const TRAILER: [u8; 2] = [0xff, 0xff];

/// The number of fields that follow.
pub(crate) fn begin(out: &mut Vec<u8>, fields: u16) {
    out.extend_from_slice(&fields.to_be_bytes());
}

/// No value.
pub(crate) fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1i32).to_be_bytes());
}

/// A field of these bytes.
pub(crate) fn bytes(out: &mut Vec<u8>, field: &[u8]) {
    out.extend_from_slice(&(field.len() as u32).to_be_bytes());
    out.extend_from_slice(field);
}

/// text, varchar, json, or the name of an enum's value.
pub(crate) fn text(out: &mut Vec<u8>, field: &str) {
    bytes(out, field.as_bytes());
}

/// jsonb: version 1 and text.
pub(crate) fn jsonb(out: &mut Vec<u8>, field: &str) {
    out.extend_from_slice(&(field.len() as u32 + 1).to_be_bytes());
    out.push(1);
    out.extend_from_slice(field.as_bytes());
}

/// boolean.
pub(crate) fn boolean(out: &mut Vec<u8>, field: bool) {
    bytes(out, &[u8::from(field)]);
}

/// smallint.
pub(crate) fn int2(out: &mut Vec<u8>, field: i16) {
    bytes(out, &field.to_be_bytes());
}

/// int, or a date as days since 2000-01-01.
pub(crate) fn int4(out: &mut Vec<u8>, field: i32) {
    bytes(out, &field.to_be_bytes());
}

/// bigint, or a timestamp as microseconds since 2000-01-01.
pub(crate) fn int8(out: &mut Vec<u8>, field: i64) {
    bytes(out, &field.to_be_bytes());
}

/// real.
pub(crate) fn float4(out: &mut Vec<u8>, field: f32) {
    bytes(out, &field.to_be_bytes());
}

/// double precision.
pub(crate) fn float8(out: &mut Vec<u8>, field: f64) {
    bytes(out, &field.to_be_bytes());
}

/// numeric: `value` times ten to the power of minus `scale`.
pub(crate) fn numeric(out: &mut Vec<u8>, value: i128, scale: u16) {
    // Groups of four digits lie on both sides of the point: fill the last group up.
    let fill = (4 - scale % 4) % 4;
    let mut rest = value.unsigned_abs() * 10u128.pow(fill.into());
    let mut groups = [0u16; 12];
    let mut count = 0;
    while rest > 0 {
        groups[count] = (rest % 10_000) as u16;
        rest /= 10_000;
        count += 1;
    }
    let weight = count as i16 - 1 - ((scale + fill) / 4) as i16;
    // The last groups come first here; zeros among them are not sent.
    let zeros = groups[..count].iter().take_while(|group| **group == 0).count();
    let sent = &groups[zeros..count];
    out.extend_from_slice(&(8 + 2 * sent.len() as u32).to_be_bytes());
    out.extend_from_slice(&(sent.len() as u16).to_be_bytes());
    out.extend_from_slice(&(if sent.is_empty() { 0 } else { weight }).to_be_bytes());
    out.extend_from_slice(&(if value < 0 { 0x4000u16 } else { 0 }).to_be_bytes());
    out.extend_from_slice(&scale.to_be_bytes());
    for group in sent.iter().rev() {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

/// An array of one dimension from 1 on; `element` appends one field, or a null.
pub(crate) fn array<T>(out: &mut Vec<u8>, oid: u32, items: &[T], element: impl Fn(&mut Vec<u8>, &T)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&i32::from(!items.is_empty()).to_be_bytes());
    // Whether there are nulls is for the server to see.
    out.extend_from_slice(&0i32.to_be_bytes());
    out.extend_from_slice(&oid.to_be_bytes());
    if !items.is_empty() {
        out.extend_from_slice(&(items.len() as i32).to_be_bytes());
        out.extend_from_slice(&1i32.to_be_bytes());
        items.iter().for_each(|item| element(out, item));
    }
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}
