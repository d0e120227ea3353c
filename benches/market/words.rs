//! What people and programs write into notes and tags.

use super::random::Random;

const WORDS: [&str; 160] = [
    "the",
    "order",
    "to",
    "client",
    "at",
    "price",
    "and",
    "filled",
    "of",
    "limit",
    "for",
    "cancelled",
    "by",
    "desk",
    "in",
    "a",
    "on",
    "is",
    "with",
    "venue",
    "partial",
    "fill",
    "market",
    "open",
    "close",
    "before",
    "after",
    "until",
    "quantity",
    "rest",
    "working",
    "we",
    "please",
    "confirm",
    "not",
    "was",
    "trader",
    "account",
    "per",
    "phone",
    "call",
    "auction",
    "benchmark",
    "arrival",
    "slice",
    "hold",
    "release",
    "urgent",
    "risk",
    "check",
    "passed",
    "failed",
    "retry",
    "late",
    "early",
    "hedge",
    "against",
    "position",
    "net",
    "long",
    "short",
    "cover",
    "spread",
    "wide",
    "thin",
    "book",
    "liquidity",
    "dark",
    "block",
    "cross",
    "broker",
    "instruction",
    "changed",
    "from",
    "discretion",
    "minimum",
    "maximum",
    "size",
    "show",
    "hidden",
    "iceberg",
    "pegged",
    "midpoint",
    "stop",
    "trigger",
    "reached",
    "gap",
    "halted",
    "resumed",
    "news",
    "earnings",
    "dividend",
    "split",
    "adjusted",
    "settlement",
    "fail",
    "borrow",
    "located",
    "recalled",
    "margin",
    "approved",
    "rejected",
    "duplicate",
    "replaced",
    "amended",
    "expired",
    "day",
    "week",
    "month",
    "end",
    "target",
    "average",
    "volume",
    "participation",
    "rate",
    "percent",
    "basis",
    "points",
    "tick",
    "lot",
    "odd",
    "round",
    "allocation",
    "pro-rata",
    "manual",
    "override",
    "see",
    "ticket",
    "mail",
    "attached",
    "as",
    "agreed",
    "Müller",
    "García",
    "Zürich",
    "naïve",
    "crédit",
    "€",
    "follow-up",
    "compliance",
    "review",
    "flagged",
    "cleared",
    "OK",
    "n/a",
    "TBC",
    "asap",
    "EOD",
    "VWAP",
    "TWAP",
    "POV",
    "IOC",
    "GTC",
    "GTD",
    "FOK",
    "RFQ",
    "swap",
    "roll",
    "expiry",
    "strike",
];

const KEYS: [&str; 16] = [
    "source",
    "strategy",
    "desk",
    "algo",
    "urgency",
    "client",
    "ref",
    "priority",
    "parent",
    "session",
    "latency_us",
    "retries",
    "tif",
    "book",
    "notes",
    "origin",
];

/// A word, common ones more often.
pub(crate) fn word(random: &mut Random) -> &'static str {
    let rank = random.below(160).min(random.below(160)).min(random.below(160));
    WORDS[rank as usize]
}

/// Words with some numbers and punctuation between them.
pub(crate) fn sentence(random: &mut Random, words: u64) -> String {
    let mut text = String::new();
    for at in 0..words {
        if at > 0 {
            text.push_str(random.of_these(&[" ", " ", " ", " ", " ", " ", " ", ", ", ". ", "; ", "\n"]));
        }
        if random.permille(80) {
            text.push_str(&random.below(100_000).to_string());
        } else {
            text.push_str(word(random));
        }
    }
    text
}

/// A JSON object of up to `most` keys, its values texts, numbers, booleans and lists.
pub(crate) fn object(random: &mut Random, most: u64) -> String {
    let mut text = String::from("{");
    let first = random.below(16);
    for at in 0..random.below(most + 1) {
        if at > 0 {
            text.push_str(", ");
        }
        text.push_str(&format!("\"{}\": ", KEYS[((first + at) % 16) as usize]));
        match random.below(6) {
            0 => text.push_str(&random.below(1_000_000).to_string()),
            1 => text.push_str(random.of_these(&["true", "false", "null"])),
            2 => text.push_str(&format!("{}.{:02}", random.below(1000), random.below(100))),
            3 => text.push_str(&format!("[\"{}\", {}]", word(random), random.below(100))),
            _ => text.push_str(&format!("\"{}\"", word(random))),
        }
    }
    text.push('}');
    text
}
