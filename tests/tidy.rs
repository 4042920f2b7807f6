//! Rules a compiler does not check: file length, headers, one-way modules, no hidden panics, nothing of one machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "tidy/rust.rs"]
mod rust;

use rust::{code_only, without_tests};

/// A file longer than this is two files.
const MAX_LINES: usize = 500;

/// Ends a program that should have reported an error.
const PANICS: [&str; 7] =
    [".unwrap()", ".unwrap_err()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "unreachable!("];

/// What a comment just above such a call begins with where it states why the call never ends the program.
const EXCUSE: &str = "// Cannot fail:";

/// How many lines above a call its excuse may stand.
const EXCUSE_LINES: usize = 4;

#[test]
fn every_file_is_short_and_introduces_itself() {
    let wrong: Vec<String> =
        rust_files(&["src", "tests", "benches"]).iter().filter_map(|(path, text)| untidy(path, text)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn modules_point_one_way() {
    let order = module_order();
    let wrong: Vec<String> = rust_files(&["src"]).iter().flat_map(|(p, t)| backward_uses(p, t, &order)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_backward_use_is_seen_however_it_is_written() {
    let order = ["domain", "storage", "flow"].map(String::from);
    let wrong = |path: &str, text: &str| backward_uses(Path::new(path), text, &order).len();
    assert_eq!(wrong("src/storage/file.rs", "use crate::domain::Grid; // crate::flow\nlet s = \"crate::flow\";"), 0);
    assert_eq!(wrong("src/storage/file.rs", "use crate::flow::Graph;"), 1);
    assert_eq!(wrong("src/storage/file.rs", "use crate::{domain::{Grid, flow}, storage};"), 0);
    assert_eq!(wrong("src/storage/file.rs", "use crate::{domain::{Grid, Slot},\n flow::{Graph}};"), 1);
    assert_eq!(wrong("src/storage/file.rs", "use super::Range; use super::super::flow;"), 1);
    assert_eq!(wrong("src/storage/mod.rs", "use super::flow::Graph;"), 1);
    assert_eq!(wrong("src/storage.rs", "#[cfg(test)]\nmod tests { use super::*; }"), 0);
    assert_eq!(wrong("src/storage.rs", "#[cfg(test)]\nmod tests { use super::super::flow; }"), 1);
    assert_eq!(wrong("src/storage.rs", "use crate::*;"), 1);
    assert_eq!(wrong("src/storage.rs", "use crate as everything;"), 1);
    assert_eq!(wrong("src/flow/graph.rs", "use crate::storage::open; use super::super::domain;"), 1);
    assert_eq!(wrong("src/cli/run.rs", "use crate::flow;"), 0);
}

#[test]
fn nothing_ends_the_program_where_an_error_would_do() {
    let wrong: Vec<String> = rust_files(&["src"]).iter().flat_map(|(p, t)| hidden_panics(p, t)).collect();
    assert!(wrong.is_empty(), "return an error, or state `{EXCUSE} …` above:\n{}", wrong.join("\n"));
}

#[test]
fn a_hidden_panic_is_seen_unless_it_is_excused_or_tested() {
    let found = |text: &str| hidden_panics(Path::new("src/x.rs"), text).len();
    assert_eq!(found("let a = b.unwrap();\nlet c = d.expect(\"e\");\npanic!(\"f\");"), 3);
    assert_eq!(found("let a = b.unwrap_or(0); // .unwrap()\nlet s = \"panic!(\";\n/* todo!() */"), 0);
    assert_eq!(found("// Cannot fail: the length was checked.\nlet a = b\n    .first()\n    .unwrap();"), 0);
    assert_eq!(found("// Cannot fail: far away.\n\n\n\n\n\nlet a = b.unwrap();"), 1);
    assert_eq!(found("#[cfg(test)]\nmod tests {\n fn f() { a.unwrap(); }\n}\nfn g() { b.unwrap(); }"), 1);
    assert_eq!(found("let quote = '\"'; a.unwrap(); let raw = r#\"say \".unwrap()\"#;"), 1);
}

#[test]
fn tracked_files_name_no_folder_of_one_machine_and_no_registry() {
    let Some(files) = tracked_files() else { return println!("skipped: this is no git checkout") };
    let strange: Vec<String> = files.iter().flat_map(|path| places(path)).collect();
    assert!(strange.is_empty(), "\n{}", strange.join("\n"));
}

#[test]
fn dependencies_come_from_one_registry() {
    let lock = fs::read_to_string("Cargo.lock").unwrap();
    let sources = lock.lines().filter_map(|l| l.strip_prefix("source = "));
    let others: Vec<&str> =
        sources.filter(|s| *s != "\"registry+https://github.com/rust-lang/crates.io-index\"").collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn every_table_and_pipeline_can_be_read() {
    let mut read = 0;
    for path in ["config", "pipelines"].iter().flat_map(|folder| files_below(Path::new(folder))) {
        if path.extension().is_some_and(|e| e == "toml") {
            let text = fs::read_to_string(&path).unwrap();
            text.parse::<toml::Table>().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            read += 1;
        }
    }
    assert!(read > 0, "config/ holds no tables");
}

/// What is wrong with the length or the first line of a file.
fn untidy(path: &Path, text: &str) -> Option<String> {
    let lines = text.lines().count();
    let header = text.lines().next().and_then(|l| l.strip_prefix("//! ")).unwrap_or_default();
    let said = match (lines > MAX_LINES, header.len() > 10) {
        (false, true) => return None,
        (true, _) => format!("{lines} lines, over {MAX_LINES}"),
        (false, false) => "the first line must say what the file is for: `//! …`".into(),
    };
    Some(format!("{}: {said}", path.display()))
}

/// The modules of the library, in the order in which `lib.rs` lists them.
fn module_order() -> Vec<String> {
    let lib = fs::read_to_string("src/lib.rs").unwrap();
    let order: Vec<String> =
        lib.lines().filter_map(|l| Some(l.strip_prefix("pub mod ")?.strip_suffix(';')?.into())).collect();
    assert_eq!(order.first().map(String::as_str), Some("domain"), "lib.rs lists modules in reading order");
    order
}

/// Every use in a file that points to a module listed after its own, or hides which module it means.
fn backward_uses(path: &Path, text: &str, order: &[String]) -> Vec<String> {
    let rank = |name: &str| order.iter().position(|m| m == name);
    let parts: Vec<&str> = path.iter().skip(1).filter_map(|p| Some(p.to_str()?.trim_end_matches(".rs"))).collect();
    let Some(own) = parts.first().and_then(|p| rank(p)) else { return Vec::new() };
    let depth = parts.iter().filter(|p| **p != "mod").count();
    let code = code_only(text);
    let wrong = |what: &str| format!("{}: {what}", path.display());
    let mut found = Vec::new();
    for name in named_after_crate(&code) {
        match rank(&name) {
            Some(other) if other > own => {
                found.push(wrong(&format!("`{}` may not use `{name}`, which comes after it in lib.rs", order[own])))
            }
            None if name.is_empty() => found.push(wrong("write the module after `crate::`")),
            _ => {}
        }
    }
    if code.contains("use crate as") || climbs(&without_tests(&code)) >= depth || climbs(&code) > depth {
        found.push(wrong("reach other modules by `crate::name`, not by way of the root"));
    }
    found
}

/// The first name of every path after `crate::`, those of a `{…}` list included; empty for `crate::*`.
fn named_after_crate(code: &str) -> Vec<String> {
    let word = |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.trim_start().strip_prefix('{') {
            Some(list) => top_level_items(list).iter().map(|item| word(item)).collect::<Vec<String>>(),
            None => vec![word(rest)],
        })
        .collect()
}

/// The items of a list between braces, up to its closing brace, commas inside inner braces ignored.
fn top_level_items(list: &str) -> Vec<&str> {
    let (mut items, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

/// The longest chain of `super::` in some code.
fn climbs(code: &str) -> usize {
    let dense: String = code.split_whitespace().collect();
    (0..9).rev().find(|n| dense.contains(&"super::".repeat(*n))).unwrap_or(0)
}

/// Every call outside tests (`tests.rs` holds nothing else) that ends the program and has no excuse.
fn hidden_panics(path: &Path, text: &str) -> Vec<String> {
    if path.file_name().is_some_and(|name| name == "tests.rs") {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    let code = without_tests(&code_only(text));
    let found = code.lines().enumerate().filter(|(_, line)| PANICS.iter().any(|p| line.contains(p)));
    let excused = |at: usize| lines[at.saturating_sub(EXCUSE_LINES)..=at].iter().any(|l| l.contains(EXCUSE));
    found
        .filter(|(at, _)| !excused(*at))
        .map(|(at, line)| format!("{}:{}: {}", path.display(), at + 1, line.trim()))
        .collect()
}

/// Lines of a tracked file that name a folder of one machine, or a package registry.
fn places(path: &Path) -> Vec<String> {
    let homes = ["root", "home", "work", "Users"].map(|folder| format!("/{folder}/"));
    let hosts = ["pypi", "pythonhosted", "crates"]
        .map(|host| format!("{host}{}", if host == "crates" { ".io/" } else { ".org" }));
    let index = format!("index{}url", '-');
    let Ok(text) = fs::read_to_string(path) else { return Vec::new() };
    let starts = |line: &str, home: &String| {
        line.match_indices(home.as_str())
            .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~}".contains(c)))
    };
    let strange = |line: &&str| {
        homes.iter().any(|h| starts(line, h)) || hosts.iter().any(|h| line.contains(h)) || line.contains(&index)
    };
    text.lines().filter(strange).map(|line| format!("{}: {}", path.display(), line.trim())).collect()
}

#[test]
fn a_folder_of_one_machine_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.md");
    let lines = ["see /{r}oot/x", "cd $HOME/work/x", "--{i}ndex-url x", "a/work/b", "(/{h}ome/me)"];
    fs::write(&file, lines.join("\n").replace(['{', '}'], "")).unwrap();
    assert_eq!(places(&file).len(), 3, "{:?}", places(&file));
}

/// What git tracks, or would add; `None` outside a checkout.
fn tracked_files() -> Option<Vec<PathBuf>> {
    let output = Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).output().ok()?;
    let names = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| names.lines().map(PathBuf::from).collect())
}

/// Every Rust file below some folders, with its text.
fn rust_files(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let paths = folders.iter().flat_map(|folder| files_below(Path::new(folder)));
    let rust = paths.filter(|path| path.extension().is_some_and(|e| e == "rs"));
    rust.map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

/// Every file below a folder, sorted; none where there is no such folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
