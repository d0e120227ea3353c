//! What somebody can make who may write into a vault: manifests whose root fits whatever they say, and Parquet files whose
//! lengths lie or whose pages inflate to gigabytes, under digests that fit. None of it uses barkeep's writer.

use std::path::Path;

use barkeep::base::{Digest, RowsetDigest};
use barkeep::codec::rowset::RowHasher;
use barkeep::manifest::{SealedManifest, canonical};
use barkeep::store::Vault;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter};
use serde_json::Value;

/// The only manifest of a vault.
pub(crate) fn manifest_path(vault: &Vault) -> std::path::PathBuf {
    let id = vault.backups().unwrap()[0].clone();
    vault.root().join("backups").join(id.as_str()).join("manifest.json")
}

/// Rewrites a manifest's text and leaves its root as it was.
pub(crate) fn rewrite(vault: &Vault, change: impl FnOnce(String) -> String) {
    let path = manifest_path(vault);
    let text = std::fs::read_to_string(&path).unwrap();
    let changed = change(text.clone());
    assert_ne!(text, changed, "the mutilation must change something");
    std::fs::write(path, changed).unwrap();
}

/// Changes a manifest and gives it a root that fits, by the words of `docs/format.md` and without any check.
pub(crate) fn reseal(vault: &Vault, change: impl FnOnce(&mut Value)) {
    let path = manifest_path(vault);
    let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    let root = root(&value);
    value["root"] = Value::String(root.to_string());
    std::fs::write(path, canonical(&value).unwrap()).unwrap();
}

fn root(manifest: &Value) -> blake3::Hash {
    let part = |context: &str, part: &Value| blake3::derive_key(context, &canonical(part).unwrap());
    let mut rest = manifest.as_object().unwrap().clone();
    rest.retain(|key, _| !["head", "body", "root"].contains(&key.as_str()));
    let mut hasher = blake3::Hasher::new_derive_key("barkeep manifest root v1");
    hasher.update(&part("barkeep manifest head v1", &manifest["head"]));
    hasher.update(&part("barkeep manifest body v1", &manifest["body"]));
    hasher.update(&canonical(&Value::Object(rest)).unwrap());
    hasher.finalize()
}

/// Replaces the one piece of a table and seals the manifest for it: length, digest, `copy_bytes`, and the rowset digest
/// where one is given.
pub(crate) fn replace_piece(
    vault: &Vault,
    folder: &str,
    file: &[u8],
    copy_bytes: u64,
    rowset: Option<RowsetDigest>,
) {
    let path = only_path(vault, folder);
    std::fs::write(vault.place(&path), file).unwrap();
    reseal(vault, |manifest| {
        let pieces = manifest["head"]["pieces"].as_array_mut().unwrap();
        let at = pieces.iter().position(|piece| piece["path"] == path).unwrap();
        pieces[at]["bytes"] = file.len().to_string().into();
        pieces[at]["blake3"] = Digest::of(file).to_string().into();
        pieces[at]["copy_bytes"] = copy_bytes.to_string().into();
        let Some(rowset) = rowset else { return };
        let rowset = serde_json::to_value(rowset).unwrap();
        pieces[at]["rowset"] = rowset.clone();
        for table in manifest["body"]["tables"].as_array_mut().unwrap() {
            if table["units"][0]["pieces"][0] == at {
                table["rowset"] = rowset.clone();
                table["units"][0]["rowset"] = rowset.clone();
            }
        }
    });
}

/// Replaces the sidecar of a table's piece and seals the manifest for it.
pub(crate) fn replace_sidecar(vault: &Vault, folder: &str, file: &[u8]) {
    let path = sidecar_path(vault, folder);
    std::fs::write(vault.place(&path), file).unwrap();
    reseal(vault, |manifest| {
        for piece in manifest["head"]["pieces"].as_array_mut().unwrap() {
            if piece["exceptions"]["path"] == path {
                piece["exceptions"]["bytes"] = file.len().to_string().into();
                piece["exceptions"]["blake3"] = Digest::of(file).to_string().into();
            }
        }
    });
}

fn opened(vault: &Vault) -> SealedManifest {
    SealedManifest::open(&std::fs::read(manifest_path(vault)).unwrap()).unwrap()
}

/// The path of a table's only piece.
pub(crate) fn only_path(vault: &Vault, folder: &str) -> String {
    let wanted = format!("/tables/{folder}/");
    let pieces = opened(vault).manifest.head.pieces;
    let paths: Vec<String> =
        pieces.into_iter().map(|piece| piece.path).filter(|path| path.contains(&wanted)).collect();
    assert_eq!(paths.len(), 1, "{folder}");
    paths[0].clone()
}

