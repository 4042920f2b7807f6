//! Links in a file's root that lead to another name or another file, which the ranged reader does not follow.
//!
//! After the HDF5 File Format Specification 3.0: groups of old files have a symbol table (III.B, III.C), those of newer
//! ones a message a link (IV.A.2.g) while there are few; links in a group of many (a fractal heap) are not found.

use hdf5_pure::Source;

use super::blocks::Blocks;

/// Parts of a header, and nodes of a table, that are looked at; more are in no sound group of links.
const MOST_PARTS: usize = 64;
const MOST_NODES: usize = 16_384;
/// Bytes of one part.
const LONGEST: u64 = 1 << 20;
const SYMBOL_TABLE: u64 = 0x11;
const LINK: u64 = 0x06;
const CONTINUATION: u64 = 0x10;
/// What the entry of a symbol table says of a soft link.
const SOFT: u64 = 2;

/// Where a link leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// To another name of the same file.
    Soft(String),
    /// To another file.
    External(String),
}

/// Why a dataset is not read that is found in another file, and what to do.
pub(super) fn leads_out(file: &str) -> String {
    format!(
        "as a link to the file `{file}`, and a dataset is read from one file alone; name that file itself, or write the \
         values into this one (h5py: `file[name] = other[name][()]`)"
    )
}

/// Groups of a file.
pub(super) struct Groups<'a> {
    /// The file.
    pub(super) blocks: &'a Blocks,
    /// Where the file's addresses count from.
    pub(super) base: u64,
}

impl Groups<'_> {
    /// The link of this name in the group whose header is at `group`, if it is one to another name or file.
    ///
    /// A symbol table, which may have thousands of names, is looked through where `is_in_table` says that it has this.
    pub(super) fn find(&self, group: u64, name: &str, is_in_table: bool) -> Option<Link> {
        let messages = self.messages(group)?;
        messages.iter().find_map(|(kind, body)| match *kind {
            LINK => link(body, name),
            SYMBOL_TABLE if is_in_table => self.in_table(number(body, 0, 8)?, number(body, 8, 8)?, name),
            _ => None,
        })
    }

    fn read(&self, at: u64, length: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).ok().filter(|_| length <= LONGEST)?];
        self.blocks.read_at(self.base.checked_add(at)?, &mut bytes).ok()?;
        Some(bytes)
    }

    /// The messages of an object's header, each with its kind.
    fn messages(&self, at: u64) -> Option<Vec<(u64, Vec<u8>)>> {
        let head = self.read(at, 16)?;
        let is_new = head.starts_with(b"OHDR");
        let flags = if is_new { number(&head, 5, 1)? } else { 0 };
        let (mut parts, prefix) = if is_new {
            let place = 6 + if flags & 0x20 > 0 { 16 } else { 0 } + if flags & 0x10 > 0 { 4 } else { 0 };
            let width = 1 << (flags & 3);
            let place = at.checked_add(place)?;
            let length = number(&self.read(place, width)?, 0, width as usize)?;
            (vec![(place.checked_add(width)?, length)], 4 + if flags & 4 > 0 { 2 } else { 0 })
        } else {
            (vec![(at.checked_add(16)?, number(&head, 8, 4)?)], 8)
        };
        let (mut found, mut looked) = (Vec::new(), 0);
        while let Some((start, length)) = parts.pop() {
            looked += 1;
            for (kind, body) in split(&self.read(start, length)?, is_new, prefix) {
                if kind == CONTINUATION && looked < MOST_PARTS {
                    let (start, length) = (number(&body, 0, 8)?, number(&body, 8, 8)?);
                    // A signature before it and a checksum behind it.
                    parts.push(if is_new { (start.checked_add(4)?, length.checked_sub(8)?) } else { (start, length) });
                }
                found.push((kind, body));
            }
        }
        Some(found)
    }

    /// Every name in the symbol table of the group whose header is at `group`; `None` where it has none.
    pub(super) fn names(&self, group: u64) -> Option<Vec<String>> {
        let messages = self.messages(group)?;
        let (_, body) = messages.iter().find(|(kind, _)| *kind == SYMBOL_TABLE)?;
        let entries = self.entries(number(body, 0, 8)?, number(body, 8, 8)?)?;
        Some(entries.into_iter().map(|(name, _)| name).collect())
    }

    /// The soft link of a name in the symbol table whose tree and names are at these places.
    fn in_table(&self, tree: u64, heap: u64, name: &str) -> Option<Link> {
        let (_, target) = self.entries(tree, heap)?.into_iter().find(|(found, _)| found == name)?;
        target.map(Link::Soft)
    }

    /// The names of a symbol table, those of soft links with where they lead.
    fn entries(&self, tree: u64, heap: u64) -> Option<Vec<(String, Option<String>)>> {
        let heap = self.read(heap, 32).filter(|heap| heap.starts_with(b"HEAP"))?;
        let names = self.read(number(&heap, 24, 8)?, number(&heap, 8, 8)?)?;
        let (mut nodes, mut found, mut looked) = (vec![tree], Vec::new(), 0);
        while let Some(node) = nodes.pop().filter(|_| looked < MOST_NODES) {
            looked += 1;
            let head = self.read(node, 24)?;
            let count = number(&head, 6, 2)?;
            if head.starts_with(b"SNOD") {
                let entries = self.read(node.checked_add(8)?, count * 40)?;
                found.extend(entries.chunks(40).filter_map(|entry| named(entry, &names)));
            } else {
                let children = self.read(node.checked_add(24)?, count * 16)?;
                nodes.extend(children.chunks(16).filter_map(|pair| number(pair, 8, 8)));
            }
        }
        Some(found)
    }
}

