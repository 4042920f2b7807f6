//! Devices that cannot be used, and variables that name no choice, as the command line tells them.

use std::process::Command;

use tempfile::TempDir;

use crate::common::program::{program, text};
use crate::{ARCHIVE, ONE_LEAD, folder};

/// A folder with a driver that is the program's to find.
fn fake_driver() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", "tests/common/fake_driver.c", "-o"]);
    assert!(compiler.arg(folder.path().join("libcuda.so.1")).status().expect("a compiler").success());
    folder
}

#[test]
fn a_driver_or_a_device_that_is_too_old_is_told_with_what_is_needed() {
    let (driver, (folder, bucket)) = (fake_driver(), folder());
    let output = folder.path().join("archive");
    let paths = ["--input", text(&bucket), "--output", text(&output)];
    let old = [
        ("12040", "90", "speaks CUDA 12.4, and CUDA 12.8 or newer is needed"),
        ("13000", "75", "has compute capability 7.5, and the kernels need compute capability 8.0 or newer"),
    ];
    for (version, capability, words) in old {
        let ended = |arguments: &[&str]| {
            let mut program = program();
            program
                .env("LD_LIBRARY_PATH", driver.path())
                .env("FAKE_DRIVER", version)
                .env("FAKE_CAPABILITY", capability);
            let ended = program.args(arguments).output().expect("the program starts");
            let told = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
            (ended.status.code(), told.concat())
        };
        for (code, arguments) in [
            (0, vec!["devices"]),
            (2, [&["check", ARCHIVE], &paths[..], &["--device", "cuda:0"]].concat()),
            (0, [&["run", ARCHIVE, "--metrics", "off"], &paths[..], &ONE_LEAD].concat()),
        ] {
            let (found, told) = ended(&arguments);
            assert_eq!(found, Some(code), "{arguments:?}:\n{told}");
            assert!(told.contains(words) && !told.contains("panicked"), "{arguments:?}:\n{told}");
        }
    }
}

#[test]
fn a_variable_that_names_no_choice_is_refused_whatever_the_device() {
    let (folder, bucket) = folder();
    let output = folder.path().join("archive");
    let paths = ["--metrics", "off", "--input", text(&bucket), "--output", text(&output)];
    let runs = ["auto", "cpu", "cuda:0"].map(|device| [&["run", ARCHIVE, "--device", device], &paths[..]].concat());
    for arguments in runs.iter().chain([&vec!["devices"]]) {
        let ended = program().args(arguments).env("GUSTFRONT_WGMMA", "yes").output().expect("the program starts");
        let told = String::from_utf8(ended.stderr).expect("UTF-8");
        assert_eq!(ended.status.code(), Some(64), "{arguments:?}:\n{told}");
        assert!(told.contains("GUSTFRONT_WGMMA is \"yes\": expected on, off or always"), "{told}");
    }
}
