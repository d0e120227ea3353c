//! PostgreSQL as the oracle: for every mapping, SQL that says what a reader of the piece must see, from the server's own
//! output and send functions. And what to tell the readers, so that they say it in the same form.
//!
//! A reader sees NULL where a value stands in the sidecar; [`Oracle::exception`] says where that must be.

use barkeep::base::quote_ident;
use barkeep::manifest::Mapping;
use serde_json::{Value, json};

/// SQL about one value.
pub(crate) struct Oracle {
    /// Its canonical form as `jsonb`, NULL for NULL.
    value: String,
    /// Whether no natural type holds it; never NULL.
    pub(crate) exception: String,
}

impl Oracle {
    /// What a reader sees.
    pub(crate) fn seen(&self) -> String {
        format!("CASE WHEN {} THEN NULL ELSE {} END", self.exception, self.value)
    }
}

/// A column of a table.
pub(crate) fn column(mapping: &Mapping, name: &str) -> Oracle {
    Asker { names: 0 }.ask(mapping, &format!("({})", quote_ident(name)), true)
}

const NEVER: &str = "false";

struct Asker {
    names: u32,
}

impl Asker {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("n{}", self.names)
    }

    /// `of` is an SQL expression in parentheses.
    fn ask(&mut self, mapping: &Mapping, of: &str, top: bool) -> Oracle {
        match mapping {
            Mapping::Decimal { precision, scale, display_scale } => {
                decimal(of, (*precision, *scale), (!top).then_some(*display_scale))
            }
            Mapping::Time => Oracle {
                value: unless_null(of, &leaf(mapping, of)),
                exception: format!("coalesce({of} = TIME '24:00:00', false)"),
            },
            Mapping::Timestamp => timestamp(of, "timestamp_send"),
            Mapping::TimestampTz => timestamp(of, "timestamptz_send"),
            Mapping::List { dimensions, lower_bound, element, .. } => {
                self.list(of, u32::from(*dimensions), *lower_bound, element)
            }
            Mapping::Struct { fields } => {
                let parts: Vec<(String, Oracle)> = fields
                    .iter()
                    .map(|field| {
                        let inner = format!("({of}.{})", quote_ident(&field.name));
                        (field.name.clone(), self.ask(&field.mapping, &inner, false))
                    })
                    .collect();
                let exceptions = parts.iter().map(|(_, part)| part.exception.as_str());
                let exception = any(exceptions);
                let pairs = parts.iter().map(|(name, part)| (name.as_str(), part.value.clone()));
                Oracle { value: unless_null(of, &object(pairs)), exception }
            }
            Mapping::Range { bound } => self.range(of, bound),
            Mapping::Multirange { bound } => {
                let (from, order) = (self.name(), self.name());
                let range = self.range(&format!("({from})"), bound);
                let each = format!("FROM unnest({of}) WITH ORDINALITY AS u({from}, {order})");
                let value = list_of(&format!("SELECT jsonb_agg({} ORDER BY {order}) {each}", range.value));
                let exception = format!("EXISTS (SELECT {each} WHERE {})", range.exception);
                Oracle { value: unless_null(of, &value), exception }
            }
            Mapping::Path => {
                let closed = text(&format!("CASE WHEN isclosed({of}) THEN 't' ELSE 'f' END"));
                let pairs =
                    [("closed", closed), ("points", self.points(&format!("path_send({of})"), 5))].into_iter();
                plain(unless_null(of, &object(pairs)))
            }
            Mapping::Polygon => plain(unless_null(of, &self.points(&format!("poly_send({of})"), 4))),
            other => plain(unless_null(of, &leaf(other, of))),
        }
    }

    /// The points in the bytes of a send function that begin after `start` bytes.
    fn points(&mut self, bytes: &str, start: u32) -> String {
        let at = self.name();
        let part = |name, by: u32| (name, text(&hex(bytes, &format!("{} + 16 * {at}", start + by), 8)));
        let point = object([part("x", 0), part("y", 8)].into_iter());
        let count = format!("(length({bytes}) - {start}) / 16 - 1");
        list_of(&format!("SELECT jsonb_agg({point} ORDER BY {at}) FROM generate_series(0, {count}) AS {at}"))
    }

    fn range(&mut self, of: &str, bound: &Mapping) -> Oracle {
        let lower = self.ask(bound, &format!("(lower({of}))"), false);
        let upper = self.ask(bound, &format!("(upper({of}))"), false);
        let exception = any([lower.exception.as_str(), upper.exception.as_str()].into_iter());
        let flag = |function: &str| text(&format!("CASE WHEN {function}({of}) THEN 't' ELSE 'f' END"));
        let pairs = [
            ("lower", lower.value),
            ("upper", upper.value),
            ("lower_inc", flag("lower_inc")),
            ("upper_inc", flag("upper_inc")),
            ("empty", flag("isempty")),
        ];
        Oracle { value: unless_null(of, &object(pairs.into_iter())), exception }
    }

    fn list(&mut self, of: &str, dimensions: u32, lower_bound: i32, element: &Mapping) -> Oracle {
        let names: Vec<String> = (0..dimensions).map(|_| self.name()).collect();
        let subscripts: String = names.iter().map(|name| format!("[{name}]")).collect();
        let inner = self.ask(element, &format!("(({of}){subscripts})"), false);
        let series = |at: usize| {
            let (name, dimension) = (&names[at], at + 1);
            let last = format!("array_upper({of}, {dimension})");
            format!("generate_series(array_lower({of}, {dimension}), {last}) AS {name}")
        };
        let mut value = inner.value;
        for at in (0..names.len()).rev() {
            let name = &names[at];
            value = list_of(&format!("SELECT jsonb_agg({value} ORDER BY {name}) FROM {}", series(at)));
        }
        let all: Vec<String> = (0..names.len()).map(series).collect();
        let shapes: Vec<String> = (1..=dimensions)
            .map(|at| format!("coalesce(array_lower({of}, {at}), {lower_bound}) <> {lower_bound}"))
            .collect();
        // An array of another shape is an exception before anybody looks into it.
        let exception = format!(
            "CASE WHEN coalesce(array_ndims({of}), {dimensions}) <> {dimensions} OR {} THEN true \
             ELSE EXISTS (SELECT FROM {} WHERE {}) END",
            shapes.join(" OR "),
            all.join(", "),
            inner.exception
        );
        Oracle { value: unless_null(of, &value), exception }
    }
}

