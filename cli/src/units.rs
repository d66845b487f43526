//! Numbers for people.

/// A count in at most four digits and a unit: `9999`, `12.3k`, `4.56M`.
pub(crate) fn count(number: u64) -> String {
    scaled(number, 10_000, &["", "k", "M", "G", "T", "P", "E"])
}

/// Bytes: `512 B`, `12.3 kB`, `4.56 MB`.
pub(crate) fn bytes(number: u64) -> String {
    scaled(number, 1_000, &[" B", " kB", " MB", " GB", " TB", " PB", " EB"])
}

/// A length of time: `250 ms`, `12.3 s`, `5 min`, `7 h`.
pub(crate) fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

/// As it is below `whole`, else with three digits and the unit that fits.
fn scaled(number: u64, whole: u64, units: &[&str]) -> String {
    if number < whole {
        return format!("{number}{}", units.first().unwrap_or(&""));
    }
    let (mut scale, mut unit) = (1_u64, 0);
    while number / scale >= 1_000 && unit + 1 < units.len() {
        scale *= 1_000;
        unit += 1;
    }
    let (integer, rest) = (number / scale, number % scale);
    let unit = units[unit];
    match integer {
        100.. => format!("{integer}{unit}"),
        10..100 => format!("{integer}.{}{unit}", rest * 10 / scale),
        _ => format!("{integer}.{:02}{unit}", u128::from(rest) * 100 / u128::from(scale)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_keep_three_digits() {
        let shown = [0, 9_999, 10_000, 12_345, 999_999, 1_000_000, 45_678_901, u64::MAX].map(count);
        assert_eq!(shown, ["0", "9999", "10.0k", "12.3k", "999k", "1.00M", "45.6M", "18.4E"]);
    }

    #[test]
    fn bytes_have_a_unit() {
        let shown = [0, 999, 1_000, 1_234_567, 98_765_432_100].map(bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.00 kB", "1.23 MB", "98.7 GB"]);
    }

    #[test]
    fn durations_get_coarser() {
        let shown = [0, 999, 1_250, 59_999, 60_000, 7_199_999, 7_200_000].map(duration);
        assert_eq!(shown, ["0 ms", "999 ms", "1.2 s", "59.9 s", "1 min", "119 min", "2 h"]);
    }
}
