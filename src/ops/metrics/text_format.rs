//! Converts OpenMetrics to Prometheus's older text format: there a counter is described under the name of its samples, and
//! there is no end marker.

use std::fmt::Write;

/// Converts a page of OpenMetrics.
pub(super) fn from_open_metrics(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut lines = page.lines().filter(|line| *line != "# EOF").peekable();
    while let Some(line) = lines.next() {
        let is_help = line.starts_with("# HELP ");
        let of_counter = is_counter(line) || is_help && lines.peek().is_some_and(|next| is_counter(next));
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            [mark, what, name, rest] if of_counter => {
                let _ = writeln!(text, "{mark} {what} {name}_total {rest}");
            }
            _ => text.extend([line, "\n"]),
        }
    }
    text
}

/// Whether this line declares a counter.
fn is_counter(line: &str) -> bool {
    line.starts_with("# TYPE ") && line.ends_with(" counter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_help_uses_the_sample_name() {
        let gauge = "# HELP b Is a counter\n# TYPE b gauge\nb 2\n";
        let page = format!("# HELP a All.\n# TYPE a counter\na_total 1\n{gauge}# EOF\n");
        assert_eq!(
            from_open_metrics(&page),
            format!("# HELP a_total All.\n# TYPE a_total counter\na_total 1\n{gauge}")
        );
    }
}
