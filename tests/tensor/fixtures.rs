//! Reads stored numbers: safetensors files, and the manifest of PyTorch's results.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gustfront::tensor::cases::Array;
use gustfront::tensor::{Device, Shape, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;

/// Tensors by name.
pub(crate) struct Fixtures(BTreeMap<String, Array>);

impl Fixtures {
    /// A file of f32, i32 and i64 tensors.
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let tensors = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Fixtures(tensors.iter().map(|(name, tensor)| (name.to_owned(), array(&tensor))).collect())
    }

    /// A file of `tests/reference`.
    pub(crate) fn own(name: &str) -> Self {
        Fixtures::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name))
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Array> {
        self.0.get(name)
    }

    pub(crate) fn array(&self, name: &str) -> &Array {
        self.find(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    pub(crate) fn tensor(&self, device: &Device, name: &str) -> Tensor {
        let array = self.array(name);
        let values: Vec<f32> = array.values.iter().map(|x| *x as f32).collect();
        Tensor::new(device, shape(&array.shape), &values).expect("a tensor")
    }

    pub(crate) fn indices(&self, device: &Device, name: &str) -> Tensor {
        let array = self.array(name);
        let values: Vec<i32> = array.values.iter().map(|x| *x as i32).collect();
        Tensor::indices(device, shape(&array.shape), &values).expect("indices")
    }
}

/// Writes a folder as [`pytorch_in`] reads it.
pub(crate) fn write_pytorch(folder: &Path, tensors: &BTreeMap<String, Array>, cases: &[Value]) {
    let bytes = |array: &Array| array.values.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect::<Vec<u8>>();
    let raw: Vec<(&String, &Array, Vec<u8>)> = tensors.iter().map(|(name, x)| (name, x, bytes(x))).collect();
    let view = |x: &Array, raw| TensorView::new(Dtype::F32, x.shape.clone(), raw).expect("a tensor");
    let views = raw.iter().map(|(name, x, raw)| (*name, view(x, raw)));
    let file = safetensors::serialize(views, None).expect("a file of tensors");
    fs::write(folder.join("ops_dev.safetensors"), file).expect("a file");
    let manifest = serde_json::json!({ "cases": cases }).to_string();
    fs::write(folder.join("ops_dev.json"), manifest).expect("a manifest");
}

fn shape(sizes: &[usize]) -> Shape {
    match *sizes {
        [] => Shape::from([]),
        [a] => Shape::from([a]),
        [a, b] => Shape::from([a, b]),
        [a, b, c] => Shape::from([a, b, c]),
        [a, b, c, d] => Shape::from([a, b, c, d]),
        [a, b, c, d, e] => Shape::from([a, b, c, d, e]),
        _ => panic!("{} dimensions", sizes.len()),
    }
}

fn array(tensor: &TensorView<'_>) -> Array {
    let (words, _) = tensor.data().as_chunks::<4>();
    let values = match tensor.dtype() {
        Dtype::F32 => words.iter().map(|word| f64::from(f32::from_le_bytes(*word))).collect(),
        Dtype::I32 => words.iter().map(|word| f64::from(i32::from_le_bytes(*word))).collect(),
        Dtype::I64 => tensor.data().as_chunks::<8>().0.iter().map(|word| i64::from_le_bytes(*word) as f64).collect(),
        other => panic!("tensors of {other:?}"),
    };
    Array { shape: tensor.shape().to_vec(), values }
}

/// Files of stored results, of which a folder that is named holds one at least.
const STORED: [&str; 2] = ["ops_dev.json", "ddpm_ultra_minimal_dev.safetensors"];

/// A file of stored results; `None`, with the reason printed, where it is not on this machine. Fails where the folder was
/// named and holds no stored results.
pub(crate) fn stored(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("GUSTFRONT_REFERENCE").map(PathBuf::from);
    stored_in(folder.as_deref(), name)
}

fn stored_in(named: Option<&Path>, name: &str) -> Option<PathBuf> {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference");
    let (folder, path) = (named.unwrap_or(&usual), named.unwrap_or(&usual).join(name));
    if path.exists() {
        return Some(path);
    }
    let known = named.is_none() || STORED.iter().any(|name| folder.join(name).exists());
    assert!(known, "GUSTFRONT_REFERENCE names {}: expected a folder with one of {STORED:?}", folder.display());
    println!("skipped: {} is not here", path.display());
    None
}

#[test]
fn a_named_folder_must_hold_something_to_compare() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(std::panic::catch_unwind(|| stored_in(Some(folder.path()), "ops_dev.json")).is_err());
    fs::write(folder.path().join("ops_dev.json"), "{}").expect("a file");
    assert_eq!(stored_in(Some(folder.path()), "ops_dev.json"), Some(folder.path().join("ops_dev.json")));
    assert_eq!(stored_in(Some(folder.path()), STORED[1]), None);
    assert_eq!(stored_in(None, "no such file"), None);
}

/// PyTorch's results and their manifest; `None`, with the reason printed, where they are not on this machine.
pub(crate) fn pytorch() -> Option<(Fixtures, Vec<Value>)> {
    Some(pytorch_in(stored("ops_dev.json")?.parent()?))
}

/// The same from a folder.
pub(crate) fn pytorch_in(folder: &Path) -> (Fixtures, Vec<Value>) {
    let text = fs::read_to_string(folder.join("ops_dev.json")).expect("a manifest");
    // Python writes numbers that JSON has no word for.
    let text = ["-Infinity", "Infinity", "NaN"].into_iter().fold(text, |text, word| text.replace(word, "null"));
    let manifest: Value = serde_json::from_str(&text).expect("a manifest");
    let cases = manifest["cases"].as_array().expect("cases").clone();
    (Fixtures::read(&folder.join("ops_dev.safetensors")), cases)
}
