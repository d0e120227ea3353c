//! From a [`Manifest`] to the bytes in the vault and back: canonical JSON, the root digest, and the checks on reading.
//!
//! The root is the blake3, under a derivation context of its own, of the digests of the canonical head and body. It covers
//! fields this version does not know, because it is computed from the JSON and not from the types.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::Manifest;
use crate::base::Digest;

/// The format this version writes and reads.
pub const FORMAT: &str = "barkeep-manifest/1";

/// Features this version knows. An unknown one in `required` means: hands off.
const KNOWN_FEATURES: &[&str] = &[TIMESCALE];

/// Tables of this backup lie in chunks: who does not know that would restore hypertables as plain tables, if at all.
pub const TIMESCALE: &str = "timescale";

/// The rowset digest that this version computes, and the only one it knows.
pub const ROWSET_ALG: &str = "rs1";

/// Longest manifest that is read: sizes that come out of a vault are bounded before anything is allocated.
pub const MAX_BYTES: u64 = 1 << 30;

/// Why a manifest is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or JSON that says a thing twice.
    #[error("it is not well-formed JSON: {0}")]
    Json(String),
    /// A format of another time.
    #[error("its format is {0:?}; this barkeep reads {FORMAT:?}")]
    Format(String),
    /// It needs a feature that is not known here.
    #[error("it requires the feature {0:?}, which this barkeep does not know")]
    Feature(String),
    /// The root does not fit the content.
    #[error("its root digest is {stored}, its content gives {computed}")]
    Root {
        /// What stands there.
        stored: String,
        /// What the content gives.
        computed: Digest,
    },
    /// JSON, but not a manifest.
    #[error("a field is missing or has the wrong form: {0}")]
    Shape(String),
    /// A path that leads out of the vault, or nowhere.
    #[error("the path {0:?} is not a plain path inside the vault")]
    Path(String),
    /// Counts or indexes that contradict each other.
    #[error("it contradicts itself: {0}")]
    Contradiction(String),
}

/// A manifest together with its root digest and the bytes to store.
#[derive(Debug, Clone, PartialEq)]
pub struct SealedManifest {
    /// The manifest.
    pub manifest: Manifest,
    /// Its root.
    pub root: Digest,
    /// Canonical JSON, root included.
    pub bytes: Vec<u8>,
}

impl SealedManifest {
    /// Computes root and bytes of a manifest about to be written; refuses one that contradicts itself.
    pub fn seal(manifest: Manifest) -> Result<Self, ManifestError> {
        super::consistency::check(&manifest)?;
        Self::spell(manifest)
    }

    fn spell(manifest: Manifest) -> Result<Self, ManifestError> {
        let parts = Parts::of_manifest(&manifest)?;
        let root = parts.root()?;
        let bytes = parts.bytes(root)?;
        Ok(Self { manifest, root, bytes })
    }

    /// Reads the bytes of a stored manifest and believes them only if everything fits.
    pub fn open(bytes: &[u8]) -> Result<Self, ManifestError> {
        match Self::open_as_spelt_here(bytes) {
            Some(sealed) => Ok(sealed),
            None => Self::open_as_json(bytes),
        }
    }

    /// A manifest with nothing in it that this version would not write, byte by byte: so it says nothing twice, has no unknown
    /// field, and its root is right. Any other is for [`Self::open_as_json`], whose tree of a document takes twenty times the
    /// document's memory (300 MiB for ten thousand tables).
    fn open_as_spelt_here(bytes: &[u8]) -> Option<Self> {
        let manifest: Manifest = serde_json::from_slice(bytes).ok()?;
        let known = manifest.format == FORMAT
            && manifest.required.iter().all(|feature| KNOWN_FEATURES.contains(&feature.as_str()))
            && manifest.head.rowset.alg == ROWSET_ALG
            && super::consistency::check(&manifest).is_ok();
        if !known {
            return None;
        }
        Self::spell(manifest).ok().filter(|sealed| sealed.bytes == bytes)
    }

    /// Any manifest of this format, or what is wrong with it.
    fn open_as_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        let value = strict_json(bytes)?;
        let format = value.get("format").and_then(Value::as_str).unwrap_or_default();
        if format != FORMAT {
            return Err(ManifestError::Format(format.to_owned()));
        }
        let stored = value.get("root").and_then(Value::as_str).unwrap_or_default().to_owned();
        let root = Parts::of(&value)?.root()?;
        if stored != root.to_string() {
            return Err(ManifestError::Root { stored, computed: root });
        }
        let features = value.get("required").and_then(Value::as_array).into_iter().flatten();
        for feature in features.map(|feature| feature.as_str().unwrap_or_default()) {
            if !KNOWN_FEATURES.contains(&feature) {
                return Err(ManifestError::Feature(feature.to_owned()));
            }
        }
        let manifest: Manifest =
            serde_json::from_value(value).map_err(|error| ManifestError::Shape(error.to_string()))?;
        if manifest.head.rowset.alg != ROWSET_ALG {
            return Err(ManifestError::Feature(format!("rowset {}", manifest.head.rowset.alg)));
        }
        super::consistency::check(&manifest)?;
        Ok(Self { manifest, root, bytes: bytes.to_vec() })
    }
}

/// RFC 8785: keys in order, one spelling for everything.
pub fn canonical(value: &impl Serialize) -> Result<Vec<u8>, ManifestError> {
    serde_json_canonicalizer::to_vec(value).map_err(|error| ManifestError::Json(error.to_string()))
}

