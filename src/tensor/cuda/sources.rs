//! The text of every kernel file, part of the program.

use std::collections::BTreeSet;
use std::fmt::Write;

/// Every header that kernel files include: its name and its text.
pub const HEADERS: &[(&str, &str)] = &[
    ("attention.cuh", include_str!("../../../kernels/attention.cuh")),
    ("channels.cuh", include_str!("../../../kernels/channels.cuh")),
    ("common.cuh", include_str!("../../../kernels/common.cuh")),
    ("conv.cuh", include_str!("../../../kernels/conv.cuh")),
    ("fft.cuh", include_str!("../../../kernels/fft.cuh")),
    ("functions.cuh", include_str!("../../../kernels/functions.cuh")),
    ("matmul.cuh", include_str!("../../../kernels/matmul.cuh")),
    ("mma.cuh", include_str!("../../../kernels/mma.cuh")),
    ("parts.cuh", include_str!("../../../kernels/parts.cuh")),
    ("pieces.cuh", include_str!("../../../kernels/pieces.cuh")),
    ("rows.cuh", include_str!("../../../kernels/rows.cuh")),
    ("tiles.cuh", include_str!("../../../kernels/tiles.cuh")),
    ("wgmma.cuh", include_str!("../../../kernels/wgmma.cuh")),
    ("wide.cuh", include_str!("../../../kernels/wide.cuh")),
];

/// Every kernel file: its name without the ending, and its text.
pub const FAMILIES: &[(&str, &str)] = &[
    ("attention", include_str!("../../../kernels/attention.cu")),
    ("attention_mma", include_str!("../../../kernels/attention_mma.cu")),
    ("attention_table", include_str!("../../../kernels/attention_table.cu")),
    ("conv", include_str!("../../../kernels/conv.cu")),
    ("conv_weight", include_str!("../../../kernels/conv_weight.cu")),
    ("conv_wide", include_str!("../../../kernels/conv_wide.cu")),
    ("data", include_str!("../../../kernels/data.cu")),
    ("diffusion", include_str!("../../../kernels/diffusion.cu")),
    ("elementwise", include_str!("../../../kernels/elementwise.cu")),
    ("fields", include_str!("../../../kernels/fields.cu")),
    ("fft", include_str!("../../../kernels/fft.cu")),
    ("fft_long", include_str!("../../../kernels/fft_long.cu")),
    ("graph", include_str!("../../../kernels/graph.cu")),
    ("index", include_str!("../../../kernels/index.cu")),
    ("layer_norm", include_str!("../../../kernels/layer_norm.cu")),
    ("loss", include_str!("../../../kernels/loss.cu")),
    ("matmul", include_str!("../../../kernels/matmul.cu")),
    ("matmul_split", include_str!("../../../kernels/matmul_split.cu")),
    ("matmul_wide", include_str!("../../../kernels/matmul_wide.cu")),
    ("memory", include_str!("../../../kernels/memory.cu")),
    ("norm", include_str!("../../../kernels/norm.cu")),
    ("optimiser", include_str!("../../../kernels/optimiser.cu")),
    ("pool", include_str!("../../../kernels/pool.cu")),
    ("packed", include_str!("../../../kernels/packed.cu")),
    ("random", include_str!("../../../kernels/random.cu")),
    ("recurrent", include_str!("../../../kernels/recurrent.cu")),
    ("reduce", include_str!("../../../kernels/reduce.cu")),
    ("resize", include_str!("../../../kernels/resize.cu")),
    ("softmax", include_str!("../../../kernels/softmax.cu")),
    ("sort", include_str!("../../../kernels/sort.cu")),
    ("splat", include_str!("../../../kernels/splat.cu")),
];

/// The text of a family.
pub(super) fn family(name: &str) -> Option<&'static str> {
    FAMILIES.iter().find(|(family, _)| *family == name).map(|(_, text)| *text)
}

/// A kernel file with each of [`HEADERS`] pasted where it is included first; compilers still name the lines of the files.
pub(super) fn pasted(file: &str, text: &str) -> String {
    let mut result = String::new();
    paste(file, text, &mut BTreeSet::new(), &mut result);
    result
}

fn paste<'a>(file: &str, text: &'a str, seen: &mut BTreeSet<&'a str>, result: &mut String) {
    // Writing to a string does not fail.
    let _ = writeln!(result, "#line 1 \"{file}\"");
    for (number, line) in text.lines().enumerate() {
        match included(line) {
            None if line.trim() == "#pragma once" => result.push('\n'),
            None => result.extend([line, "\n"]),
            Some((name, _)) if !seen.insert(name) => result.push('\n'),
            Some((name, header)) => {
                paste(name, header, seen, result);
                let _ = writeln!(result, "#line {} \"{file}\"", number + 2);
            }
        }
    }
}

/// The header that a line includes, where it is one of ours.
fn included(line: &str) -> Option<(&'static str, &'static str)> {
    let name = line.trim().strip_prefix("#include \"")?.strip_suffix('"')?;
    HEADERS.iter().find(|(header, _)| *header == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_pasted_once_and_lines_keep_their_numbers() {
        let text = pasted("a.cu", "// one\n#include \"functions.cuh\"\n#include \"common.cuh\"\nint four;\n");
        assert_eq!(text.matches("struct bf16 {").count(), 1);
        assert!(text.find("struct bf16 {") < text.find("struct Function {"));
        assert!(!text.contains("#include \"functions") && !text.contains("#pragma once"));
        assert!(text.ends_with("#line 3 \"a.cu\"\n\nint four;\n"), "{}", &text[text.len() - 60..]);
    }

    #[test]
    fn every_file_of_kernels_is_part_of_the_program() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let known = match path.extension().and_then(|e| e.to_str()) {
                Some("cu") => family(name.trim_end_matches(".cu")).is_some(),
                Some("cuh") => HEADERS.iter().any(|(header, _)| *header == name),
                _ => true,
            };
            assert!(known, "{name} is not named in sources.rs");
        }
    }
}
