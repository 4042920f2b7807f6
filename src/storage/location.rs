//! Tells buckets from folders in what a user writes, and object names from what must not be one.

use super::StorageError;

/// Where files live until they are whole; reserved in every store and never listed.
pub(super) const PARTIAL: &str = ".partial";

/// A storage location, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Location {
    Folder,
    Bucket {
        name: String,
        /// Empty, or a folder with its closing slash.
        prefix: String,
    },
}

/// Reads `s3://bucket`, `s3://bucket/prefix` or the path of a folder.
pub(super) fn parse(location: &str) -> Result<Location, StorageError> {
    let wrong = |reason: &str| StorageError::Location { location: location.to_string(), reason: reason.to_string() };
    if let Some(rest) = location.strip_prefix("s3://") {
        return bucket(rest).map_err(wrong);
    }
    let scheme = location.split_once(':').map_or("", |(scheme, _)| scheme);
    match location {
        "" => Err(wrong("it is empty")),
        _ if scheme.eq_ignore_ascii_case("s3") => Err(wrong("a bucket is written with `s3://` in front")),
        _ if location.contains("://") => Err(wrong(&format!("`{scheme}://` is not supported"))),
        _ if location.contains('\0') => Err(wrong("it contains a NUL byte")),
        _ => Ok(Location::Folder),
    }
}

fn bucket(rest: &str) -> Result<Location, &'static str> {
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() {
        return Err("it names no bucket");
    }
    if name.len() < 3 || name.len() > 255 || !name.chars().all(allowed) {
        return Err("a bucket's name has at least 3 letters, digits, dots or hyphens");
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    match prefix {
        "" => Ok(Location::Bucket { name: name.to_string(), prefix: String::new() }),
        _ if !is_key(prefix) => Err("its prefix has empty parts, `.` or `..`"),
        _ => Ok(Location::Bucket { name: name.to_string(), prefix: format!("{prefix}/") }),
    }
}

/// Whether `key` can name an object in every kind of store.
pub(super) fn is_key(key: &str) -> bool {
    let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains(['\\', '\0']);
    !key.split('/').any(odd) && key.split('/').next() != Some(PARTIAL)
}

/// Refuses what cannot name an object.
pub(super) fn check_key(location: &str, key: &str) -> Result<(), StorageError> {
    match is_key(key) {
        true => Ok(()),
        false => Err(StorageError::Key { location: location.to_string(), key: key.to_string() }),
    }
}

/// Refuses the beginning of a key where no key could begin so; returns its folder, without the closing slash.
pub(super) fn check_prefix<'a>(location: &str, prefix: &'a str) -> Result<&'a str, StorageError> {
    match prefix.rsplit_once('/') {
        None => Ok(""),
        Some((folder, _)) if is_key(folder) => Ok(folder),
        Some(_) => Err(StorageError::Key { location: location.to_string(), key: prefix.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(name: &str, prefix: &str) -> Location {
        Location::Bucket { name: name.to_string(), prefix: prefix.to_string() }
    }

    #[test]
    fn buckets_and_folders_are_told_apart() {
        let cases = [
            ("s3://noaa-hrrr-bdp-pds", bucket("noaa-hrrr-bdp-pds", "")),
            ("s3://noaa-hrrr-bdp-pds/", bucket("noaa-hrrr-bdp-pds", "")),
            ("s3://weather/a/b", bucket("weather", "a/b/")),
            ("s3://weather/a/b/", bucket("weather", "a/b/")),
            ("data/hrrr", Location::Folder),
            ("/data/a:b", Location::Folder),
            ("s3", Location::Folder),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn malformed_locations_say_what_is_wrong() {
        let cases = [
            ("", "empty"),
            ("s3:/x", "`s3://` in front"),
            ("S3://bucket", "`s3://` in front"),
            ("s3:bucket/x", "`s3://` in front"),
            ("s3://", "names no bucket"),
            ("s3:///key", "names no bucket"),
            ("s3://ab", "at least 3"),
            ("s3://my bucket", "at least 3"),
            ("s3://bucket//a", "empty parts"),
            ("s3://bucket/a/../b", "`..`"),
            ("gs://bucket", "`gs://` is not supported"),
            ("https://bucket.s3.amazonaws.com", "`https://` is not supported"),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("expected s3://bucket"), "{text}: {error}");
        }
    }

    #[test]
    fn keys_stay_in_the_store() {
        for key in ["a", "a/b.grib2", "a/.partial", "a b/ü", "..a/b.."] {
            assert!(is_key(key), "{key}");
        }
        for key in ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a\\b", "a\0b", ".partial", ".partial/x"] {
            assert!(!is_key(key), "{key}");
        }
    }
}
