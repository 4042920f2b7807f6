//! The script around the check of a GPU, with programs that stand for it and for PyTorch: what it writes, and when.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gustfront::tensor::cases::{Case, Input};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::emulation::{Order, cuda};
use crate::gpu_check::{check::Checked, fields, kernels, speed};

/// A folder with a program that stands for gpu_check and a Python that stands for PyTorch's.
struct Place(TempDir);

/// What the program does where it writes nothing else.
const WRITES: &str = "cp \"$here/found.json\" \"$output\"; exit 0";
/// What the Python does as PyTorch's part.
const FAILS: &str = "cp \"$here/times.json\" \"$output\"; echo 'RuntimeError: no memory' >&2; exit 3";

impl Place {
    /// `None`, with a printed reason, where there is no Python.
    fn new(program: &str, peer: &str) -> Option<Self> {
        if Command::new("python3").arg("--version").output().is_err() {
            println!("skipped: there is no python3");
            return None;
        }
        let place = Place(tempfile::tempdir().expect("a folder"));
        let listed = json!({ "cases": [], "steps": [] });
        let output = "here=$(dirname \"$0\"); output=$(echo \"$*\" | sed 's/.*--output \\([^ ]*\\).*/\\1/')";
        place.script(
            "gpu_check",
            &format!(
                "{output}\ncase \"$*\" in *--list*) echo '{listed}'; exit 0;; esac\n\
                      touch \"$here/ran\"; printf %s \"$GUSTFRONT_NVRTC\" > \"$here/nvrtc\"\n{program}"
            ),
        );
        let folders = "case \"$2\" in *site*) echo \"$here/packages\"; echo \"$here/conda\";; esac; exit 0";
        place.script("python", &format!("{output}\ncase \"$1\" in -c) {folders};; esac\n{peer}"));
        place.write(
            "times.json",
            &json!({ "torch": "9.9", "cases": { "elementwise/mul": { "forward": { "eager_ms": 4321.5 } } } }),
        );
        place.write("found.json", &json!({ "device": "a device", "version": "0", "commit": "abc1234",
            "checked": { "cases": 1, "comparisons": 1, "failures": [] }, "parts": { "kernels": { "ran": 1, "all": 1, "idle": [] } } }));
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, value: &Value) {
        fs::write(self.path(name), value.to_string()).expect("a file");
    }

