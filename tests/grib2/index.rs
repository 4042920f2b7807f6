//! Index files: real ones, files that only bear the ending, and lines that cannot be.

use std::path::Path;

use gustfront::domain::{Earth, Grid, Lead, Projection, Slot, Variable};
use gustfront::formats::grib2::{Encode, Grib2Error, Window, index_line, parse_index};

use crate::data::folder;
use crate::memory::peak;
use crate::round_trip::variable;

fn index_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).expect("a folder of index files");
    let paths = entries.map(|e| e.expect("an entry").path()).filter(|p| p.is_file());
    paths.map(|p| (p.display().to_string(), std::fs::read(&p).expect("a file"))).collect()
}

#[test]
fn real_indexes_give_every_message_its_bytes() {
    let Some(folder) = folder() else { return };
    for (path, text) in index_files(&folder.join("idx")) {
        let entries = parse_index(&text, u64::MAX).unwrap_or_else(|e| panic!("{path}: {e}"));
        let lines = text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).count();
        assert_eq!(entries.len(), lines, "{path}");
        for pair in entries.windows(2) {
            let ([first, second], false) = (pair, pair.len() != 2) else { continue };
            assert!(first.range.end == second.range.start || first.range == second.range, "{path}: {first:?}");
        }
        assert_eq!(entries.last().map(|e| e.range.end), Some(u64::MAX), "{path}");
        assert!(entries.iter().all(|e| !e.variable.is_empty() && !e.window.is_empty()), "{path}");
    }
}

/// `anl`, `A unit fcst` or `A-B unit statistic fcst` as lead and window, unless it can be said in two ways.
fn window(text: &str) -> Option<(Lead, Option<Window>)> {
    let words: Vec<&str> = text.split(' ').collect();
    let (span, unit, statistic) = match words[..] {
        ["anl"] => return Some((Lead(0), None)),
        [span, unit, "fcst"] => (span, unit, None),
        [span, unit, statistic, "fcst"] => {
            (span, unit, ["ave", "acc", "max", "min"].iter().position(|s| *s == statistic))
        }
        _ => return None,
    };
    let minutes = match unit {
        "min" => 1,
        "hour" => 60,
        "day" => 24 * 60,
        _ => return None,
    };
    let (start, end) = span.split_once('-').unwrap_or((span, span));
    let [start, end] = [start, end].map(|n| n.parse::<u32>().expect("a number") * minutes);
    // NCEP says whole hours in minutes where other fields of the file are off the hour.
    let hours_in_minutes = minutes == 1 && start % 60 == 0 && end % 60 == 0;
    let window = statistic.map(|s| Window { length: Lead(end - start), statistic: s as u8 });
    (!hours_in_minutes).then_some((Lead(end), window))
}

#[test]
fn lines_are_written_as_ncep_writes_them() {
    let Some(folder) = folder() else { return };
    let grid = Grid {
        projection: Projection::LatLon,
        earth: Earth::sphere(6_371_229.0),
        nx: 1,
        ny: 1,
        x0: 0.0,
        y0: 0.0,
        dx: 1.0,
        dy: 1.0,
    };
    let (mut compared, mut windows) = (0, 0);
    for (path, text) in index_files(&folder.join("idx")) {
        let text = String::from_utf8(text).expect("text");
        for (line, entry) in text.lines().zip(parse_index(text.as_bytes(), u64::MAX).expect("an index")) {
            let Some((lead, window)) = window(&entry.window).filter(|_| entry.sub.is_none()) else { continue };
            let variable = Variable { index: format!("{}:{}", entry.variable, entry.level), ..variable() };
            let field = Encode { window, ..Encode::new(Slot::new(entry.cycle, lead), &variable, &grid, &[], 0) };
            assert_eq!(index_line(entry.message, entry.range.start, &field), line, "{path}");
            compared += 1;
            windows += usize::from(window.is_some());
        }
    }
    println!("{compared} lines are written as NCEP writes them, {windows} of them of windows");
    assert!(compared > 1000 && windows > 100);
}

#[test]
fn pickles_are_refused_at_their_first_line() {
    let Some(folder) = folder() else { return };
    for (path, text) in index_files(&folder.join("idx/not-an-idx")) {
        let refused = parse_index(&text, u64::MAX);
        assert!(matches!(refused, Err(Grib2Error::Index { line: 1, .. })), "{path}: {refused:?}");
    }
}

#[test]
fn sub_messages_share_their_bytes() {
    let text = b"1:0:d=2023120100:REFC:entire atmosphere:anl:\n\
        2.1:10:d=2023120100:UGRD:10 m above ground:1 hour fcst:\r\n\
        2.2:10:d=2023120100:VGRD:10 m above ground:1 hour fcst:\n\
        3:30:d=202312010015:var discipline=0 center=7 local_table=1 parmcat=16 parm=201:surface:0-1 hour acc fcst:x:y\n";
    let entries = parse_index(text, 50).expect("an index");
    let ranges: Vec<_> = entries.iter().map(|e| (e.message, e.sub, e.range.clone())).collect();
    assert_eq!(ranges, [(1, None, 0..10), (2, Some(1), 10..30), (2, Some(2), 10..30), (3, None, 30..50)]);
    let last = &entries[3];
    assert_eq!(last.variable, "var discipline=0 center=7 local_table=1 parmcat=16 parm=201");
    assert_eq!((last.level.as_str(), last.window.as_str()), ("surface", "0-1 hour acc fcst"));
    assert_eq!(last.cycle.key(), "202312010015");
}

