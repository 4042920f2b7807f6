//! NVIDIA's compiler takes every kernel for every architecture, within a budget of registers and without spills.

use std::path::PathBuf;
use std::sync::OnceLock;

use gustfront::tensor::cuda::{FAMILIES, Nvrtc, Programs, compile_family};
use rayon::prelude::*;

use crate::python::environment;

/// Ampere, Hopper with its own instructions, Blackwell.
const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90a", "sm_100"];

/// Registers of a thread where a family has no budget of its own: four warps of each of a multiprocessor's quarters.
const REGISTERS: u32 = 128;

/// Families that move memory: half as many registers keep twice as many loads under way. Attention keeps its scores and
/// its results in registers, all that a thread may have: two or three blocks of four warps a multiprocessor. Wide tiles
/// hold 128 sums a thread and are alone on theirs.
const BUDGETS: [(&str, u32); 12] = [
    ("attention", 255),
    ("attention_mma", 255),
    ("conv_wide", 200),
    ("data", 64),
    ("diffusion", 64),
    ("elementwise", 64),
    ("matmul_wide", 200),
    ("memory", 64),
    ("optimiser", 64),
    ("random", 64),
    ("recurrent", 64),
    ("reduce", 64),
];

/// Kernels that may use more: the kernel without its suffix, its registers, and why.
const WIDER: [(&str, u32, &str); 4] = [
    ("fold_parts", 72, "joins a few partial results: no loads to hide"),
    ("conv_weight_32_32_normed", 168, "loads are under way beside the sums, one block a multiprocessor"),
    ("conv_weight_32_32_split", 168, "the same"),
    ("conv_weight_64_32", 168, "the sums of nine kernel elements stay in registers, one block a multiprocessor"),
];

/// Kernels that may spill: the kernel, bytes of stores and loads, and why.
const SPILLS: [(&str, u32, &str); 0] = [];

/// What a kernel uses, as the compiler tells it.
#[derive(Clone, Debug, PartialEq)]
struct Usage {
    kernel: String,
    registers: u32,
    spilled_bytes: u32,
}

/// The compiler of a Python wheel; `None`, with a printed reason, where it cannot be had.
pub(crate) fn compiler() -> Option<Nvrtc> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made =
        || environment("target/nvrtc-venv", "tests/kernels/requirements.txt").and_then(|python| library(&python));
    let found = LIBRARY.get_or_init(|| made().map_err(|reason| println!("skipped: {reason}")).ok());
    found.as_ref().map(|path| Nvrtc::at(path).expect("the wheel's library loads"))
}

/// The library in the environment of a Python.
fn library(python: &std::path::Path) -> Result<PathBuf, String> {
    let root = python.parent().and_then(|bin| bin.parent()).ok_or("no environment")?;
    let pythons = std::fs::read_dir(root.join("lib")).map_err(|e| e.to_string())?.flatten();
    let paths = pythons.map(|entry| entry.path().join("site-packages/nvidia/cu13/lib/libnvrtc.so.13"));
    paths.into_iter().find(|path| path.exists()).ok_or_else(|| "the wheel holds no libnvrtc.so.13".into())
}

/// The numbers in front of words in a line, such as 40 of `Used 40 registers`.
fn number_before(line: &str, words: &str) -> Option<u32> {
    line.split(words).next().filter(|front| front.len() < line.len())?.split_whitespace().last()?.parse().ok()
}

/// What the log says of each kernel.
fn usages(log: &str) -> Vec<Usage> {
    let mut usages: Vec<Usage> = Vec::new();
    for line in log.lines() {
        if let Some(name) = line.split("Compiling entry function '").nth(1).and_then(|rest| rest.split('\'').next()) {
            usages.push(Usage { kernel: name.to_owned(), registers: u32::MAX, spilled_bytes: u32::MAX });
        }
        let Some(last) = usages.last_mut() else { continue };
        let spilled = number_before(line, " bytes spill stores").zip(number_before(line, " bytes spill loads"));
        if let Some((stores, loads)) = spilled {
            last.spilled_bytes = stores + loads;
        }
        if let Some(registers) = number_before(line, " registers") {
            last.registers = registers;
        }
    }
    usages
}

/// What is over the budget in a kernel.
fn excess(family: &str, usage: &Usage) -> Option<String> {
    let of_family = BUDGETS.iter().find(|(name, _)| *name == family).map_or(REGISTERS, |(_, registers)| *registers);
    let named = |name: &&str| usage.kernel == **name || usage.kernel.starts_with(&format!("{name}_"));
    let registers = WIDER.iter().find(|(name, ..)| named(name)).map_or(of_family, |(_, registers, _)| *registers);
    let spills = SPILLS.iter().find(|(name, ..)| named(name)).map_or(0, |(_, bytes, _)| *bytes);
    let over = usage.registers > registers || usage.spilled_bytes > spills;
    over.then(|| format!("{usage:?}: over {registers} registers or {spills} bytes spilled"))
}