fn plain(value: String) -> Oracle {
    Oracle { value, exception: NEVER.to_owned() }
}

fn any<'a>(conditions: impl Iterator<Item = &'a str>) -> String {
    let some: Vec<&str> = conditions.filter(|condition| *condition != NEVER).collect();
    if some.is_empty() { NEVER.to_owned() } else { format!("({})", some.join(" OR ")) }
}

fn text(sql: &str) -> String {
    format!("to_jsonb(({sql})::text)")
}

/// A row of NULLs is not NULL.
fn unless_null(of: &str, value: &str) -> String {
    format!("CASE WHEN {of} IS NOT DISTINCT FROM NULL THEN NULL ELSE {value} END")
}

fn list_of(select: &str) -> String {
    format!("coalesce(({select}), '[]'::jsonb)")
}

fn object<'a>(pairs: impl Iterator<Item = (&'a str, String)>) -> String {
    let parts: Vec<String> =
        pairs.map(|(name, value)| format!("'{}', {value}", name.replace('\'', "''"))).collect();
    format!("jsonb_build_object({})", parts.join(", "))
}

fn hex(bytes: &str, start: &str, length: u32) -> String {
    format!("encode(substring({bytes} FROM {start} + 1 FOR {length}), 'hex')")
}

fn decimal(of: &str, (precision, scale): (u8, u8), dscale: Option<u16>) -> Oracle {
    let nested = dscale.map_or(String::new(), |dscale| format!(" OR scale({of}) <> {dscale}"));
    let exception = format!(
        "coalesce({of}::text IN ('NaN', 'Infinity', '-Infinity') OR round({of}, {scale}) <> {of} \
         OR abs({of}) >= '1e{}'::numeric{nested}, false)",
        precision - scale
    );
    Oracle { value: unless_null(of, &text(&format!("round({of}, {scale})"))), exception }
}

fn timestamp(of: &str, send: &str) -> Oracle {
    // Microseconds since 2000; numeric, because what is looked for lies beyond 64 bits. extract() is not exact out there.
    let wire = format!("('x' || encode({send}({of}), 'hex'))::bit(64)::bigint::numeric");
    let micros = format!("({wire} + 946684800000000)");
    let value = format!("CASE WHEN isfinite({of}) THEN {micros}::text ELSE {of}::text END");
    // 2^63 - 1 is infinity, and -2^63 is what readers crash on.
    let exception = format!(
        "coalesce(CASE WHEN isfinite({of}) THEN abs({micros}) >= 9223372036854775807 ELSE false END, false)"
    );
    Oracle { value: unless_null(of, &text(&value)), exception }
}

/// The parts of a fixed record in what its send function gives: name, offset.
type Parts = &'static [(&'static str, u32)];

const POINT: Parts = &[("x", 0), ("y", 8)];
const LINE: Parts = &[("a", 0), ("b", 8), ("c", 16)];
const CIRCLE: Parts = &[("x", 0), ("y", 8), ("r", 16)];
const CORNERS: Parts = &[("x1", 0), ("y1", 8), ("x2", 16), ("y2", 24)];

fn record(mapping: &Mapping) -> Option<(&'static str, Parts)> {
    Some(match mapping {
        Mapping::Point => ("point_send", POINT),
        Mapping::Line => ("line_send", LINE),
        Mapping::Lseg => ("lseg_send", CORNERS),
        Mapping::Box => ("box_send", CORNERS),
        Mapping::Circle => ("circle_send", CIRCLE),
        _ => return None,
    })
}