#[test]
fn lines_that_cannot_be_are_named() {
    let good = "1:0:d=2023120100:TMP:surface:anl:\n";
    for (bad, why) in [
        ("2:50:d=2023120100:TMP:surface:anl:", "inside the object"),
        ("2:0:d=2023120100:TMP:surface:anl:", "ascend"),
        ("2:10:d=2023120100:TMP:surface", "message:offset"),
        ("2:10:2023120100:TMP:surface:anl:", "d="),
        ("2:10:d=20231201:TMP:surface:anl:", "d="),
        ("2:10:d=2023133100:TMP:surface:anl:", "d="),
        ("2:+10:d=2023120100:TMP:surface:anl:", "offset"),
        ("2:99999999999999999999:d=2023120100:TMP:surface:anl:", "offset"),
        ("two:10:d=2023120100:TMP:surface:anl:", "number"),
        (":10:d=2023120100:TMP:surface:anl:", "number"),
        ("4294967296:10:d=2023120100:TMP:surface:anl:", "number"),
        ("2.:10:d=2023120100:TMP:surface:anl:", "number"),
        ("2.99999999999:10:d=2023120100:TMP:surface:anl:", "number"),
        ("2::d=2023120100:TMP:surface:anl:", "offset"),
        ("2:18446744073709551616:d=2023120100:TMP:surface:anl:", "offset"),
        ("2:-10:d=2023120100:TMP:surface:anl:", "offset"),
        ("2:10:d=9999999999:TMP:surface:anl:", "d="),
        ("2:10:d=2023120100:TMP\u{1b}[2J:surface:anl:", "control"),
        ("2:10:d=2023120100:TMP:surface\r:anl:", "control"),
        ("\u{feff}2:10:d=2023120100:TMP:surface:anl:", "number"),
    ] {
        let error = parse_index(format!("{good}{bad}").as_bytes(), 50).expect_err(bad).to_string();
        assert!(error.contains("line 2") && error.contains(why), "{bad}: {error}");
    }
    assert!(parse_index(b"", 50).is_err() && parse_index(b"\n\n", 50).is_err());
}

#[test]
fn offsets_that_descend_or_repeat_are_named() {
    let line = |message: &str, offset: u64| format!("{message}:{offset}:d=2023120100:TMP:surface:anl:\n");
    for (second, third) in
        [(("2", 20), ("3", 10)), (("2", 20), ("3", 20)), (("2", 20), ("1", 0)), (("1.2", 0), ("2", 0))]
    {
        let text = [line("1.1", 0), line(second.0, second.1), line(third.0, third.1)].concat();
        let error = parse_index(text.as_bytes(), 50).expect_err(&text).to_string();
        assert!(error.contains("line 3") && error.contains("offsets that ascend"), "{text}: {error}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_where_they_are() {
    let good = b"1:0:d=2023120100:TMP:surface:anl:\n".to_vec();
    for bad in [&b"2:10:d=2023120100:\xff\xfe:surface:anl:"[..], b"\0\0\0\0", b"GRIB\0\0\0\x02", b"\r"] {
        let text = [&good[..], bad].concat();
        match parse_index(&text, 50).map_err(|e| e.to_string()) {
            Err(error) => assert!(error.contains("line 2") && error.contains("expected"), "{error}"),
            Ok(entries) => assert!(bad == b"\r" && entries.len() == 1, "{bad:?}"),
        }
    }
}

/// Strings and ranges of a line of 24 bytes take some 200 bytes.
const HELD_A_BYTE: usize = 16;

#[test]
fn large_indexes_take_memory_and_time_of_their_size() {
    let start = std::time::Instant::now();
    let mut lines: String = (0..200_000).map(|n| format!("{n}:{n}:d=2023120100:T:s:a:\n")).collect();
    lines += "200000:200000:d=2023120100:";
    lines.extend(std::iter::repeat_n('x', 8 << 20));
    let (refused, held) = peak(|| parse_index(lines.as_bytes(), u64::MAX));
    let error = refused.expect_err("a line of megabytes without fields").to_string();
    assert!(error.contains("line 200001") && error.len() < 300 && held < HELD_A_BYTE * lines.len(), "{error} {held}");
    lines += ":s:a:";
    let (entries, held) = peak(|| parse_index(lines.as_bytes(), u64::MAX).expect("an index"));
    assert!(entries.len() == 200_001 && held < HELD_A_BYTE * lines.len(), "{held}");
    let colons = vec![b':'; 8 << 20];
    assert!(parse_index(&colons, u64::MAX).is_err() && parse_index(&vec![b'\n'; 8 << 20], 9).is_err());
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
