//! Durations (`"10ms"`, `"2m"`) and sizes (`"1 MiB"`) as people write them, both ways.

use std::time::Duration;

const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A whole number and a unit: `10ms`, `120s`, `2 m`, `1h`, `7d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &DURATION_UNITS).map(Duration::from_millis)
}

/// The shortest form that [`parse_duration`] reads back, for whole milliseconds.
pub fn format_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    format(ms, &DURATION_UNITS, "ms", "")
}

/// A whole number and a unit, `1 MiB`; without a unit, bytes.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    text.trim()
        .parse()
        .ok()
        .or_else(|| parse(text, &SIZE_UNITS))
}

/// The shortest form that [`parse_size`] reads back.
pub fn format_size(bytes: u64) -> String {
    format(bytes, &SIZE_UNITS, "B", " ")
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

fn format(amount: u64, units: &[(&str, u64)], smallest: &str, space: &str) -> String {
    units
        .iter()
        .find(|(_, scale)| amount >= *scale && amount.is_multiple_of(*scale))
        .map_or_else(
            || format!("{amount}{space}{smallest}"),
            |(unit, scale)| format!("{}{space}{unit}", amount / scale),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        let cases = [
            ("10ms", Some(10)),
            ("120s", Some(120_000)),
            ("2m", Some(120_000)),
            (" 3 h ", Some(10_800_000)),
            ("1d", Some(86_400_000)),
            ("0s", Some(0)),
            ("10", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("1.5s", None),
            ("1m30s", None),
            ("1 M", None),
            ("9999999999999999999s", None),
            ("18446744073709551615d", None),
            ("1\u{20ac}", None),
        ];
        for (text, ms) in cases {
            assert_eq!(
                parse_duration(text),
                ms.map(Duration::from_millis),
                "{text:?}"
            );
        }
    }

    #[test]
    fn sizes_are_a_number_and_a_unit_or_bytes() {
        let cases = [
            ("1 MiB", Some(1_048_576)),
            ("64KiB", Some(65_536)),
            ("2 MB", Some(2_000_000)),
            ("512", Some(512)),
            ("7 B", Some(7)),
            ("1 mib", None),
            ("MiB", None),
            ("99999999999 GiB", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for ms in [0, 1, 999, 1_000, 90_000, 120_000, 86_400_000, 86_400_001] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }
        for bytes in [0, 1, 1_023, 1_024, 1_000_000, 1 << 20, 3 << 30] {
            assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }
        assert_eq!(format_duration(Duration::from_mins(2)), "2m");
        assert_eq!(format_size(1 << 20), "1 MiB");
    }
}
