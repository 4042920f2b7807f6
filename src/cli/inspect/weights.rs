//! The parameters in a file of weights.

use std::io::Write;
use std::path::Path;

use gustfront::nn::{Statistics, WeightFile};
use serde_json::json;

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
        writeln!(out, "{key}: {note}")?;
    }
    let titles = ["name", "dtype", "shape", "count", "mean", "deviation", "min", "max"];
    let mut rows = vec![titles.map(String::from).to_vec()];
    rows.extend(tensors.iter().map(row));
    Ok(super::table(&rows, out)?)
}

fn row(tensor: &Statistics) -> Vec<String> {
    let number = |value: f64| if value.is_nan() { "-".to_string() } else { format!("{value:.4e}") };
    let sizes: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
    vec![
        tensor.name.clone(),
        tensor.dtype.clone(),
        if sizes.is_empty() { "one number".into() } else { sizes.join("×") },
        tensor.count.to_string(),
        number(tensor.mean),
        number(tensor.deviation),
        number(tensor.least),
        number(tensor.greatest),
    ]
}

fn line(file: &str, tensor: &Statistics) -> serde_json::Value {
    let number = |value: f64| Some(value).filter(|v| v.is_finite());
    json!({
        "file": file,
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": tensor.shape,
        "count": tensor.count,
        "mean": number(tensor.mean),
        "deviation": number(tensor.deviation),
        "min": number(tensor.least),
        "max": number(tensor.greatest),
    })
}
