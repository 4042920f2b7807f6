//! Every kernel stands in the table of kernels/README.md, with what it is predicted to move and to take.

use std::collections::BTreeSet;

use gustfront::tensor::cuda::FAMILIES;

use crate::library::names_of;

/// What a row of the table says of kernels: their names, where `*` stands for anything, and the cells behind.
struct Row {
    names: Vec<String>,
    cells: Vec<String>,
}

fn rows() -> Vec<Row> {
    let text = include_str!("../../kernels/README.md");
    let lines = text.lines().skip_while(|line| !line.starts_with("| kernel |")).skip(2);
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let row = |line: &str| {
        let mut cells = cells(line);
        let names = bare(&cells.remove(0)).split(", ").map(|name| name.trim().to_owned()).collect();
        Row { names, cells }
    };
    lines.take_while(|line| line.starts_with('|')).map(row).collect()
}

/// A cell without what stands in parentheses.
fn bare(cell: &str) -> String {
    cell.split('(').map(|part| part.split_once(')').map_or(part, |(_, behind)| behind)).collect()
}

/// Whether a name has the form of a pattern.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((front, rest)) => name.strip_prefix(front).is_some_and(|left| {
            (0..=left.len()).filter(|at| left.is_char_boundary(*at)).any(|at| fits(rest, &left[at..]))
        }),
    }
}

/// A kernel's name without the type of its numbers.
fn plain(name: &str) -> &str {
    name.strip_suffix("_f32").or_else(|| name.strip_suffix("_bf16")).unwrap_or(name)
}

#[test]
fn every_kernel_has_a_prediction_and_every_prediction_a_kernel() {
    let kernels: BTreeSet<String> = FAMILIES.iter().flat_map(|(family, text)| names_of(family, text)).collect();
    assert!(kernels.len() > 200, "{} kernels", kernels.len());
    let rows = rows();
    let known = |name: &str, pattern: &String| fits(pattern, name) || fits(pattern, plain(name));
    let patterns: Vec<&String> = rows.iter().flat_map(|row| &row.names).collect();
    let lacking: Vec<_> = kernels.iter().filter(|name| !patterns.iter().any(|of| known(name, of))).collect();
    assert!(lacking.is_empty(), "no row for {lacking:?}");
    let stale: Vec<_> = patterns.iter().filter(|of| !kernels.iter().any(|name| known(name, of))).collect();
    assert!(stale.is_empty(), "no kernel for {stale:?}");
    for row in rows {
        let told = row.cells.len() == 6 && row.cells[..4].iter().all(|cell| !cell.is_empty());
        assert!(told, "{:?}: shape, bytes, operations, predicted, measured and card, not {:?}", row.names, row.cells);
    }
}
