//! The terminal: pictures that replace each other in place.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};

use terminal_size::{Height, terminal_size};
use watershed_state::shown;

/// Whether somebody looks at the output as it comes.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Shows lines in place of those before. It is one write, and nothing is wiped that is written again, so nothing
/// flickers.
pub(crate) fn show(lines: &[String], is_first: bool) -> io::Result<()> {
    let height = terminal_size().map_or(usize::MAX, |(_, Height(height))| usize::from(height));
    let mut stdout = io::stdout().lock();
    stdout.write_all(frame(lines, height, is_first).as_bytes())?;
    stdout.flush()
}

/// What is written to a terminal of so many lines. Lines that are too long are cut by the terminal.
fn frame(lines: &[String], height: usize, is_first: bool) -> String {
    const HOME: &str = "\x1b[H";
    const CLEAR_ALL: &str = "\x1b[2J";
    const CLEAR_TO_END_OF_LINE: &str = "\x1b[K";
    const CLEAR_BELOW: &str = "\x1b[J";
    const WRAP_OFF: &str = "\x1b[?7l";
    const WRAP_ON: &str = "\x1b[?7h";
    let mut frame = String::from(WRAP_OFF);
    if is_first {
        frame.push_str(CLEAR_ALL);
    }
    frame.push_str(HOME);
    // The cursor comes to stand below the last line.
    let room = height.saturating_sub(1).max(1);
    let fit = if lines.len() <= room { lines.len() } else { room - 1 };
    for line in &lines[..fit] {
        let _ = fmt::Write::write_fmt(&mut frame, format_args!("{}{CLEAR_TO_END_OF_LINE}\r\n", shown(line)));
    }
    if fit < lines.len() {
        let more = lines.len() - fit;
        let _ = fmt::Write::write_fmt(
            &mut frame,
            format_args!("… and {more} more lines{CLEAR_TO_END_OF_LINE}\r\n"),
        );
    }
    frame + CLEAR_BELOW + WRAP_ON
}

/// Writes a line: text or JSON, with what a terminal would act on [escaped](shown).
pub(crate) fn say(out: &mut impl Write, line: impl Display) -> io::Result<()> {
    writeln!(out, "{}", shown(line))
}

/// Says something that is no output to whoever runs the tool.
#[expect(clippy::print_stderr, reason = "the one place that does")]
pub(crate) fn note(text: impl Display) {
    eprintln!("watershed: {}", shown(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<String> {
        (0..count).map(|line| format!("line {line}")).collect()
    }

    #[test]
    fn a_picture_covers_the_one_before_and_clears_what_is_below() {
        assert_eq!(
            frame(&lines(2), 24, false),
            "\x1b[?7l\x1b[Hline 0\x1b[K\r\nline 1\x1b[K\r\n\x1b[J\x1b[?7h"
        );
        assert!(frame(&lines(2), 24, true).starts_with("\x1b[?7l\x1b[2J\x1b[H"));
    }

    #[test]
    fn a_picture_never_scrolls() {
        for (count, height) in [(23, 24), (24, 24), (100, 24), (3, 1), (1, 1)] {
            let frame = frame(&lines(count), height, false);
            let written = frame.matches("\r\n").count();
            assert!(written < height.max(2), "{written} lines on {height}");
            assert_eq!(frame.contains("more lines"), count >= height.max(2), "{count} lines on {height}");
        }
    }

    #[test]
    fn what_others_have_written_cannot_move_the_cursor() {
        let hostile = "oh\x1b[2J\nno\u{9b}";
        let mut said = Vec::new();
        say(&mut said, hostile).unwrap();
        assert_eq!(String::from_utf8(said).unwrap(), "oh\\u001b[2J\\nno\\u009b\n");
        let frame = frame(&[hostile.to_string()], 24, false);
        assert!(frame.contains("oh\\u001b[2J\\nno\\u009b"), "{frame:?}");
    }
}
