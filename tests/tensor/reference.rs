//! Every case that PyTorch's stored results hold: outputs and gradients, or why it is not run.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use gustfront::tensor::cases::Array;
use gustfront::tensor::{Layout, Level};
use serde_json::Value;

use crate::fixtures::{Fixtures, pytorch, pytorch_in, write_pytorch};
use crate::stored::{Stored, run, words};

/// Operations that no network here uses.
const NOT_OFFERED: &[(&str, &str)] = &[
    ("conv1d", "no network here works on series alone"),
    ("conv3d", "time is a channel or a batch, never a dimension that a kernel moves along"),
    ("affine_grid+grid_sample", "images are not warped"),
    ("grid_sample", "images are not warped"),
    ("SGD+", "every network here trains with AdamW"),
    ("AdamW+onecycle", "cycles the optimiser's momentum too"),
];

/// Operations whose stored results `training.rs` compares.
const IN_TRAINING: &[&str] = &[
    "GRU",
    "mse",
    "l1",
    "smooth_l1",
    "huber05",
    "huber1",
    "clip_grad_norm_",
    "Adam+const",
    "AdamW+const",
    "AdamW+cosine",
    "AdamW+plateau",
    "AdamW+step",
    "AdamW+warm_restarts",
    "diffusers get_timestep_embedding",
];

/// What belongs to other modules.
const ELSEWHERE: &[(&str, &str)] = &[
    ("diffusers DDPMScheduler", "diffusion"),
    ("diffusers DDIMScheduler", "diffusion"),
    ("diffusers DPMSolverMultistepScheduler", "diffusion"),
    ("properscoring.", "verification"),
    ("xskillscore.", "verification"),
    ("scores.", "verification"),
    ("counts tp,fp,fn,tn", "verification"),
    ("samples per bin", "verification"),
];

