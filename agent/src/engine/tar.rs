//! A tar archive of one file, for copying it into a container. Pure.

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

/// A POSIX ustar archive holding `file`, for extraction at `/`. `None`: the path is too long or not absolute.
pub(crate) fn archive(file: &File<'_>) -> Option<Vec<u8>> {
    const BLOCK: usize = 512;
    let (prefix, name) = split(file.path.strip_prefix('/')?)?;
    let mut header = [0u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, format!("{:07o}\0", file.mode & 0o7777).as_bytes());
    put(108, octal(file.uid)?.as_bytes());
    put(116, octal(file.gid)?.as_bytes());
    put(124, format!("{:011o}\0", file.content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(345, prefix.as_bytes());
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = header.to_vec();
    out.extend_from_slice(file.content);
    out.resize(out.len().div_ceil(BLOCK) * BLOCK + 2 * BLOCK, 0);
    Some(out)
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

fn octal(id: u32) -> Option<String> {
    (id < 0o10_000_000).then(|| format!("{id:07o}\0"))
}

/// Splits a path so that both parts fit: 155 bytes, a slash, 100 bytes.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.is_empty() {
        return None;
    }
    if path.len() <= 100 {
        return Some(("", path));
    }
    let slashes = path
        .match_indices('/')
        .map(|(at, _)| (&path[..at], &path[at + 1..]));
    slashes
        .into_iter()
        .find(|(prefix, name)| prefix.len() <= 155 && name.len() <= 100 && !name.is_empty())
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
        for path in ["/etc/app.conf", long.as_str()] {
            let file = File {
                path,
                content: b"hello\n",
                uid: 7,
                gid: 8,
                mode: 0o440,
            };
            assert_eq!(only_file(&archive(&file).unwrap()), Some(file.content));
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
    }
}
