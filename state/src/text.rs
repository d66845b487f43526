//! Text for people: what others have written as one harmless line, and moments as dates.

use std::fmt::{self, Display, Write};

/// Text of others (of records, keys, errors, files) as one line on which neither a terminal nor a log acts.
///
/// Control characters (C0, DEL and C1), line and paragraph separators, and the marks that turn the direction of text
/// round are escaped as in JSON: `\n`, `\u001b`, `\u202e`. All else stays as it is, backslashes included. So JSON stays
/// JSON with the same meaning, as it has such characters only inside of its texts, and to escape twice is to escape
/// once.
///
/// ```
/// let cause = "no\nERROR forged \u{1b}[2J";
/// assert_eq!(watershed_state::shown(cause).to_string(), r"no\nERROR forged \u001b[2J");
/// ```
pub fn shown<T: Display>(text: T) -> Shown<T> {
    Shown(text)
}

/// Made by [`shown`].
#[derive(Debug, Clone, Copy)]
pub struct Shown<T>(T);

impl<T: Display> Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

/// Whether a terminal, a log or a reader may take this character for something else than text.
pub fn is_shown_escaped(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_shown_escaped(*c)) {
            self.0.write_str(&rest[..at])?;
            match c {
                '\n' => self.0.write_str("\\n")?,
                '\r' => self.0.write_str("\\r")?,
                '\t' => self.0.write_str("\\t")?,
                // None of them needs more than four digits.
                c => write!(self.0, "\\u{:04x}", u32::from(c))?,
            }
            rest = &rest[at + c.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

/// A moment, given in milliseconds since 1970, as ISO 8601 writes it: `2026-11-26T21:14:03.250Z`. One that is no date
/// of the years 0 to 9999, as event time may be, stays a number.
pub fn iso_time(ms: i64) -> String {
    const DAY: i64 = 24 * 60 * 60;
    const YEARS: std::ops::Range<i64> = -62_167_219_200_000..253_402_300_800_000;
    if !YEARS.contains(&ms) {
        return ms.to_string();
    }
    let (seconds, milli) = (ms.div_euclid(1_000), ms.rem_euclid(1_000));
    let (day, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    // Years begin in March here, so that the leap day is the last of one; 400 of them have 146097 days.
    let day = day + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + next;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_a_terminal_or_a_log_would_act_on_is_escaped_and_all_else_is_kept() {
        let escaped = |text: &str| shown(text).to_string();
        assert_eq!(escaped("a\nb\r\tc\0\x1b[2J\x7f"), r"a\nb\r\tc\u0000\u001b[2J\u007f");
        assert_eq!(escaped("\u{9b}2J\u{85}\u{2028}\u{2029}"), r"\u009b2J\u0085\u2028\u2029");
        assert_eq!(escaped("\u{202e}x\u{2066}\u{200f}\u{61c}\u{feff}"), r"\u202ex\u2066\u200f\u061c\ufeff");
        let kept = "C:\\n «größer» 東京 👩\u{200d}🚀 {\"a\":\"\\u001b\"}";
        assert_eq!(escaped(kept), kept);
        assert_eq!(escaped(&escaped("\x1b\n")), escaped("\x1b\n"));
    }

    #[test]
    fn moments_are_dates_and_times() {
        let shown =
            [0, -1, 951_782_399_999, 951_782_400_000, 1_735_689_599_000, 1_795_727_643_250].map(iso_time);
        let expected = [
            "1970-01-01T00:00:00.000Z",
            "1969-12-31T23:59:59.999Z",
            "2000-02-28T23:59:59.999Z",
            "2000-02-29T00:00:00.000Z",
            "2024-12-31T23:59:59.000Z",
            "2026-11-26T21:14:03.250Z",
        ];
        assert_eq!(shown, expected);
        let ends = [-62_167_219_200_001, -62_167_219_200_000, 253_402_300_799_999, 253_402_300_800_000];
        let expected =
            ["-62167219200001", "0000-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "253402300800000"];
        assert_eq!(ends.map(iso_time), expected);
    }
}
