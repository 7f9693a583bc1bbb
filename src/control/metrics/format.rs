//! The two text formats of a scrape, and the choice between them by the client's Accept header.

use std::borrow::Cow;

use axum::http::{HeaderMap, header};

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Format {
    /// OpenMetrics 1.0, for clients that ask for it.
    OpenMetrics,
    /// The Prometheus text format 0.0.4, which everything else reads.
    Prometheus,
}

impl Format {
    /// The format that a client prefers: the one with the greater quality (RFC 9110 §12.5.1), and of
    /// equals OpenMetrics, if the client names it at all.
    pub(in crate::control) fn accepted(headers: &HeaderMap) -> Format {
        let (mut open, mut plain) = (0.0, 0.0_f32);
        for accept in headers.get_all(header::ACCEPT) {
            for range in accept.to_str().unwrap_or_default().split(',') {
                let mut parts = range.split(';').map(str::trim);
                let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
                let quality = parts.find_map(|part| part.strip_prefix("q="));
                let quality = quality.map_or(Ok(1.0), str::parse).unwrap_or(0.0);
                match kind.as_str() {
                    "application/openmetrics-text" => open = quality,
                    "text/plain" | "text/*" | "*/*" => plain = plain.max(quality),
                    _ => {}
                }
            }
        }
        if open > 0.0 && open >= plain {
            Format::OpenMetrics
        } else {
            Format::Prometheus
        }
    }

    /// The value of the Content-Type header.
    pub(in crate::control) fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The OpenMetrics `text` in this format.
    pub(super) fn of(self, text: String) -> String {
        match self {
            Format::OpenMetrics => text,
            Format::Prometheus => plain(&text),
        }
    }
}

/// OpenMetrics `text` in the Prometheus format. Values are written alike in both; there, a counter's
/// family has the suffix of its values, and no line marks the end.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 4096);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(help) = line.strip_prefix("# HELP ") else {
            if line != "# EOF" {
                out.push_str(line);
                out.push('\n');
            }
            continue;
        };
        // The encoder writes the type right behind the help.
        let is_counter = lines
            .next_if(|next| next.starts_with("# TYPE "))
            .map(|kind| (kind, kind.ends_with(" counter")));
        let (name, help) = help.split_once(' ').unwrap_or((help, ""));
        let name = match is_counter {
            Some((_, true)) => Cow::Owned(format!("{name}_total")),
            _ => Cow::Borrowed(name),
        };
        out.push_str(&format!("# HELP {name} {help}\n"));
        if let Some((kind, _)) = is_counter {
            let kind = kind.rsplit_once(' ').map_or("untyped", |(_, kind)| kind);
            out.push_str(&format!("# TYPE {name} {kind}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Format::accepted(&headers)
    }

    #[test]
    fn clients_get_the_format_that_they_prefer() {
        assert_eq!(Format::accepted(&HeaderMap::new()), Format::Prometheus);
        assert_eq!(accepted("*/*"), Format::Prometheus);
        // Prometheus 2.42, and the reverse of it.
        assert_eq!(
            accepted(
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
            ),
            Format::OpenMetrics
        );
        assert_eq!(
            accepted(
                "text/plain;version=0.0.4, application/openmetrics-text; version=1.0.0; q=0.5"
            ),
            Format::Prometheus
        );
        assert_eq!(
            accepted("application/openmetrics-text;q=0"),
            Format::Prometheus
        );
    }

    #[test]
    fn counters_carry_their_suffix_where_the_format_wants_it() {
        let open = "# HELP a_b Says.\n# TYPE a_b counter\na_b_total{c=\"# EOF\"} 1\n\
                    # HELP d More\n# TYPE d gauge\nd 2.0\n# EOF\n";
        assert_eq!(
            plain(open),
            "# HELP a_b_total Says.\n# TYPE a_b_total counter\na_b_total{c=\"# EOF\"} 1\n\
             # HELP d More\n# TYPE d gauge\nd 2.0\n"
        );
    }
}
