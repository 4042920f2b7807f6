//! Whole pipelines on an emulated GPU: every byte they write and everything they count is as on the CPU.

use std::path::Path;
use std::sync::Arc;

use gustfront::domain::{Lead, Moment};
use gustfront::flow::{Report, RunOptions, run_on};
use gustfront::sources::synth::{SynthOptions, write_hrrr};
use gustfront::storage::clear_partial;
use gustfront::telemetry::metrics;
use gustfront::tensor::{Cuda, Opened, TensorError};

use crate::emulation::{Order, cuda};
use crate::flows::{ARCHIVE, FORECAST, pipeline};
use crate::trees::{assert_same, store, tree};

/// Every stage that a device knows, and sinks at three places of the way.
const TRAINING: &str = "name = \"training\"\n\
    [sources.hrrr]\ntype = \"hrrr\"\ninput = \"in\"\nleads = \"0-1\"\n\
    required = [\"t2m\", \"u10\", \"v10\"]\noptional = [\"refc\"]\n\
    [transforms.quality]\ntype = \"qc\"\ninputs = [\"hrrr\"]\n\
    [transforms.earth_winds]\ntype = \"rotate_winds\"\ninputs = [\"quality\"]\n\
    [transforms.latlon]\ntype = \"regrid\"\ninputs = [\"earth_winds\"]\nstep_degrees = 0.05\n\
    [transforms.normalised]\ntype = \"normalise\"\ninputs = [\"latlon\"]\n\
    [sinks.states]\ntype = \"zarr\"\ninputs = [\"normalised\"]\npath = \"states.zarr\"\n\
    [sinks.winds]\ntype = \"zarr\"\ninputs = [\"earth_winds\"]\npath = \"winds.zarr\"\n\
    [sinks.statistics]\ntype = \"statistics\"\ninputs = [\"latlon\"]\npath = \"statistics.toml\"\n";

/// Three hourly cycles of three leads.
fn synthetic(folder: &Path) {
    let start = Moment::from_ymdh(2026, 5, 20, 22).expect("a day");
    let leads = Lead::parse_list("0-2").expect("leads");
    let options = SynthOptions { start, cycles: 3, step_hours: 1, leads, size: [40, 32], seed: 11, force: false };
    write_hrrr(&store(folder), &options).expect("synthetic weather");
    clear_partial(folder.to_str().expect("a path")).expect("cleared");
}

fn finish(text: &str, input: &Path, output: &Path, sets: &[&str], opened: Opened) -> Report {
    let options = RunOptions { workers: 2, period: Default::default(), follow: false, progress: false };
    run_on(opened, pipeline(text, input, output, sets), &options, Arc::default()).expect("a run")
}

#[test]
fn pipelines_write_the_same_bytes_on_a_gpu() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("in");
    synthetic(&input);
    let nearest = ["transforms.latlon.method=nearest"];
    let average = ["transforms.latlon.method=conservative"];
    let runs: [(&str, &[&str]); 5] =
        [(ARCHIVE, &[]), (FORECAST, &[]), (TRAINING, &[]), (TRAINING, &nearest), (TRAINING, &average)];
    for (number, (text, sets)) in runs.into_iter().enumerate() {
        let [here, there] = ["cpu", "gpu"].map(|name| folder.path().join(format!("{name}{number}")));
        let wanted = finish(text, &input, &here, sets, Opened::cpu(None));
        let gpu = cuda(Order::ALL[number % 3]);
        let found = finish(text, &input, &there, sets, Opened::cuda(gpu.clone()));
        assert_same(&tree(&store(&there)), &tree(&store(&here)), &format!("{number} {sets:?}"));
        assert_eq!((found.totals.quality, found.totals.scores), (wanted.totals.quality, wanted.totals.scores));
        assert_eq!((found.totals.fields, found.totals.sinks), (wanted.totals.fields, wanted.totals.sinks));
        assert!(found.device.used.starts_with("emulated") && wanted.device.used.starts_with("cpu"));
        let work = gpu.work().expect("counters");
        assert!(work.launches["packed"] >= found.totals.fields, "{work:?}");
        let text = metrics().text().expect("metrics");
        assert!(text.contains("gustfront_device_launches_total{device=\"emulated (forward)\",family=\"packed\"}"));
    }
}

#[test]
fn a_device_that_fails_ends_the_run_and_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    synthetic(&input);
    let options = RunOptions { workers: 1, period: Default::default(), follow: false, progress: false };
    let gpu: Arc<Cuda> = crate::emulation::cuda_without(Order::Forward, "fields");
    let error = run_on(Opened::cuda(gpu), pipeline(ARCHIVE, &input, &output, &[]), &options, Arc::default())
        .expect_err("no kernels")
        .to_string();
    let missing = TensorError::Device { device: "emulated (forward)".into(), what: "no kernels/fields.cu".into() };
    assert!(error.contains(&missing.to_string()) && error.contains("a rerun goes on"), "{error}");
}
