//! Tar archives: of one file, for copying it into a container, and the headers of longer ones. Pure.

/// What an archive is made of.
pub(crate) const BLOCK: usize = 512;
/// What an archive ends in.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// A file as it shall lie in a container.
pub(crate) struct File<'a> {
    /// Absolute path.
    pub(crate) path: &'a str,
    /// Its text.
    pub(crate) content: &'a [u8],
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Permission bits.
    pub(crate) mode: u32,
}

/// What is described by a header.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind<'a> {
    /// A file of so many bytes, which follow.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link, and where it leads.
    Link(&'a [u8]),
}

/// A header, before it is one. Its time is always 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Relative path, without a slash at its end.
    pub(crate) path: &'a [u8],
    /// What it is.
    pub(crate) kind: Kind<'a>,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner, below 2^21.
    pub(crate) uid: u32,
    /// Group, below 2^21.
    pub(crate) gid: u32,
}

/// A POSIX archive holding `file`, for extraction at `/`. `None`: the path is not absolute, or an owner is out of range.
pub(crate) fn archive(file: &File<'_>) -> Option<Vec<u8>> {
    let path = file.path.strip_prefix('/').filter(|path| !path.is_empty())?;
    let in_range = |id: u32| id < 0o10_000_000;
    if !in_range(file.uid) || !in_range(file.gid) {
        return None;
    }
    let mut out = header(&Entry {
        path: path.as_bytes(),
        kind: Kind::File(file.content.len() as u64),
        mode: file.mode,
        uid: file.uid,
        gid: file.gid,
    });
    out.extend_from_slice(file.content);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    out.extend_from_slice(&END);
    Some(out)
}

/// How many zeros follow a content of `size` bytes.
pub(crate) fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    (BLOCK - over) % BLOCK
}

/// The header of an entry, with one of its own before it for what does not fit (POSIX.1-2001, pax).
pub(crate) fn header(entry: &Entry<'_>) -> Vec<u8> {
    let (typ, size, link): (_, _, &[u8]) = match entry.kind {
        Kind::File(size) => (b'0', size, b""),
        Kind::Directory => (b'5', 0, b""),
        Kind::Link(to) => (b'2', 0, to),
    };
    let mut path = entry.path.to_vec();
    if typ == b'5' {
        path.push(b'/');
    }
    let mut more = Vec::new();
    let (prefix, name) = split(&path).unwrap_or_else(|| {
        record(&mut more, "path", &path);
        (b"", &path[..100])
    });
    if link.len() > 100 {
        record(&mut more, "linkpath", link);
    }
    if size > MOST {
        record(&mut more, "size", size.to_string().as_bytes());
    }
    let owner = (entry.uid, entry.gid);
    let mut out = Vec::with_capacity(BLOCK);
    if !more.is_empty() {
        let about = more.len() as u64;
        out.extend_from_slice(&block(b"", b"pax", b'x', about, b"", 0o644, owner));
        out.append(&mut more);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    let link = &link[..link.len().min(100)];
    let size = if size > MOST { 0 } else { size };
    out.extend_from_slice(&block(prefix, name, typ, size, link, entry.mode, owner));
    out
}

/// The largest size that a header has room for.
const MOST: u64 = 0o77_777_777_777;

fn block(
    prefix: &[u8],
    name: &[u8],
    typ: u8,
    size: u64,
    link: &[u8],
    mode: u32,
    (uid, gid): (u32, u32),
) -> [u8; BLOCK] {
    let mut header = [0u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name);
    put(100, format!("{:07o}\0", mode & 0o7777).as_bytes());
    put(108, format!("{:07o}\0", uid & 0o7_777_777).as_bytes());
    put(116, format!("{:07o}\0", gid & 0o7_777_777).as_bytes());
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[typ]);
    put(157, link);
    put(257, b"ustar\x0000");
    put(345, prefix);
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Adds `<length> <key>=<value>\n`; the length counts its own digits too.
fn record(to: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    to.extend_from_slice(format!("{length} {key}=").as_bytes());
    to.extend_from_slice(value);
    to.push(b'\n');
}

/// The content of the only file of a ustar archive; `None` where there is no such file or it is cut short.
pub(crate) fn only_file(archive: &[u8]) -> Option<&[u8]> {
    let header = archive.get(..512)?;
    let regular = matches!(header.get(156)?, b'0' | 0);
    let digits = std::str::from_utf8(header.get(124..136)?)
        .ok()?
        .trim_matches([' ', '\0']);
    let size = usize::from_str_radix(digits, 8).ok()?;
    if !regular {
        return None;
    }
    archive.get(512..512usize.checked_add(size)?)
}

/// Splits a path so that both parts fit: 155 bytes, a slash, 100 bytes.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let mut parts = slashes.map(|(at, _)| (&path[..at], &path[at + 1..]));
    parts.find(|(prefix, name)| prefix.len() <= 155 && name.len() <= 100 && !name.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_system_tar_reads_it() {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let long = format!("/{}/{}", "d".repeat(90), "f".repeat(60));
        let longer = format!("/{}/{}", "d".repeat(160), "f".repeat(160));
        for path in ["/etc/app.conf", long.as_str(), longer.as_str()] {
            let file = File {
                path,
                content: b"hello\n",
                uid: 7,
                gid: 8,
                mode: 0o440,
            };
            if path != longer {
                assert_eq!(only_file(&archive(&file).unwrap()), Some(file.content));
            }
            let mut tar = Command::new("tar")
                .args(["-tvf", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            tar.stdin
                .take()
                .unwrap()
                .write_all(&archive(&file).unwrap())
                .unwrap();
            let out = tar.wait_with_output().unwrap();
            let listed = String::from_utf8(out.stdout).unwrap();
            assert!(out.status.success());
            assert!(listed.starts_with("-r--r----- 7/8 "), "{listed}");
            assert!(listed.trim_end().ends_with(&path[1..]), "{listed}");
        }
        let file = File {
            path: "relative",
            content: b"",
            uid: 0,
            gid: 0,
            mode: 0,
        };
        assert!(archive(&file).is_none());
        let owner = File {
            path: "/a",
            uid: 1 << 21,
            ..file
        };
        assert!(archive(&owner).is_none());
    }

    #[test]
    fn a_record_counts_its_own_digits() {
        let mut records = Vec::new();
        record(&mut records, "path", &[b'a'; 90]);
        record(&mut records, "path", &[b'a'; 91]);
        let text = String::from_utf8(records).unwrap();
        let lengths: Vec<_> = text
            .lines()
            .map(|line| (line.len() + 1, line.split(' ').next().unwrap()))
            .collect();
        assert_eq!(lengths, [(99, "99"), (101, "101")]);
    }
}