/// The canonical JSON of a manifest's two large fields, each spelt once (of ten thousand tables that takes a second), and
/// what else it has, but for its root.
struct Parts {
    head: Vec<u8>,
    body: Vec<u8>,
    rest: Map<String, Value>,
}

impl Parts {
    fn of_manifest(manifest: &Manifest) -> Result<Self, ManifestError> {
        let Manifest { format, required, head, body } = manifest;
        let rest = [("format", Value::from(format.as_str())), ("required", Value::from(required.as_slice()))];
        let rest = rest.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        Ok(Self { head: canonical(head)?, body: canonical(body)?, rest })
    }

    fn of(value: &Value) -> Result<Self, ManifestError> {
        let Value::Object(fields) = value else {
            return Err(ManifestError::Shape("it is not an object".to_owned()));
        };
        let part = |name: &str| canonical(fields.get(name).unwrap_or(&Value::Null));
        let rest = fields.iter().filter(|(name, _)| !["head", "body", "root"].contains(&name.as_str()));
        let rest = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Self { head: part("head")?, body: part("body")?, rest })
    }

    /// The root of a manifest, whatever its `root` field says.
    fn root(&self) -> Result<Digest, ManifestError> {
        let mut hasher = blake3::Hasher::new_derive_key("barkeep manifest root v1");
        hasher.update(&tagged("barkeep manifest head v1", &self.head));
        hasher.update(&tagged("barkeep manifest body v1", &self.body));
        hasher.update(&canonical(&Value::Object(self.rest.clone()))?);
        Ok(hasher.finalize().into())
    }

    /// The whole manifest in canonical JSON. Its own fields' names are plain ASCII, so that their order is that of bytes.
    fn bytes(self, root: Digest) -> Result<Vec<u8>, ManifestError> {
        let mut fields: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for (name, value) in &self.rest {
            fields.insert(name, canonical(value)?);
        }
        let root = canonical(&Value::String(root.to_string()))?;
        fields.extend([("head", self.head), ("body", self.body), ("root", root)]);
        let mut bytes = Vec::with_capacity(fields.values().map(|field| field.len() + 16).sum());
        for (name, field) in fields {
            bytes.push(if bytes.is_empty() { b'{' } else { b',' });
            bytes.extend_from_slice(format!("\"{name}\":").as_bytes());
            bytes.extend(field);
        }
        bytes.push(b'}');
        Ok(bytes)
    }
}

fn tagged(context: &str, bytes: &[u8]) -> [u8; 32] {
    blake3::derive_key(context, bytes)
}

/// JSON without the leniency: an object that names a key twice is refused, because two readers would see two documents.
pub fn strict_json(bytes: &[u8]) -> Result<Value, ManifestError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let wrong = |error: serde_json::Error| ManifestError::Json(error.to_string());
    let value = Strict.deserialize(&mut deserializer).map_err(wrong)?;
    deserializer.end().map_err(wrong)?;
    Ok(value)
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Err(E::custom(format!("the number {value} is not whole; a manifest has none such")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = serde_json::Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(serde::de::Error::custom(format!("the key {key:?} stands there twice")));
            }
            let value = entries.next_value_seed(Strict)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_put_together_from_its_parts_is_canonical() {
        let value = serde_json::json!({
            "required": ["b", "a"], "head": { "z": 1, "a": { "y": "\u{1}\u{e000}\u{10000}", "b": null } }, "format": "f",
            "body": { "\u{10000}": 1, "\u{e000}": 2 }, "root": "old", "another": { "b": 1, "a": 2 },
        });
        let parts = Parts::of(&value).unwrap();
        let root = parts.root().unwrap();
        let bytes = parts.bytes(root).unwrap();
        let mut whole = value.clone();
        whole["root"] = root.to_string().into();
        assert_eq!(bytes, canonical(&whole).unwrap());
        // The root is no part of what it stands for; everything else is.
        assert_eq!(Parts::of(&whole).unwrap().root().unwrap(), root);
        for name in ["required", "head", "format", "body", "another"] {
            let mut other = whole.clone();
            other[name] = "other".into();
            assert_ne!(Parts::of(&other).unwrap().root().unwrap(), root, "{name}");
        }
    }

    #[test]
    fn both_ways_to_open_a_manifest_agree() {
        let bytes =
            include_bytes!("../../fixtures/vaults/format-1/backups/20261121T114656Z-qhas6ejz/manifest.json");
        let quick = SealedManifest::open_as_spelt_here(bytes).unwrap();
        assert_eq!(quick, SealedManifest::open_as_json(bytes).unwrap());
        // Whatever is spelt in another way is not for the quick one: more, twice, or with room in between.
        let text = std::str::from_utf8(bytes).unwrap();
        let spelt = [
            (text.replacen("{\"body\":{", "{\"body\":{\"later\":1,", 1), false),
            (text.replacen("\"head\":{", "\"head\":{},\"head\":{", 1), false),
            (text.replacen("\"format\":", "\"format\": ", 1), true),
        ];
        for (other, sound) in spelt {
            assert_ne!(other, text);
            assert_eq!(SealedManifest::open_as_spelt_here(other.as_bytes()), None);
            assert_eq!(SealedManifest::open_as_json(other.as_bytes()).is_ok(), sound);
            assert_eq!(SealedManifest::open(other.as_bytes()).is_ok(), sound);
        }
        let zero =
            text.replacen(&quick.root.to_string(), &Digest::from(blake3::Hash::from([0; 32])).to_string(), 1);
        assert_eq!(SealedManifest::open_as_spelt_here(zero.as_bytes()), None);
        assert!(matches!(SealedManifest::open(zero.as_bytes()), Err(ManifestError::Root { .. })));
    }
}