/// The path of its sidecar.
pub(crate) fn sidecar_path(vault: &Vault, folder: &str) -> String {
    let piece = only_path(vault, folder);
    let pieces = opened(vault).manifest.head.pieces;
    let piece = pieces.into_iter().find(|found| found.path == piece).unwrap();
    piece.exceptions.expect("the table has exceptions").path
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A Thrift `i32` field one after the last one.
fn integer(value: i64, out: &mut Vec<u8>) {
    out.push(0x15);
    varint((value << 1) as u64, out);
}

/// The header of a PLAIN data page.
pub(crate) fn page_header(uncompressed: u64, compressed: usize, values: u64) -> Vec<u8> {
    let mut header = Vec::new();
    [0, uncompressed as i64, compressed as i64].into_iter().for_each(|value| integer(value, &mut header));
    header.push(0x2c);
    [values as i64, 0, 3, 3].into_iter().for_each(|value| integer(value, &mut header));
    header.extend_from_slice(&[0, 0]);
    header
}

/// A zstd frame that inflates to `start` and then `zeros` zeros: four bytes for every 128 KiB.
pub(crate) fn zstd_zeros(start: &[u8], zeros: u64) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
    frame.extend_from_slice(&(start.len() as u64 + zeros).to_le_bytes());
    let block = |last: bool, kind: u32, size: usize| {
        (u32::from(last) | kind << 1 | (size as u32) << 3).to_le_bytes()[..3].to_vec()
    };
    frame.extend(block(zeros == 0, 0, start.len()));
    frame.extend_from_slice(start);
    let mut left = zeros;
    while left > 0 {
        let size = left.min(128 << 10);
        left -= size;
        frame.extend(block(left == 0, 1, size as usize));
        frame.push(0);
    }
    frame
}

/// What stands before the zeros of a page with one `bytea` (or sidecar's `raw`): its level, and its length.
pub(crate) fn one_value(zeros: u64) -> Vec<u8> {
    // Levels have their own length, then a run of one 1.
    [&[2, 0, 0, 0, 2, 1][..], &(zeros as u32).to_le_bytes()].concat()
}

/// A column chunk to put in a file's place of one.
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    /// What the footer says of it.
    pub(crate) uncompressed: u64,
    pub(crate) values: u64,
}

/// The file with another column chunk, and a footer that fits.
pub(crate) fn with_chunk(file: &Path, column: usize, chunk: &Chunk) -> Vec<u8> {
    let bytes = bytes::Bytes::from(std::fs::read(file).unwrap());
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
    assert_eq!(metadata.num_row_groups(), 1, "forged files have one row group");
    let mut forged = b"PAR1".to_vec();
    let mut columns = Vec::new();
    for (at, old) in metadata.row_group(0).columns().iter().enumerate() {
        let (start, length) = old.byte_range();
        let place = forged.len() as i64;
        let builder = old.clone().into_builder();
        if at == column {
            forged.extend_from_slice(&chunk.bytes);
            let builder = builder
                .set_total_compressed_size(chunk.bytes.len() as i64)
                .set_total_uncompressed_size(chunk.uncompressed as i64)
                .set_num_values(chunk.values as i64)
                .set_dictionary_page_offset(None)
                .set_data_page_offset(place);
            columns.push(builder.build().unwrap());
        } else {
            forged.extend_from_slice(&bytes[start as usize..(start + length) as usize]);
            let moved = place - start as i64;
            let dictionary = old.dictionary_page_offset().map(|offset| offset + moved);
            let builder = builder
                .set_data_page_offset(old.data_page_offset() + moved)
                .set_dictionary_page_offset(dictionary);
            columns.push(builder.build().unwrap());
        }
    }
    let group = metadata.row_group(0).clone().into_builder().set_column_metadata(columns).build().unwrap();
    footer(&mut forged, metadata.into_builder().set_row_groups(vec![group]).build());
    forged
}

fn footer(file: &mut Vec<u8>, metadata: ParquetMetaData) {
    let mut footer = Vec::new();
    ParquetMetaDataWriter::new(&mut footer, &metadata).finish().unwrap();
    file.extend_from_slice(&footer);
}

/// The rowset digest of the one row `(zeros)` of a table with one `bytea`, and the length of its tuple.
pub(crate) fn row_of_zeros(key: &[u8; 32], zeros: u64) -> (RowsetDigest, u64) {
    let mut tuple = vec![0, 1];
    tuple.extend_from_slice(&(zeros as u32).to_be_bytes());
    tuple.resize(tuple.len() + zeros as usize, 0);
    let mut digest = RowsetDigest::default();
    digest.add_row(&RowHasher::new(key).hash(&tuple));
    (digest, tuple.len() as u64)
}

/// A file whose footer says that its schema has two thousand million columns.
pub(crate) fn endless_footer() -> Vec<u8> {
    let mut file = b"PAR1".to_vec();
    // version 1, then a list of structs with 2^31 - 1 elements.
    let footer = [0x15, 2, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0, 0, 0, 0, 0];
    file.extend_from_slice(&footer);
    file.extend_from_slice(&(footer.len() as u32).to_le_bytes());
    file.extend_from_slice(b"PAR1");
    file
}
