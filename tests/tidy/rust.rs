//! Enough of Rust's grammar to tell code from comments, strings and tests.

/// The code with comments, strings and characters blanked out, line for line.
pub(crate) fn code_only(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let length = skipped(rest, before);
        let taken = if length > 0 { length } else { c.len_utf8() };
        match length {
            0 => code.push(c),
            _ => code.extend(rest[..taken].chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
        }
        before = c;
        rest = &rest[taken..];
    }
    code
}

/// The code without every item that follows `#[cfg(test)]`, line for line; `code` has no comments or strings.
pub(crate) fn without_tests(code: &str) -> String {
    let Some(start) = code.find("#[cfg(test)]") else { return code.to_string() };
    let length = item_length(&code[start..]);
    let blank: String = code[start..start + length].chars().filter(|c| *c == '\n').collect();
    format!("{}{blank}{}", &code[..start], without_tests(&code[start + length..]))
}

/// The length of an item: up to its closing brace, or its semicolon where that comes first.
fn item_length(item: &str) -> usize {
    let mut depth = 0;
    for (at, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (c == '}' || c == ';') {
            return at + 1;
        }
    }
    item.len()
}

/// The length of the comment, string or character that begins here; 0 where code does.
fn skipped(rest: &str, before: char) -> usize {
    let word = before.is_alphanumeric() || before == '_';
    match rest.as_bytes() {
        [b'/', b'/', ..] => rest.find('\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => rest.find("*/").map_or(rest.len(), |end| end + 2),
        [b'"', ..] => quoted(rest),
        [b'r', b'"' | b'#', ..] if !word => raw(rest),
        [b'b', b'r', b'"' | b'#', ..] if !word => 1 + raw(&rest[1..]),
        [b'\'', ..] => character(rest),
        _ => 0,
    }
}

/// The length of a string with escapes.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    rest.len()
}

/// The length of a raw string; 0 for a raw identifier.
fn raw(rest: &str) -> usize {
    let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
    if !rest[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    rest[2 + hashes..].find(&end).map_or(rest.len(), |at| 2 + hashes + at + end.len())
}

/// The length of a character literal; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((escaped, _))) => rest[escaped + 1..].find('\'').map_or(0, |at| escaped + at + 2),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}
