//! Columns as Go's tabwriter aligns them with runc's settings: each at least 12 wide, with 3 spaces
//! between the longest cell and the next column.

const LEAST: usize = 12;
const PADDING: usize = 3;

/// Rows of cells as lines of text. The last column is not padded.
pub(crate) fn render<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        (longest + PADDING).max(LEAST)
    };
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text.push_str(cell);
            if column + 1 < COLUMNS {
                text.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn looks_like_runc_list() {
        let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
        assert_eq!(
            render(std::slice::from_ref(&head)),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
        );
        let row = ["c2", "12870", "created", "/tmp/shimtest/u", "2026-11-22T03:23:26.34214485Z", "root"];
        assert_eq!(
            render(&[head, row.map(str::to_owned)]),
            "ID          PID         STATUS      BUNDLE            CREATED                         OWNER\n\
             c2          12870       created     /tmp/shimtest/u   2026-11-22T03:23:26.34214485Z   root\n"
        );
    }
}