/// What is wrong with a family on an architecture.
fn problems(compiler: &Nvrtc, family: &str, text: &str, architecture: &str) -> Vec<String> {
    let told = |what: String| format!("{family} for {architecture}: {what}");
    let compiled = match compile_family(compiler, family, architecture) {
        Ok(compiled) => compiled,
        Err(error) => return vec![told(error)],
    };
    let usages = usages(&compiled.log);
    let mut problems: Vec<String> = usages.iter().filter_map(|usage| excess(family, usage)).map(told).collect();
    if usages.is_empty() || usages.len() < text.matches("extern \"C\" __global__").count() {
        problems.push(told(format!("the log tells of {} kernels:\n{}", usages.len(), compiled.log)));
    }
    // The sums of products of warpgroups lie in registers, which no other device's kernels of the name have any use for.
    let most = usages.iter().map(|usage| usage.registers).max().unwrap_or(0);
    if family.ends_with("_wide") && (most > 128) != (architecture == "sm_90a") {
        problems.push(told(format!("products of warpgroups are not where they should be: {most} registers")));
    }
    if !compiled.code.starts_with(b"\x7fELF") {
        problems.push(told("no machine code".into()));
    }
    // The compiler tells so where products of warpgroups would wait for each other.
    let bad = |line: &&str| line.contains("warning") || line.contains("serialized");
    problems.extend(compiled.log.lines().filter(bad).map(|line| told(line.into())));
    problems
}

#[test]
fn every_kernel_compiles_for_every_architecture_within_its_budget() {
    let Some(compiler) = compiler() else { return };
    let work: Vec<_> = FAMILIES.iter().flat_map(|family| ARCHITECTURES.map(|a| (family, a))).collect();
    let problems: Vec<String> =
        work.par_iter().flat_map(|((family, text), a)| problems(&compiler, family, text, a)).collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn a_report_over_the_budget_is_noticed() {
    let log = "ptxas info    : 4 bytes gmem\n\
               ptxas info    : Compiling entry function 'map_f32' for 'sm_80'\n\
               ptxas         .     8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n\
               ptxas info    : Used 40 registers, used 0 barriers\n\
               ptxas info    : Compiling entry function 'zip_f32' for 'sm_80'\n\
               ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
               ptxas info    : Used 65 registers, used 1 barriers, 2048 bytes smem\n";
    let usages = usages(log);
    let usage = |kernel: &str, registers, spilled_bytes| Usage { kernel: kernel.into(), registers, spilled_bytes };
    assert_eq!(usages, [usage("map_f32", 40, 16), usage("zip_f32", 65, 0)]);
    assert!(usages.iter().all(|usage| excess("elementwise", usage).is_some()));
    assert!(excess("another", &usages[0]).is_some() && excess("another", &usages[1]).is_none());
    assert!(excess("another", &usage("half_read", u32::MAX, 0)).is_some());
}

#[test]
fn code_is_compiled_once_and_found_again_until_something_changes() {
    let Some(_) = compiler() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let programs = |capability, driver| {
        let programs = Programs::new(capability, driver, Some(folder.path().to_owned()));
        programs.with_compiler(compiler().expect("it was there"))
    };
    let code = |programs: Programs| (programs.code("memory").expect("code"), programs.compiled());
    let (first, compiled) = code(programs(80, 13_000));
    assert_eq!((&first[..4], compiled), (&b"\x7fELF"[..], 1));
    assert_eq!(code(programs(80, 13_000)), (first.clone(), 0));
    assert_eq!(code(programs(80, 13_010)).1, 1, "another driver");
    assert_ne!(code(programs(90, 13_000)).0, first, "another architecture");
    let kept: Vec<PathBuf> = std::fs::read_dir(&folder).expect("files").flatten().map(|entry| entry.path()).collect();
    assert_eq!(kept.len(), 3, "{kept:?}");
    for path in kept {
        let bytes = std::fs::read(&path).expect("a file");
        std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("a file");
    }
    assert_eq!(code(programs(80, 13_000)), (first, 1), "a broken file is compiled anew");
    let error = programs(80, 13_000).code("nothing").expect_err("no such family");
    assert!(error.contains("kernels/nothing.cu"), "{error}");
    let error = programs(37, 13_000).code("memory").expect_err("an architecture that is gone");
    assert!(error.contains("memory.cu") && error.contains("architecture"), "{error}");
}

#[test]
fn a_mistake_is_told_with_its_file_and_line() {
    let Some(compiler) = compiler() else { return };
    let text = "#line 1 \"conv.cu\"\n\nint broken(\n";
    let error = compiler.compile("conv.cu", text, &[]).expect_err("a mistake");
    assert!(error.contains("NVRTC 13") && error.contains("conv.cu(") && error.contains("error"), "{error}");
}

#[test]
fn a_library_that_is_none_is_an_error() {
    let error = Nvrtc::at(std::path::Path::new("Cargo.toml")).expect_err("no library");
    assert!(error.contains("Cargo.toml"), "{error}");
}
