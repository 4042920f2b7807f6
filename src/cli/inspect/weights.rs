//! The parameters in a file of weights.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use gustfront::nn::{Number, Numbers, Statistics, WeightFile};
use serde_json::json;

/// Whether a file is one of weights, by its name or, where a link or a cache has given it another, by how it begins.
pub(super) fn is_one(file: &str) -> bool {
    file.ends_with(".safetensors") || begin(file).is_ok_and(|begin| WeightFile::is_one(&begin))
}

fn begin(file: &str) -> io::Result<Vec<u8>> {
    /// The length of a header, and its first letter.
    const BYTES: u64 = 9;
    let mut begin = Vec::new();
    File::open(file)?.take(BYTES).read_to_end(&mut begin)?;
    Ok(begin)
}

/// Prints every tensor with its statistics, as a table or as one JSON object a line.
pub(super) fn print(file: &str, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let weights = WeightFile::open(Path::new(file))?;
    let tensors = weights.statistics()?;
    if json {
        for tensor in &tensors {
            writeln!(out, "{}", line(file, tensor))?;
        }
        return Ok(());
    }
    let numbers: usize = tensors.iter().map(|t| t.count).sum();
    writeln!(out, "{file}: tensors: {}, numbers: {numbers}", tensors.len())?;
    for (key, note) in weights.notes() {
        writeln!(out, "{}: {}", printable(&key), printable(&note))?;
    }
    let titles = ["name", "dtype", "shape", "count", "NaN", "infinite", "mean", "deviation", "min", "max"];
    let mut rows = vec![titles.map(String::from).to_vec()];
    rows.extend(tensors.iter().map(row));
    Ok(super::table(&rows, out)?)
}

fn row(tensor: &Statistics) -> Vec<String> {
    let number = |value: f64| if value.is_nan() { "-".to_string() } else { format!("{value:.4e}") };
    let told = |of: fn(&Numbers) -> f64| tensor.numbers.as_ref().map_or("-".to_string(), |n| number(of(n)));
    let counted = |of: fn(&Numbers) -> usize| tensor.numbers.as_ref().map_or("-".into(), |n| of(n).to_string());
    let end = |of: fn(&Numbers) -> Option<Number>| match tensor.numbers.as_ref().and_then(of) {
        Some(Number::Whole(whole)) => whole.to_string(),
        Some(Number::Real(real)) => number(real),
        None => "-".into(),
    };
    let sizes: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
    vec![
        printable(&tensor.name),
        tensor.dtype.clone(),
        if sizes.is_empty() { "one number".into() } else { sizes.join("×") },
        tensor.count.to_string(),
        counted(|n| n.missing),
        counted(|n| n.infinite),
        told(|n| n.mean),
        told(|n| n.deviation),
        end(|n| n.least),
        end(|n| n.greatest),
    ]
}

/// Text of a file in which what would move the cursor, or turn what follows around, is written out.
fn printable(text: &str) -> String {
    let one = |c: char| if matches!(c, '"' | '\'' | '\\') { c.to_string() } else { c.escape_debug().to_string() };
    text.chars().map(one).collect()
}

fn line(file: &str, tensor: &Statistics) -> serde_json::Value {
    let told = |of: fn(&Numbers) -> f64| tensor.numbers.as_ref().map(of).filter(|v| v.is_finite());
    let end = |of: fn(&Numbers) -> Option<Number>| tensor.numbers.as_ref().and_then(of).map(plain);
    json!({
        "file": file,
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": tensor.shape,
        "count": tensor.count,
        "nan": tensor.numbers.map(|n| n.missing),
        "infinite": tensor.numbers.map(|n| n.infinite),
        "mean": told(|n| n.mean),
        "deviation": told(|n| n.deviation),
        "min": end(|n| n.least),
        "max": end(|n| n.greatest),
    })
}

/// A number with every digit; no file holds whole ones of more than 64 bits.
fn plain(number: Number) -> serde_json::Value {
    match number {
        Number::Whole(whole) => i64::try_from(whole).map_or_else(|_| json!(whole as u64), |small| json!(small)),
        Number::Real(real) => json!(real),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of one tensor whose name has a control character, and one that is not read.
    fn file(folder: &Path) -> String {
        let header = concat!(
            r#"{"__metadata__":{"note":"two\nlines"},"#,
            r#""a\u001b[31m":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]},"#,
            r#""é":{"dtype":"F8_E5M2","shape":[1,2],"data_offsets":[2,4]}}"#
        );
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[1, 0, 7, 7]].concat();
        let path = folder.join("model");
        std::fs::write(&path, bytes).expect("a file");
        path.to_str().expect("a path").to_owned()
    }

    #[test]
    fn names_are_written_out_and_every_kind_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, mut out) = (file(folder.path()), Vec::new());
        print(&file, false, &mut out).expect("a table");
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains(r"note: two\nlines") && !text.contains('\u{1b}'), "{text}");
        let rows: Vec<Vec<&str>> = text.lines().skip(3).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0][..7], [r"a\u{1b}[31m", "BOOL", "2", "2", "0", "0", "5.0000e-1"]);
        assert_eq!(rows[1][..7], ["é", "F8_E5M2", "1×2", "2", "-", "-", "-"]);
    }

    #[test]
    fn weights_are_known_by_their_name_or_how_they_begin() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = file(folder.path());
        let other = folder.path().join("other");
        std::fs::write(&other, b"GRIB....{").expect("a file");
        assert!(is_one(&file) && is_one("nowhere.safetensors"));
        assert!(!is_one(other.to_str().expect("a path")) && !is_one("nowhere"));
    }
}
