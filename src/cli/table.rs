//! Tables and figures for people.

/// Alignment of a column.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Lines of a table whose cells are `rows`, the heads of the columns first; two blanks lie between
/// columns. A column that is empty but for its head is left out.
pub(super) fn lines(columns: &[Column], rows: &[Vec<String>]) -> Vec<String> {
    let mut used = Vec::new();
    for column in 0..columns.len() {
        if rows.iter().skip(1).any(|row| !row[column].is_empty()) {
            used.push((column, width(rows, column)));
        }
    }
    let mut lines = Vec::new();
    for row in rows {
        let mut line = String::new();
        for (column, width) in &used {
            let cell = &row[*column];
            let padded = match columns[*column] {
                Column::Left => format!("{cell:<width$}  "),
                Column::Right => format!("{cell:>width$}  "),
            };
            line += &padded;
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

fn width(rows: &[Vec<String>], column: usize) -> usize {
    let widths = rows.iter().map(|row| row[column].chars().count());
    widths.max().unwrap_or(0)
}

/// The same lines, two blanks further right.
pub(super) fn indent(mut lines: Vec<String>) -> Vec<String> {
    for line in &mut lines {
        line.insert_str(0, "  ");
    }
    lines
}

/// Number of things in words: `1 name`, `2 names`, `3 losses`.
pub(super) fn count(number: usize, word: &str) -> String {
    let ending = match number {
        1 => "",
        _ if word.ends_with('s') => "es",
        _ => "s",
    };
    format!("{number} {word}{ending}")
}

/// At most `most` of `words`, with commas between them, and the number of the others.
pub(super) fn list(words: &[String], most: usize) -> String {
    let shown = words
        .iter()
        .take(most)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match words.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::percent;

    #[test]
    fn shares_are_never_rounded_to_none_or_all() {
        let shares = [
            0.0,
            1e-12,
            1e-8,
            0.0004,
            0.0006,
            1.0 / 3.0,
            0.9994,
            0.9999,
            1.0 - 1e-12,
            1.0,
        ];
        let words = [
            "0 %", "0 %", "<0.1 %", "<0.1 %", "0.1 %", "33.3 %", "99.9 %", ">99.9 %", "100 %",
            "100 %",
        ];
        assert_eq!(shares.map(percent), words);
    }

    #[test]
    fn columns_stand_under_their_heads_and_empty_ones_are_left_out() {
        let rows = [["a", "n", "none"], ["long", "1", ""], ["b", "22", ""]]
            .map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            lines(&[Column::Left, Column::Right, Column::Left], &rows),
            ["a      n", "long   1", "b     22"]
        );
        assert_eq!(
            (count(1, "loss"), count(2, "loss"), count(0, "name")),
            ("1 loss".into(), "2 losses".into(), "0 names".into())
        );
        assert_eq!(
            list(&["a", "b", "c"].map(str::to_owned), 2),
            "a, b and 1 more"
        );
    }
}
