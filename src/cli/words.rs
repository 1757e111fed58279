//! Numbers and tables in the form that every verb prints them in.

use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::config::Bytes;

/// JSON for a file or a screen, ending with a line break.
pub(super) fn pretty(json: &Json) -> String {
    format!("{json:#}\n")
}

/// `number` with its digits in groups of three, as a flag takes it: `1_234_567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// A size to be read at a glance: rounded up to a whole number of the largest unit of which there
/// are ten at least.
pub(super) fn size(bytes: u64) -> String {
    let units = [1 << 40, 1 << 30, 1 << 20, 1 << 10];
    let unit = units.into_iter().find(|unit| unit * 10 <= bytes).unwrap_or(1);
    Bytes(bytes.div_ceil(unit).checked_mul(unit).unwrap_or(bytes / unit * unit)).to_string()
}

/// Rows as columns: the first flush left, the others flush right.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            let _ = match column {
                0 => write!(line, "{cell:width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_to_be_read() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1_234_567");
        assert_eq!(grouped(100_000), "100_000");
        for (bytes, shown) in [
            (0, "0B"),
            (9_000, "9000B"),
            (10_240, "10KiB"),
            (10_241, "11KiB"),
            (u64::MAX, "16777215TiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "bcd"], ["abc", "d"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "a    bcd\nabc    d\n");
    }
}