/// The name of an entry of a symbol table, and where it leads if it is a soft link.
fn named(entry: &[u8], names: &[u8]) -> Option<(String, Option<String>)> {
    let is_soft = number(entry, 16, 4)? == SOFT;
    let target = if is_soft { number(entry, 24, 4).and_then(|at| text(names, at)) } else { None };
    Some((text(names, number(entry, 0, 8)?)?, target))
}

/// The messages in a part of a header, each with its kind; a damaged rest is left out.
fn split(bytes: &[u8], is_new: bool, prefix: usize) -> Vec<(u64, Vec<u8>)> {
    let (kind_width, mut at, mut found) = (if is_new { 1 } else { 2 }, 0, Vec::new());
    while let Some((kind, length)) = number(bytes, at, kind_width).zip(number(bytes, at + kind_width, 2)) {
        let start = at + prefix;
        let Some(body) = bytes.get(start..start + length as usize) else { break };
        found.push((kind, body.to_vec()));
        at = start + body.len();
    }
    found
}

/// Where a link message leads, if it is of this name and not to an object of this file.
fn link(body: &[u8], name: &str) -> Option<Link> {
    let flags = number(body, 1, 1)?;
    let mut at = 2;
    let mut skip = |flag: u64, length: usize| {
        let from = at;
        at += if flags & flag > 0 { length } else { 0 };
        (flags & flag > 0).then_some(from)
    };
    let kind = skip(8, 1).and_then(|at| number(body, at, 1))?;
    skip(4, 8);
    skip(16, 1);
    let width = 1 << (flags & 3) as usize;
    let length = usize::try_from(number(body, at, width)?).ok()?;
    let found = body.get(at + width..)?.get(..length)?;
    let value = body.get(at + width + length + 2..)?;
    match kind {
        _ if found != name.as_bytes() => None,
        1 => Some(Link::Soft(String::from_utf8_lossy(value).trim_end_matches('\0').to_string())),
        64 => text(value, 1).map(Link::External),
        _ => None,
    }
}

/// A whole number of `width` bytes, the least first.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.get(..width)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The text from a place to the next NUL.
fn text(bytes: &[u8], at: u64) -> Option<String> {
    let rest = bytes.get(usize::try_from(at).ok()?..)?;
    Some(String::from_utf8_lossy(rest.split(|byte| *byte == 0).next()?).into_owned())
}
