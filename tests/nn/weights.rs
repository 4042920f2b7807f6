//! Files of weights: there and back, what PyTorch writes, what is refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gustfront::nn::{BatchNorm2d, Builder, Linear, NnError, Number, Numbers, Parameters, Start, WeightFile};
use gustfront::tensor::{Cpu, DType, Device};

fn network(device: &Device, seed: u64) -> Parameters {
    let builder = Builder::new(device, seed);
    let _ = Linear::new(&builder.at("first"), 3, 4).expect("a layer");
    let _ = BatchNorm2d::new(&builder.at("norm"), 4).expect("a layer");
    builder.parameters()
}

fn values(parameters: &Parameters) -> Vec<(String, Vec<f32>)> {
    let value = |(name, entry): (&String, &gustfront::nn::Entry)| {
        let held = entry.parameter.get();
        let whole = || held.to_indices().expect("indices").into_iter().map(|x| x as f32).collect();
        (name.clone(), if held.dtype() == DType::I32 { whole() } else { held.to_vec().expect("values") })
    };
    parameters.iter().map(value).collect()
}

fn notes() -> BTreeMap<String, String> {
    ["seed", "model", "épreuve"].map(|key| (key.to_owned(), format!("{key} \"note\""))).into()
}

/// A file of tensors of raw bytes, as anybody may write one.
fn file(path: &Path, tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> PathBuf {
    let mut begin = 0;
    let about = tensors.iter().map(|(name, dtype, shape, bytes)| {
        begin += bytes.len();
        let offsets = format!("[{}, {begin}]", begin - bytes.len());
        format!(r#""{name}": {{"dtype": "{dtype}", "shape": {shape:?}, "data_offsets": {offsets}}}"#)
    });
    let header = format!("{{{}}}", about.collect::<Vec<_>>().join(", "));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    tensors.iter().for_each(|(.., raw)| bytes.extend(raw));
    fs::write(path, bytes).expect("a file");
    path.to_owned()
}

fn halves(values: &[f32], dtype: DType) -> Vec<u8> {
    let bits = |x: &f32| match dtype {
        DType::Bf16 => half::bf16::from_f32(*x).to_le_bytes(),
        _ => half::f16::from_f32(*x).to_le_bytes(),
    };
    values.iter().flat_map(bits).collect()
}

#[test]
fn what_is_saved_is_loaded() {
    let (device, folder) = (Cpu::device(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("network.safetensors");
    let (one, other) = (network(&device, 1), network(&device, 2));
    assert_ne!(values(&one), values(&other));
    one.save(&path, &notes()).expect("a file");
    assert_eq!(other.load(&path).expect("weights"), notes());
    assert_eq!(values(&one), values(&other));
    let bytes = fs::read(&path).expect("bytes");
    other.save(&path, &notes()).expect("a file");
    assert_eq!(fs::read(&path).expect("bytes"), bytes);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left");
}

#[test]
fn every_difference_is_named() {
    let (device, folder) = (Cpu::device(), tempfile::tempdir().expect("a folder"));
    let parameters = network(&device, 1);
    let before = values(&parameters);
    let zeros = |n: usize| vec![0; 4 * n];
    let tensors: [(&str, &str, &[usize], Vec<u8>); 3] = [
        ("first.weight", "F32", &[3, 4], zeros(12)),
        ("first.bias", "F32", &[4], zeros(4)),
        ("second.bias", "F32", &[4], zeros(4)),
    ];
    let path = file(&folder.path().join("other.safetensors"), &tensors);
    let error = parameters.load(&path).expect_err("another network");
    let NnError::Mismatch { missing, surplus, misshapen, .. } = &error else { panic!("{error}") };
    let absent = ["bias", "num_batches_tracked", "running_mean", "running_var", "weight"];
    assert_eq!(*missing, absent.map(|name| format!("norm.{name}")));
    assert_eq!(*surplus, ["second.bias"]);
    assert_eq!(*misshapen, ["first.weight [3, 4] for [4, 3]"]);
    assert!(error.to_string().contains("5 missing: norm.bias, "), "{error}");
    assert_eq!(values(&parameters), before, "nothing is changed");
}

#[test]
fn narrow_and_wide_numbers_are_read() {
    let (device, folder) = (Cpu::device(), tempfile::tempdir().expect("a folder"));
    let builder = Builder::new(&device, 1);
    let _ = Linear::new(&builder.at("a"), 2, 1).expect("a layer");
    let _ = Linear::new(&builder.at("b"), 2, 1).expect("a layer");
    let tensors: [(&str, &str, &[usize], Vec<u8>); 4] = [
        ("model.a.weight", "BF16", &[1, 2], halves(&[1.5, -3.0], DType::Bf16)),
        ("model.a.bias", "F16", &[1], halves(&[0.1], DType::F32)),
        ("model.b.weight", "F64", &[1, 2], [0.1f64, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect()),
        ("model.b.bias", "F32", &[1], 7.0f32.to_le_bytes().to_vec()),
    ];
    let path = file(&folder.path().join("narrow.safetensors"), &tensors);
    let file = WeightFile::open(&path).expect("a file");
    builder.parameters().load_from(&file, "model.").expect("weights");
    let found: Vec<f32> = values(&builder.parameters()).into_iter().flat_map(|(_, values)| values).collect();
    assert_eq!(found, [half::f16::from_f32(0.1).to_f32(), 1.5, -3.0, 7.0, 0.1, 2.0]);
    let table = file.statistics().expect("statistics");
    assert_eq!(table.iter().map(|row| row.dtype.as_str()).collect::<Vec<_>>(), ["F16", "BF16", "F32", "F64"]);
    let weight = &table[1];
    assert_eq!((weight.name.as_str(), weight.count, weight.shape.as_slice()), ("model.a.weight", 2, &[1, 2][..]));
    let numbers = Numbers {
        missing: 0,
        infinite: 0,
        mean: -0.75,
        deviation: 2.25,
        least: Some(Number::Real(-3.0)),
        greatest: Some(Number::Real(1.5)),
    };
    assert_eq!(weight.numbers, Some(numbers));
}

/// Kinds that networks have no use for are told too: their numbers, or that they are not read. Whole numbers keep every
/// digit, NaN and infinities are counted, and no sum is too great.
#[test]
fn statistics_are_of_every_kind() {
    let folder = tempfile::tempdir().expect("a folder");
    let odd = [1.0, f32::NAN, 3.0, f32::NAN, f32::INFINITY].into_iter().flat_map(f32::to_le_bytes).collect();
    let wide = |values: &[f64]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let many: Vec<f64> = (0..200_001).map(|at| if at % 2 == 0 { 3.0 } else { -1.0 }).collect();
    let exact = (1_i64 << 53) + 1;
    let tensors: [(&str, &str, &[usize], Vec<u8>); 11] = [
        ("a", "BOOL", &[3], vec![1, 0, 1]),
        ("b", "I16", &[2], [-300i16, 300].into_iter().flat_map(i16::to_le_bytes).collect()),
        ("c", "U8", &[2, 1], vec![200, 100]),
        ("d", "F8_E4M3", &[2], vec![0, 1]),
        ("e", "F32", &[5], odd),
        ("f", "F32", &[0], vec![]),
        ("g", "I64", &[2], [exact, i64::MIN].into_iter().flat_map(i64::to_le_bytes).collect()),
        ("h", "U64", &[1], u64::MAX.to_le_bytes().to_vec()),
        ("i", "F64", &[2], wide(&[1e308, 1e308])),
        ("j", "F64", &[2], wide(&[1e308, -1e308])),
        ("k", "F64", &[200_001], wide(&many)),
    ];
    let file = WeightFile::open(&file(&folder.path().join("kinds"), &tensors)).expect("a file");
    let table = file.statistics().expect("numbers");
    let told = |row: usize| table[row].numbers.expect("numbers");
    let ends = |row: usize| (told(row).least, told(row).greatest);
    let whole = |least: i128, greatest: i128| (Some(Number::Whole(least)), Some(Number::Whole(greatest)));
    assert_eq!((told(0).mean, ends(0)), (2.0 / 3.0, whole(0, 1)));
    assert_eq!((told(1).mean, ends(1)), (0.0, whole(-300, 300)));
    assert_eq!((told(2).mean, ends(2)), (150.0, whole(100, 200)));
    assert_eq!((table[3].numbers, table[3].count, table[3].dtype.as_str()), (None, 2, "F8_E4M3"));
    assert_eq!((told(4).missing, told(4).infinite, told(4).mean), (2, 1, 2.0));
    assert_eq!(ends(4), (Some(Number::Real(1.0)), Some(Number::Real(3.0))));
    assert!((told(5).missing, told(5).infinite, ends(5)) == (0, 0, (None, None)) && told(5).mean.is_nan());
    assert_eq!(ends(6), whole(i64::MIN.into(), exact.into()));
    assert_eq!(ends(7), whole(u64::MAX.into(), u64::MAX.into()));
    assert_eq!((told(8).mean, told(8).deviation), (1e308, 0.0));
    assert_eq!((told(9).mean, told(9).deviation), (0.0, 1e308));
    assert!((told(10).deviation - 2.0).abs() < 1e-9 && (told(10).mean - 1.0).abs() < 1e-4, "{:?}", told(10));
}

#[test]
fn what_is_no_file_of_weights_is_refused() {
    let (device, folder) = (Cpu::device(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("network.safetensors");
    let parameters = network(&device, 1);
    assert!(matches!(parameters.load(&path), Err(NnError::File { .. })));
    parameters.save(&path, &BTreeMap::new()).expect("a file");
    let bytes = fs::read(&path).expect("bytes");
    for length in [0, 7, 8, 40, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).expect("a file");
        assert!(matches!(parameters.load(&path), Err(NnError::Format { .. })), "{length} bytes");
    }
    let twice = |name: &str| format!(r#"{name:?}:{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#);
    let twice = format!("{{{},{}}}", twice("w"), twice("w"));
    let twice = [&(twice.len() as u64).to_le_bytes()[..], twice.as_bytes(), &[1]].concat();
    for (content, words) in [
        (&bytes[..bytes.len() - 1], &[&*format!("{} bytes; expected the {}", bytes.len() - 1, bytes.len())][..]),
        (&[&bytes[..], b"more"].concat(), &[&*format!("{} bytes; expected the {}", bytes.len() + 4, bytes.len())]),
        (&twice, &["\"w\" is named twice"]),
        (b"PK\x03\x04\0\0\0\0\0\0archive/data.pkl", &["PyTorch pickle", "safetensors.torch.save_file"]),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j", &["PyTorch pickle", "safetensors.torch.save_file"]),
    ] {
        fs::write(&path, content).expect("a file");
        let error = WeightFile::open(&path).expect_err("no weights").to_string();
        words.iter().for_each(|word| assert!(error.contains(word), "{word}: {error}"));
    }
    let path = file(&path, &[("flags", "BOOL", &[1], vec![1])]);
    assert!(matches!(WeightFile::open(&path).expect("a file").values("flags"), Err(NnError::DType { .. })));
    let nowhere = folder.path().join("no folder").join("network.safetensors");
    assert!(matches!(parameters.save(&nowhere, &BTreeMap::new()), Err(NnError::File { .. })));
}

#[test]
fn numbers_beyond_the_networks_precision_are_refused() {
    let (device, folder) = (Cpu::device(), tempfile::tempdir().expect("a folder"));
    let builder = Builder::new(&device, 0);
    let parameter = builder.parameter("x", [1], Start::Constant(0.0)).expect("a parameter");
    let load = |value: f64| {
        let stored = [("x", "F64", &[1][..], value.to_le_bytes().to_vec())];
        builder.parameters().load(&file(&folder.path().join("x.safetensors"), &stored))
    };
    assert!(matches!(load(1e39), Err(NnError::Wide { name, value, .. }) if name == "x" && value == 1e39));
    assert!(load(-1e39).is_err() && load(3.4e38).is_ok() && load(1e-60).is_ok());
    assert!(load(f64::INFINITY).is_ok() && parameter.get().to_vec() == Ok(vec![f32::INFINITY]));
    parameter.set(parameter.get().to_dtype(DType::Bf16).expect("a number")).expect("a value");
    assert!(load(3.4e38).is_err() && load(3.3e38).is_ok());
}

#[test]
fn counts_that_do_not_fit_are_refused() {
    let (device, folder) = (Cpu::device(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("network.safetensors");
    let parameters = network(&device, 1);
    parameters.save(&path, &BTreeMap::new()).expect("a file");
    let mut bytes = fs::read(&path).expect("bytes");
    // The one whole number is the widest, and lies first.
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("a length")) as usize;
    bytes[8 + header + 5] = 1;
    fs::write(&path, bytes).expect("a file");
    assert!(matches!(parameters.load(&path), Err(NnError::Whole { .. })));
}
