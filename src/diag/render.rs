//! Diagnostics for people (code frames) and for programs (JSON).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
};

use super::{At, Diagnostic, Diagnostics, Severity};

/// The text of every file read, by the name diagnostics use for it; what code frames are cut from.
pub type Sources = BTreeMap<Arc<str>, Arc<str>>;

/// The largest frame, in octets of text: longer lines say nothing to a reader.
const MAX_FRAME: usize = 4000;

/// Every diagnostic with its code frame, then one line that counts them.
pub fn render_text(diagnostics: &Diagnostics, sources: &Sources, color: bool) -> String {
    let theme = if color {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(120)
        .with_links(false);
    let mut out = String::new();
    for diagnostic in diagnostics.iter() {
        render_one(&handler, diagnostic, sources, &mut out);
    }
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    let (errors, warnings) = (diagnostics.errors(), diagnostics.warnings());
    let _ = writeln!(
        out,
        "{errors} error{}, {warnings} warning{}",
        plural(errors),
        plural(warnings)
    );
    out
}

/// One object per diagnostic in `diagnostics`, and the counts.
pub fn render_json(diagnostics: &Diagnostics) -> serde_json::Value {
    let items: Vec<_> = diagnostics
        .iter()
        .map(|d| {
            serde_json::json!({
                "severity": match d.severity { Severity::Error => "error", Severity::Warning => "warning" },
                "rule": d.rule,
                "file": &*d.at.file,
                "line": d.at.line,
                "column": d.at.column,
                "key": d.key,
                "message": d.message,
                "hint": d.hint,
            })
        })
        .collect();
    serde_json::json!({ "errors": diagnostics.errors(), "warnings": diagnostics.warnings(), "diagnostics": items })
}

fn render_one(
    handler: &GraphicalReportHandler,
    diagnostic: &Diagnostic,
    sources: &Sources,
    out: &mut String,
) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(out, "{}", header(diagnostic));
    let framed = sources.get(&diagnostic.at.file).and_then(|text| {
        let span = byte_span(text, &diagnostic.at)?;
        // A frame needs no more than the lines around the mark: a 100 MB file is not handed on
        // whole.
        let window = window(text, span.start);
        (window.0.len() <= MAX_FRAME).then_some((window, span))
    });
    let Some(((window, window_start, first_line), span)) = framed else {
        if let Some(hint) = &diagnostic.hint {
            let _ = writeln!(out, "  help: {hint}");
        }
        out.push('\n');
        return;
    };
    let label = LabeledSpan::at(
        span.start - window_start..(span.end - window_start).min(window.len()),
        "here",
    );
    let severity = match diagnostic.severity {
        Severity::Error => miette::Severity::Error,
        Severity::Warning => miette::Severity::Warning,
    };
    let mut frame = MietteDiagnostic::new(diagnostic.message.clone())
        .with_severity(severity)
        .with_label(label);
    frame.help = diagnostic.hint.clone();
    // The handler counts lines from the start of its text: empty ones stand for those before the
    // window.
    let padded = format!("{}{window}", "\n".repeat(first_line));
    let shift = first_line;
    frame.labels = frame.labels.map(|labels| {
        labels
            .into_iter()
            .map(|l| LabeledSpan::new(l.label().map(str::to_owned), l.offset() + shift, l.len()))
            .collect()
    });
    let report =
        Report::new(frame).with_source_code(NamedSource::new(&*diagnostic.at.file, padded));
    let _ = handler.render_report(out, report.as_ref());
    out.push('\n');
}

fn header(diagnostic: &Diagnostic) -> String {
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let key = if diagnostic.key.is_empty() {
        String::new()
    } else {
        format!("{}: ", diagnostic.key)
    };
    format!(
        "{}: {severity}[{}]: {key}{}",
        diagnostic.at, diagnostic.rule, diagnostic.message
    )
}

/// The bytes that `at` marks; `None` for a whole file or a line that is not there.
fn byte_span(text: &str, at: &At) -> Option<std::ops::Range<usize>> {
    let line_number = (at.line as usize).checked_sub(1)?;
    let line_start = if line_number == 0 {
        0
    } else {
        text.match_indices('\n').nth(line_number - 1)?.0 + 1
    };
    let line = text[line_start..].split('\n').next().unwrap_or("");
    let offset_of = |column: usize| {
        line.char_indices()
            .nth(column)
            .map_or(line.len(), |(i, _)| i)
    };
    let first = (at.column as usize).saturating_sub(1);
    let length = if at.column == 0 {
        line.chars().count()
    } else {
        at.length.max(1) as usize
    };
    Some(line_start + offset_of(first)..line_start + offset_of(first + length))
}

/// Three lines around `position`, the byte they start at, and how many lines come before.
fn window(text: &str, position: usize) -> (&str, usize, usize) {
    let start = text[..position]
        .rmatch_indices('\n')
        .nth(2)
        .map_or(0, |(i, _)| i + 1);
    let end = text[position..]
        .match_indices('\n')
        .nth(1)
        .map_or(text.len(), |(i, _)| position + i);
    (
        &text[start..end],
        start,
        text[..start].bytes().filter(|b| *b == b'\n').count(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_no_one_can_read_gets_no_frame() {
        let mut diagnostics = Diagnostics::default();
        diagnostics.error("toml-syntax", At::new("z.toml", 1, 1, 1), "", "is nonsense");
        let sources = Sources::from([(Arc::from("z.toml"), Arc::from("x".repeat(1 << 20)))]);
        assert_eq!(
            render_text(&diagnostics, &sources, false),
            "z.toml:1:1: error[toml-syntax]: is nonsense\n\n1 error, 0 warnings\n"
        );
    }

    #[test]
    fn a_frame_shows_the_line_and_marks_the_value() {
        let mut diagnostics = Diagnostics::default();
        let text = "zone = \"a\"\nttl = \"soon\"\n";
        diagnostics
            .error(
                "wrong-type",
                At::span("z.toml", text, 17..23),
                "ttl",
                "is a string, not a number of seconds",
            )
            .hint("write ttl = 20");
        let sources = Sources::from([(Arc::from("z.toml"), Arc::from(text))]);
        let out = render_text(&diagnostics, &sources, false);
        assert!(
            out.contains("z.toml:2:7: error[wrong-type]: ttl: is a string"),
            "{out}"
        );
        assert!(out.contains("2 │ ttl = \"soon\""), "{out}");
        assert!(out.contains("help: write ttl = 20"), "{out}");
        assert!(out.ends_with("1 error, 0 warnings\n"), "{out}");
    }
}