/// What is wrong with a case, and why something else than what is stored was right.
type Compared = (Vec<String>, BTreeSet<&'static str>);

/// Runs a case and compares everything that is stored of it; where it has no operation here, or one that knows less than
/// what it is given, that.
fn compare(fixtures: &Fixtures, case: &Value, level: Level, layout: Layout) -> Result<Compared, Vec<String>> {
    let stored = Stored::new(fixtures, case, level, layout);
    let outputs = run(&stored).ok_or_else(Vec::new)?;
    let unread = stored.unread();
    match outputs {
        Err(error) => stored.note(format!("{} {level:?} {layout:?}: {error}", stored.name)),
        Ok(_) if !unread.is_empty() => return Err(unread),
        Ok(outputs) => {
            let found: BTreeSet<&str> = outputs.iter().map(|(output, _)| *output).collect();
            // The graph's edges are compared where they are made.
            let wanted: BTreeSet<&str> = words(&case["outputs"]).filter(|output| *output != "edge_index_out").collect();
            if found != wanted {
                stored.note(format!("{}: outputs {found:?}, {wanted:?} are stored", stored.name));
            }
            outputs.iter().for_each(|(output, y)| stored.check_output(output, y));
            words(&case["gradients"]).for_each(|input| stored.check_gradient(input));
        }
    }
    Ok((stored.wrong.take(), stored.excepted.take()))
}

/// [`compare`], where a case that lacks a tensor, or is none, hides no other.
fn compare_alone(fixtures: &Fixtures, case: &Value, (level, layout): (Level, Layout)) -> Result<Compared, Vec<String>> {
    catch_unwind(AssertUnwindSafe(|| compare(fixtures, case, level, layout))).unwrap_or_else(|panic| {
        let told = panic.downcast_ref::<String>().cloned();
        let told = told.or_else(|| panic.downcast_ref::<&str>().map(|told| (*told).to_owned()));
        Ok((vec![format!("{}: {}", case["case"], told.unwrap_or_default())], BTreeSet::new()))
    })
}

/// Why a case without an operation is not run; `None` where nobody has thought of it.
fn excuse(operation: &str, case: &Value) -> Option<String> {
    let mode = case["args"]["mode"].as_str();
    if operation == "interpolate" && mode == Some("bicubic") {
        return Some("not offered: fields are resized linearly, or from the nearest cell".to_owned());
    }
    if case["args"]["amsgrad"] == true {
        return Some("not offered: every network here trains with AdamW".to_owned());
    }
    let begins = |(prefix, _): &&(&str, &str)| operation.starts_with(prefix);
    let not_offered = NOT_OFFERED.iter().find(begins).map(|(_, reason)| format!("not offered: {reason}"));
    let elsewhere = ELSEWHERE.iter().find(begins).map(|(_, place)| format!("belongs to {place}"));
    let training = IN_TRAINING.contains(&operation).then(|| "in training.rs".to_owned());
    not_offered.or(elsewhere).or(training)
}

/// What became of all cases of a manifest: how many of each kind, and what is wrong.
#[derive(Default)]
struct Verdict {
    passed: usize,
    excepted: BTreeMap<&'static str, usize>,
    excused: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Verdict {
    fn on(fixtures: &Fixtures, cases: &[Value]) -> Verdict {
        let ways: Vec<(Level, Layout)> =
            Level::available().flat_map(|level| [(level, Layout::Rows), (level, Layout::Channels)]).collect();
        let mut verdict = Verdict::default();
        for case in cases {
            let found = ways.iter().map(|way| compare_alone(fixtures, case, *way));
            verdict.add(case, found.collect::<Result<Vec<_>, _>>());
        }
        verdict
    }

    fn add(&mut self, case: &Value, found: Result<Vec<Compared>, Vec<String>>) {
        let found = match found {
            Ok(found) => found,
            Err(unread) => return self.excuse(case, &unread),
        };
        let reasons: BTreeSet<&'static str> = found.iter().flat_map(|(_, reasons)| reasons).copied().collect();
        self.passed += usize::from(found.iter().all(|(wrong, _)| wrong.is_empty()) && reasons.is_empty());
        reasons.into_iter().for_each(|reason| *self.excepted.entry(reason).or_default() += 1);
        self.wrong.extend(found.into_iter().flat_map(|(wrong, _)| wrong));
    }

    fn excuse(&mut self, case: &Value, unread: &[String]) {
        match excuse(case["op"].as_str().unwrap_or_default(), case) {
            Some(reason) => *self.excused.entry(reason).or_default() += 1,
            None => {
                let unknown = if unread.is_empty() { String::new() } else { format!(" with {}", unread.join(", ")) };
                self.wrong.push(format!("{} ({}){unknown}: neither run nor excused", case["case"], case["op"]));
            }
        }
    }

    /// How many cases were judged, unless something is wrong.
    fn fine(&self) -> Result<usize, String> {
        let known = self.passed + self.excepted.values().sum::<usize>() + self.excused.values().sum::<usize>();
        if self.wrong.is_empty() { Ok(known) } else { Err(self.wrong.join("\n")) }
    }

    /// One line.
    fn summary(&self) -> String {
        let excepted = self.excepted.iter().map(|(reason, count)| format!("{count} excepted ({reason})"));
        let excused = self.excused.iter().map(|(reason, count)| format!("{count} {reason}"));
        let passed = format!("{} passed", self.passed);
        let wrong = format!("{} wrong", self.wrong.len());
        [passed].into_iter().chain(excepted).chain(excused).chain([wrong]).collect::<Vec<_>>().join("; ")
    }
}

#[test]
fn stored_results_are_met() {
    let Some((fixtures, cases)) = pytorch() else { return };
    let verdict = Verdict::on(&fixtures, &cases);
    println!("{} stored cases: {}", cases.len(), verdict.summary());
    assert!(verdict.fine().unwrap_or_else(|wrong| panic!("\n{wrong}")) >= cases.len(), "a case is neither");
}

/// Tensors of a case under another name, of them the first `len` elements each where they are cut.
fn renamed(fixtures: &Fixtures, case: &Value, name: &str, len: Option<usize>) -> (Value, BTreeMap<String, Array>) {
    let old = case["case"].as_str().expect("a name");
    let gradients = words(&case["outputs"]).map(|output| ("in", format!("d_{output}")));
    let given = [("inputs", "in"), ("outputs", "out"), ("gradients", "g")];
    let listed = given.into_iter().flat_map(|(list, of)| words(&case[list]).map(move |x| (of, x.to_owned())));
    let tensors = listed.chain(gradients).filter_map(|(of, tensor)| {
        let mut array = fixtures.find(&format!("{of}.{old}.{tensor}"))?.clone();
        if let Some(len) = len {
            array.values.truncate(len);
            array.shape = vec![array.values.len()];
        }
        Some((format!("{of}.{name}.{tensor}"), array))
    });
    let tensors = tensors.collect();
    let mut case = case.clone();
    case["case"] = name.into();
    (case, tensors)
}

/// Another file of the same form runs without a change: other names, other sizes; what is wrong in it, and what nobody
/// knows, is told.
#[test]
fn another_manifest_is_read_and_what_it_asks_in_vain_is_told() {
    let Some((fixtures, cases)) = pytorch() else { return };
    let of = |operation: &str| cases.iter().find(|case| case["op"] == operation);
    let asked = [("silu", Some(3)), ("gelu", Some(5)), ("conv2d", None), ("group_norm", None)];
    if let Some((operation, _)) = asked.iter().find(|(operation, _)| of(operation).is_none()) {
        return println!("skipped: the manifest has no cases of {operation}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let made = asked
        .map(|(operation, len)| renamed(&fixtures, of(operation).expect("a case"), &format!("other.{operation}"), len));
    let (mut cases, mut tensors): (Vec<Value>, BTreeMap<String, Array>) = (Vec::new(), BTreeMap::new());
    for (case, of_case) in made {
        cases.push(case);
        tensors.extend(of_case);
    }
    let verdict = |tensors: &_, cases: &[Value]| {
        write_pytorch(folder.path(), tensors, cases);
        let (fixtures, cases) = pytorch_in(folder.path());
        Verdict::on(&fixtures, &cases)
    };
    assert_eq!(verdict(&tensors, &cases).fine(), Ok(4));
    cases.push(serde_json::json!({ "case": "other.new", "op": "fold", "inputs": [], "outputs": [], "gradients": [] }));
    tensors.get_mut("out.other.silu.y").expect("an output").values[1] += 0.5;
    let told = verdict(&tensors, &cases).wrong;
    assert!(told.iter().any(|wrong| wrong.contains("other.new") && wrong.contains("neither run nor excused")));
    assert!(told.iter().any(|wrong| wrong.contains("out.other.silu.y")), "{told:?}");
    assert!(!told.iter().any(|wrong| wrong.contains("gelu")), "{told:?}");
}

/// A small case of inputs and an output.
fn made(operation: &str, arguments: Value, inputs: &[(&str, &[usize], &[f64])], y: &[f64]) -> Made {
    let names: Vec<&str> = inputs.iter().map(|(name, ..)| *name).collect();
    let case = serde_json::json!({
        "case": operation, "op": operation, "args": arguments, "inputs": names, "outputs": ["y"], "gradients": [],
    });
    let array = |shape: &[usize], values: &[f64]| Array { shape: shape.to_vec(), values: values.to_vec() };
    let given = inputs.iter().map(|(name, shape, values)| (format!("in.{operation}.{name}"), array(shape, values)));
    (case, given.chain([(format!("out.{operation}.y"), array(&[y.len()], y))]).collect())
}

/// A case, and its tensors.
type Made = (Value, BTreeMap<String, Array>);

fn judged(made: Vec<Made>) -> Verdict {
    let folder = tempfile::tempdir().expect("a folder");
    let (cases, tensors): (Vec<Value>, Vec<_>) = made.into_iter().unzip();
    write_pytorch(folder.path(), &tensors.into_iter().flatten().collect(), &cases);
    let (fixtures, cases) = pytorch_in(folder.path());
    Verdict::on(&fixtures, &cases)
}

/// Arguments are heeded: pairs, flags, numbers; a normalisation may have no weights; excused cases alone are fine.
#[test]
fn arguments_of_another_manifest_are_heeded() {
    let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let (query, keys, values): (&[f64], &[f64], &[f64]) = (&[1.0], &[1.0, 2.0], &[3.0, 5.0]);
    let verdict = judged(vec![
        made("max_pool2d", serde_json::json!({ "kernel": [2, 3] }), &[("x", &[1, 1, 2, 3], &image)], &[6.0]),
        made("leaky_relu02", serde_json::json!({ "negative_slope": 0.5 }), &[("x", &[1], &[-4.0])], &[-2.0]),
        made("layer_norm", serde_json::json!({ "eps": 0.5625 }), &[("x", &[2], &[-1.0, 1.0])], &[-0.8, 0.8]),
        made(
            "scaled_dot_product_attention",
            serde_json::json!({ "is_causal": true }),
            &[("q", &[1, 1, 1, 1], query), ("k", &[1, 1, 2, 1], keys), ("v", &[1, 1, 2, 1], values)],
            &[3.0],
        ),
        made("mse", Value::Null, &[], &[0.0]),
    ]);
    assert_eq!((verdict.fine(), verdict.passed), (Ok(5), 4), "{}", verdict.summary());
    let excepted = Verdict { excepted: BTreeMap::from([("nearer to f64", 2)]), ..Verdict::default() };
    assert_eq!(excepted.fine(), Ok(2));
}

/// What is not known of a case, or wrong with it, is told of that case; the others are judged.
#[test]
fn a_case_that_cannot_be_judged_hides_no_other() {
    let one: &[(&str, &[usize], &[f64])] = &[("x", &[1], &[1.0])];
    let verdict = judged(vec![
        made("elu", serde_json::json!({ "alpha": 2.0 }), one, &[1.0]),
        made("relu", serde_json::json!({ "inplace": true }), one, &[1.0]),
        made("tanh", Value::Null, &[("x", &[1], &[0.0]), ("mask", &[1], &[1.0])], &[0.0]),
        made("silu", Value::Null, one, &[0.5, 0.5]),
        made("linear", Value::Null, one, &[1.0]),
        made("avg_pool2d", serde_json::json!({ "kernel": "two" }), &[("x", &[1, 1, 2, 2], &[1.0; 4])], &[1.0]),
        made("softplus", Value::Null, &[("x", &[1], &[0.0])], &[std::f64::consts::LN_2]),
    ]);
    let told = [
        "\"elu\" (\"elu\"): neither run nor excused",
        "\"relu\" (\"relu\") with inplace: neither run nor excused",
        "\"tanh\" (\"tanh\") with mask: neither run nor excused",
        "out.silu.y: 1 elements, 2 are stored",
        "linear: no input w",
        "avg_pool2d: kernel is \"two\": expected a number or two",
    ];
    for told in told {
        assert!(verdict.wrong.iter().any(|wrong| wrong.contains(told)), "{told}: {:?}", verdict.wrong);
    }
    assert_eq!(verdict.passed, 1);
}