fn leaf(mapping: &Mapping, of: &str) -> String {
    if let Some((send, parts)) = record(mapping) {
        let bytes = format!("{send}({of})");
        return object(parts.iter().map(|(name, at)| (*name, text(&hex(&bytes, &at.to_string(), 8)))));
    }
    match mapping {
        Mapping::Boolean => text(&format!("CASE WHEN {of} THEN 't' ELSE 'f' END")),
        Mapping::Float32 | Mapping::Float64 => text(&format!("encode(float8send({of}::float8), 'hex')")),
        Mapping::Money { fraction } => text(&format!("round({of}::numeric, {fraction})")),
        // From the byte itself: how it is printed changed with PostgreSQL 16.
        Mapping::Char => {
            let byte = format!("({of}::integer & 255)");
            let octal = format!("'\\' || ({byte} >> 6) || ({byte} >> 3 & 7) || ({byte} & 7)");
            let ascii = format!("CASE {byte} WHEN 0 THEN '' ELSE chr({byte}) END");
            text(&format!("CASE WHEN {byte} < 128 THEN {ascii} ELSE {octal} END"))
        }
        Mapping::Bpchar { length: Some(_) } => text(&format!("rtrim(format('%s', {of}), ' ')")),
        Mapping::Binary => text(&format!("encode({of}, 'hex')")),
        Mapping::Date => {
            let days = format!("({of} - DATE '1970-01-01')::text");
            text(&format!("CASE WHEN isfinite({of}) THEN {days} ELSE {of}::text END"))
        }
        Mapping::Time => text(&format!("trunc(extract(epoch FROM {of}) * 1000000)")),
        Mapping::Interval => {
            let bytes = format!("interval_send({of})");
            let number = |at: &str, length: u32, kind: &str| {
                let bits = length * 8;
                text(&format!("('x' || {})::bit({bits})::{kind}", hex(&bytes, at, length)))
            };
            let (months, days) = (number("12", 4, "integer"), number("8", 4, "integer"));
            object([("months", months), ("days", days), ("micros", number("0", 8, "bigint"))].into_iter())
        }
        // A `pg_lsn` prints its two halves; a reader sees the number.
        Mapping::UInt64 => {
            let printed = format!("format('%s', {of})");
            let number = format!("({printed}::pg_lsn - '0/0'::pg_lsn)::text");
            text(&format!("CASE WHEN {printed} LIKE '%/%' THEN {number} ELSE {printed} END"))
        }
        // Casts are found whatever schema the extension lies in.
        Mapping::Hstore => format!("({of}::jsonb)"),
        // Everything else is what the type's output function prints, which is what format() calls.
        _ => text(&format!("format('%s', {of})")),
    }
}

/// What the readers have to know of a column: see `tests/readers/read_pieces.py`.
pub(crate) fn kind(mapping: &Mapping) -> Value {
    if let Some((_, parts)) = record(mapping) {
        return fields(parts.iter().map(|(name, _)| (*name, json!({"kind": "float"}))));
    }
    let word = match mapping {
        Mapping::Boolean => "boolean",
        Mapping::Int16 | Mapping::Int32 | Mapping::Int64 | Mapping::UInt32 | Mapping::UInt64 => "integer",
        Mapping::Float32 | Mapping::Float64 => "float",
        Mapping::Decimal { scale, .. } | Mapping::Money { fraction: scale } => {
            return json!({"kind": "decimal", "scale": scale});
        }
        Mapping::Binary => "bytes",
        Mapping::Hstore => "map",
        Mapping::Uuid => "uuid",
        Mapping::Date => "date",
        Mapping::Timestamp => "timestamp",
        Mapping::TimestampTz => "timestamptz",
        Mapping::Time => "time",
        Mapping::Interval => {
            let integer = || json!({"kind": "integer"});
            return fields(["months", "days", "micros"].into_iter().map(|name| (name, integer())));
        }
        Mapping::Path => {
            let points = json!({"kind": "list", "element": kind(&Mapping::Point)});
            let closed = json!({"kind": "boolean"});
            return fields([("closed", closed), ("points", points)].into_iter());
        }
        Mapping::Polygon => return json!({"kind": "list", "element": kind(&Mapping::Point)}),
        Mapping::List { dimensions, element, .. } => {
            let list = |element: Value| json!({"kind": "list", "element": element});
            return (0..*dimensions).fold(kind(element), |inner, _| list(inner));
        }
        Mapping::Struct { fields: parts } => {
            return fields(parts.iter().map(|part| (part.name.as_str(), kind(&part.mapping))));
        }
        Mapping::Range { bound } => {
            let flags = ["lower_inc", "upper_inc", "empty"].map(|name| (name, json!({"kind": "boolean"})));
            let bounds = ["lower", "upper"].map(|name| (name, kind(bound)));
            return fields(bounds.into_iter().chain(flags));
        }
        Mapping::Multirange { bound } => {
            return json!({"kind": "list", "element": kind(&Mapping::Range { bound: bound.clone() })});
        }
        _ => "text",
    };
    json!({"kind": word})
}

fn fields<'a>(parts: impl Iterator<Item = (&'a str, Value)>) -> Value {
    let fields: Vec<Value> = parts
        .map(|(name, mut kind)| {
            kind["name"] = name.into();
            kind
        })
        .collect();
    json!({"kind": "struct", "fields": fields})
}
