//! Whether the disk holds a backup: a guess before it is made, and an eye on it while it is.

use super::manifest::Manifest;

/// So much stays free: the disk is often the database's own.
pub(crate) const MARGIN: u64 = 256 << 20;

/// How large the dump of a database of `bytes` may become: as much smaller as the last one was, and a half more; the
/// first one half of it, since a dump has no indexes and is compressed.
pub(super) fn guess(bytes: u64, last: Option<&Manifest>) -> u64 {
    let whole = bytes.max(1);
    let Some(last) = last.filter(|last| last.database_bytes > 0) else {
        return whole / 2;
    };
    let scaled = u128::from(last.bytes) * u128::from(whole) / u128::from(last.database_bytes);
    let scaled = scaled.saturating_mul(3) / 2;
    u64::try_from(scaled).unwrap_or(u64::MAX).clamp(1, whole)
}

/// For people: three digits are enough.
pub(crate) fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if tenths < 1000 {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    } else {
        format!("{} {}", tenths / 10, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifest::tests::sample;
    use super::*;

    #[test]
    fn the_last_dump_says_what_the_next_one_needs() {
        let mut last = sample(1, 0);
        for (dump, database, now, expected) in [
            (100, 1000, 1000, 150),
            (100, 1000, 2000, 300),
            (999, 1000, 1000, 1000),
            (0, 1000, 1000, 1),
            (100, 0, 1000, 500),
            (u64::MAX, 1, u64::MAX, u64::MAX),
        ] {
            (last.bytes, last.database_bytes) = (dump, database);
            assert_eq!(
                guess(now, Some(&last)),
                expected,
                "{dump} of {database}, now {now}"
            );
        }
        assert_eq!(guess(1000, None), 500);
    }

    #[test]
    fn bytes_are_shown_short() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1536, "1.5 KiB"),
            (256 << 20, "256 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16383 PiB"),
        ] {
            assert_eq!(show_bytes(bytes), expected);
        }
    }
}
