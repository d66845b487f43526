//! The line in which a program says what it has measured.

use std::collections::BTreeMap;

use serde_json::Value;

/// Names and values, as they were printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line(BTreeMap<String, String>);

impl Line {
    /// The last line that is a JSON object, or pairs like `rate=1`, and has a rate.
    pub(crate) fn find(output: &str) -> Option<Self> {
        let line = |text: &str| if text.starts_with('{') { object(text) } else { Some(pairs(text)) };
        let lines = output.lines().rev().filter_map(|text| line(text.trim()));
        lines.map(Self).find(|line| line.rate().is_some())
    }

    /// Records per second.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.number("records_per_s").or_else(|| self.number("rate"))
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.parse().ok()
    }

    /// As text, since a number of 64 bits does not survive being a float.
    pub(crate) fn checksum(&self) -> Option<&str> {
        self.0.get("checksum").map(String::as_str)
    }
}

fn object(text: &str) -> Option<BTreeMap<String, String>> {
    let values: BTreeMap<String, Value> = serde_json::from_str(text).ok()?;
    let plain = |value: Value| match value {
        Value::String(text) => text,
        value => value.to_string(),
    };
    Some(values.into_iter().map(|(name, value)| (name, plain(value))).collect())
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_or_pairs() {
        let json = Line::find("hello\n{\"records_per_s\":2.5,\"checksum\":18446744073709551615}\n").unwrap();
        assert_eq!((json.rate(), json.checksum()), (Some(2.5), Some("18446744073709551615")));
        let pairs = Line::find("workload=W1 rate=3 checksum=7 us_p99.9=1.5\nbye").unwrap();
        assert_eq!((pairs.rate(), pairs.checksum()), (Some(3.0), Some("7")));
        assert_eq!(pairs.number("us_p99.9"), Some(1.5));
        assert_eq!(Line::find("no=rate\n{broken"), None);
    }
}
