//! Percentiles of what was measured.

/// The smallest number that so many percent of all are not above; 0 of none.
///
/// ```
/// use watershed_bench::percentile::percentile;
///
/// assert_eq!([50.0, 99.0, 100.0].map(|percent| percentile(&[1, 2, 3, 4], percent)), [2, 4, 4]);
/// ```
pub fn percentile<T: Copy + Default>(sorted: &[T], percent: f64) -> T {
    let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
}