    fn script(&self, name: &str, text: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\n{text}\n")).expect("a file");
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).expect("a program");
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/run_gpu"));
        command.current_dir(self.0.path()).args(["--program", program, "--python"]).arg(self.path("python"));
        command.arg("--work").arg(self.path("work")).arg("--output").arg(self.path("new/runs"));
        command.env("GUSTFRONT_NVRTC", "named").env_remove("CUDA_HOME").env_remove("CUDA_PATH");
        command
    }

    fn run(&self) -> Output {
        self.command("./gpu_check").output().expect("the script starts")
    }

    /// The Markdown of the report; `None` where there is none.
    fn report(&self) -> Option<String> {
        let mut paths = fs::read_dir(self.path("new/runs")).ok()?.flatten().map(|entry| entry.path());
        fs::read_to_string(paths.find(|path| path.extension().is_some_and(|e| e == "md"))?).ok()
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Everything that the program writes, of an emulated device.
fn found() -> Value {
    let (cuda, mut checked) = (cuda(Order::Forward), Checked::default());
    let inputs = vec![Input::normal(&[2, 3, 8, 8]), Input::normal(&[2, 3, 8, 8])];
    let cases = [Case::speed("elementwise/mul", inputs, |x| Ok(vec![x[0].mul(&x[1])?]))];
    let fields = fields::run(&cuda, [67, 50], 1e-6, &mut checked);
    let ran = cuda.kernels().into_keys().collect();
    let all = ["mul_f32", "never_f32"].map(str::to_owned).into();
    let parts = json!({
        "copy_bytes_per_second": 4e12, "fields": fields, "network": [{ "name": "D at 8×8", "pass": "both", "ms": 2.5, "replayed_ms": 1.5, "bytes": 7 }],
        "cases": speed::run(&cuda, &cases, 1e-6), "kernels": kernels::told(Ok(all), &ran),
    });
    let checked = json!({ "cases": 7, "comparisons": 8, "failures": ["conv/x: element 3"] });
    json!({ "device": "emulated", "version": "0.1.0", "commit": "abc1234", "checked": checked, "parts": parts })
}

#[test]
fn a_failure_of_pytorch_takes_nothing_of_ours() {
    let Some(place) = Place::new(&WRITES.replace("exit 0", "exit 1"), FAILS) else { return };
    place.write("found.json", &found());
    let output = place.run();
    assert_eq!(output.status.code(), Some(1), "a comparison failed: {}", words(&output));
    let report = place.report().expect("a report");
    let line = |start: &str| report.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{report}"));
    assert!(report.contains("PyTorch ended with status 3: RuntimeError: no memory"), "{report}");
    assert!(report.contains("abc1234 (**not what lies here**") && report.contains("**1 wrong**"), "{report}");
    assert!(report.contains("- conv/x: element 3") && report.contains("not `mul_f32`, `never_f32`"), "{report}");
    // What PyTorch told before it failed.
    assert!(line("| elementwise/mul | bf16 | 0.").contains("4321.500"), "{report}");
    for start in ["| elementwise/mul, both ways | bf16 | 0.", "| GRIB2 5.3 50×67 | 0.", "| D at 8×8, both ways |"] {
        assert!(line(start).split('|').filter(|cell| cell.trim().parse::<f64>().is_ok()).count() > 2, "{report}");
    }
}

#[test]
fn what_did_not_come_to_its_end_is_no_result() {
    let partial = "echo '{\"parts\": {\"small\": 3}}' > \"$output\"; exit 1";
    for (program, why) in [
        ("kill -SEGV $$", "was ended by SIGSEGV"),
        ("exit 101", "ended with status 101"),
        ("exit 1", "ended with status 1"),
        (partial, "what it had found by then is in"),
        (&WRITES.replace("exit 0", "kill -KILL $$")[..], "was ended by SIGKILL"),
    ] {
        let Some(place) = Place::new(program, FAILS) else { return };
        fs::create_dir(place.path("work")).expect("a folder");
        fs::copy(place.path("found.json"), place.path("work/gpu_check.json")).expect("what an earlier run left");
        let output = place.run();
        assert_eq!((output.status.code(), place.report()), (Some(1), None), "{program}: {}", words(&output));
        assert!(words(&output).contains(why) && !words(&output).contains("Traceback"), "{program}: {}", words(&output));
    }
    let Some(place) = Place::new("exit 2", FAILS) else { return };
    assert_eq!((place.run().status.code(), place.report()), (Some(2), None), "no device");
}

#[test]
fn a_device_that_is_lost_is_checked_again_without_wgmma() {
    let program =
        "found=lost; [ \"$GUSTFRONT_WGMMA\" = off ] && found=found; cp \"$here/$found.json\" \"$output\"; exit 1";
    let Some(place) = Place::new(program, FAILS) else { return };
    let mut lost: Value = serde_json::from_slice(&fs::read(place.path("found.json")).expect("a file")).expect("JSON");
    lost["checked"]["failures"] =
        json!(["conv/x: a kernel failed, and the device serves this program no more", "more"]);
    place.write("lost.json", &lost);
    assert_eq!(place.run().status.code(), Some(1));
    let report = place.report().expect("a report");
    assert!(report.contains("**1 wrong**") && report.contains("without wgmma: conv/x: a kernel failed"), "{report}");
}

#[test]
fn a_program_or_a_folder_that_is_not_there_is_told_at_the_start() {
    let Some(place) = Place::new(WRITES, FAILS) else { return };
    assert_eq!(place.run().status.code(), Some(0), "a path from here, and a folder that is made");
    assert!(place.report().is_some());
    fs::remove_file(place.path("ran")).expect("it ran");
    let told = |command: &mut Command| {
        let output = command.output().expect("the script starts");
        assert_eq!(output.status.code(), Some(1));
        assert!(!words(&output).contains("Traceback") && !place.path("ran").exists(), "{}", words(&output));
        words(&output)
    };
    let missing = told(&mut place.command("./nothing"));
    assert!(missing.contains("there is no program") && missing.contains("/nothing: build it"), "{missing}");
    let refused = told(&mut place.command("./found.json"));
    assert!(refused.contains("chmod +x"), "{refused}");
    let folder = told(place.command("./gpu_check").arg("--output").arg(place.path("found.json").join("runs")));
    assert!(folder.contains("nothing can be written to") && folder.contains("--output"), "{folder}");
}

/// Whether the loader or a toolkit has an NVRTC.
fn system_has_compiler() -> bool {
    ["libnvrtc.so.13", "libnvrtc.so.12"].iter().any(|name| {
        let load = format!("import ctypes; ctypes.CDLL('{name}')");
        let loads = Command::new("python3").args(["-c", &load]).output().is_ok_and(|output| output.status.success());
        loads || Path::new("/usr/local/cuda/lib64").join(name).exists()
    })
}

#[test]
fn the_compiler_of_pytorchs_python_serves_where_the_system_has_none() {
    let Some(place) = Place::new(WRITES, FAILS) else { return };
    // A toolkit's folder that holds no compiler.
    fs::create_dir_all(place.path("toolkit/lib64")).expect("a folder");
    let given = || {
        let mut command = place.command("./gpu_check");
        let output = command.env_remove("GUSTFRONT_NVRTC").env("CUDA_HOME", place.path("toolkit")).output();
        assert_eq!(output.expect("the script starts").status.code(), Some(0));
        fs::read_to_string(place.path("nvrtc")).expect("what the program was given")
    };
    let made = |path: &str| {
        fs::create_dir_all(place.path(path).parent().expect("a folder")).expect("a folder");
        fs::write(place.path(path), "").expect("a file");
        place.path(path).to_string_lossy().into_owned()
    };
    assert_eq!(given(), "", "none anywhere, or one of the system");
    let conda = made("conda/lib/libnvrtc.so.12");
    if system_has_compiler() {
        return println!("skipped: this system has an NVRTC");
    }
    assert_eq!(given(), conda);
    let wheel = made("packages/nvidia/cu13/lib/libnvrtc.so.13");
    assert_eq!(given(), wheel, "the newest");
    made("toolkit/lib64/libnvrtc.so.13");
    assert_eq!(given(), "", "the system's, which the program finds by itself");
}
