//! Text that is safe to show, and as wide as it looks.

use unicode_width::UnicodeWidthStr as _;

/// `text` in one line, with everything that a terminal would obey, that XML forbids, or that turns
/// the direction of writing, written out.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => cleaned.push(' '),
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => cleaned.extend(c.escape_unicode()),
            _ if c.is_control() => cleaned.extend(c.escape_unicode()),
            _ => cleaned.push(c),
        }
    }
    cleaned
}

/// How many columns of a terminal `text` takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// `text` in lines of at most `columns`, broken at spaces; a longer word stays whole.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && columns < width(&line) + 1 + width(word) {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(
            clean("a\u{1b}[31mb\u{0}\r\u{202e}c\n\u{85}"),
            "a\\u{1b}[31mb\\u{0}\\u{d}\\u{202e}c \\u{85}"
        );
        assert_eq!(clean("Grüße, 世界"), "Grüße, 世界");
    }

    #[test]
    fn lines_break_at_spaces_and_long_words_stay_whole() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable", 3), ["unbreakable"]);
        assert_eq!(wrap("世界 世界", 5), ["世界", "世界"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
