//! Which kernels there are, and which of them ran.

use std::collections::BTreeSet;

use gustfront::tensor::cuda::{Nvrtc, compile_family};
use rayon::prelude::*;
use serde_json::{Value, json};

/// Every file holds the same kernels for every architecture, and every compiler in use knows this one.
const ARCHITECTURE: &str = "sm_80";

/// The names of the kernels of some families, as the compiler tells them.
///
/// # Errors
/// Where a file does not compile.
pub(crate) fn all(compiler: &Nvrtc, families: &[(&str, &str)]) -> Result<BTreeSet<String>, String> {
    let of = |(family, _): &(&str, &str)| compile_family(compiler, family, ARCHITECTURE).map(|made| named(&made.log));
    let names: Result<Vec<Vec<String>>, String> = families.par_iter().map(of).collect();
    Ok(names?.into_iter().flatten().collect())
}

/// The kernels that a log tells of.
fn named(log: &str) -> Vec<String> {
    let name = |line: &str| Some(line.split_once("Compiling entry function '")?.1.split_once('\'')?.0.to_owned());
    log.lines().filter_map(name).collect()
}

/// How many kernels ran, of how many, and those that did not.
pub(crate) fn told(all: Result<BTreeSet<String>, String>, ran: &BTreeSet<String>) -> Value {
    match all {
        Ok(all) => json!({ "ran": ran.len(), "all": all.len(), "idle": all.difference(ran).collect::<Vec<_>>() }),
        Err(what) => json!({ "ran": ran.len(), "error": what }),
    }
}
