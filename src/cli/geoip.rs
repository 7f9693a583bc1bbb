//! `meridian geoip build IN.csv OUT.mmdb`: an MMDB from an address plan.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::terminal::has_color;
use crate::diag::{At, Diagnostics, Sources, render_text};
use crate::geo::build::build as build_mmdb;

/// Makes `output` of the plan `input`. What is wrong with the plan goes to standard error; `output`
/// is replaced in one step, and only by a whole file.
pub(super) fn build(input: &Path, output: &Path) -> ExitCode {
    let mut sources = Sources::new();
    match make(input, output, &mut sources) {
        Ok(size) => {
            let _ = writeln!(io::stdout(), "{}: {size} bytes", output.display());
            ExitCode::SUCCESS
        }
        Err(diagnostics) => {
            let color = has_color(&io::stderr());
            let _ = write!(
                io::stderr(),
                "{}",
                render_text(&diagnostics, &sources, color)
            );
            ExitCode::FAILURE
        }
    }
}

/// The size of the file written, or everything wrong.
fn make(input: &Path, output: &Path, sources: &mut Sources) -> Result<usize, Diagnostics> {
    let (name, text) = read_text(input)?;
    let built = build_mmdb(&name, &text);
    sources.insert(name, text.into());
    let mmdb = built?;
    write_whole(output, &mmdb).map_err(|error| cannot("write", output, &error))?;
    Ok(mmdb.len())
}

/// The name of the file at `path` in diagnostics, and its text.
pub(super) fn read_text(path: &Path) -> Result<(Arc<str>, String), Diagnostics> {
    let name: Arc<str> = path.display().to_string().into();
    let bytes = std::fs::read(path).map_err(|error| cannot("read", path, &error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
        let mut diagnostics = Diagnostics::default();
        diagnostics.error(
            "not-utf8",
            At::new(name.clone(), line, 0, 0),
            "",
            "is not UTF-8 text",
        );
        diagnostics
    })?;
    Ok((name, text))
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    diagnostics.error(
        "file",
        At::file(path.display().to_string()),
        "",
        format!("cannot {what} it: {error}"),
    );
    diagnostics
}

/// A server that reads the file meanwhile sees the old one or the new one, never half of one.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder.prefix(".geoip-").tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_becomes_a_file_and_a_bad_one_leaves_the_old() {
        let directory = tempfile::tempdir().unwrap();
        let (input, output) = (
            directory.path().join("plan.csv"),
            directory.path().join("plan.mmdb"),
        );
        std::fs::write(&input, "network,country\n10.1.0.0/16,IE\n").unwrap();
        let size = make(&input, &output, &mut Sources::new()).unwrap();
        let written = std::fs::read(&output).unwrap();
        assert_eq!(written.len(), size);
        assert!(crate::geo::Locations::read(Some(&written), None).is_ok());

        std::fs::write(&input, b"network,country\n10.1.0.0/16,I\xff\n").unwrap();
        let refused = make(&input, &output, &mut Sources::new()).unwrap_err();
        assert_eq!(
            refused
                .iter()
                .map(|d| (d.rule, d.at.line))
                .collect::<Vec<_>>(),
            [("not-utf8", 2)]
        );
        assert_eq!(std::fs::read(&output).unwrap(), written);
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            2,
            "nothing else is left behind"
        );
    }

    #[test]
    fn files_that_cannot_be_read_or_written_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let input = directory.path().join("plan.csv");
        let refused = make(
            &input,
            &directory.path().join("plan.mmdb"),
            &mut Sources::new(),
        )
        .unwrap_err();
        assert!(
            refused
                .iter()
                .next()
                .unwrap()
                .to_string()
                .contains("plan.csv: error[file]: cannot read it"),
            "{refused:?}"
        );
        std::fs::write(&input, "network,country\n10.1.0.0/16,IE\n").unwrap();
        let refused = make(
            &input,
            &directory.path().join("no/plan.mmdb"),
            &mut Sources::new(),
        )
        .unwrap_err();
        assert!(
            refused
                .iter()
                .next()
                .unwrap()
                .to_string()
                .contains("cannot write it"),
            "{refused:?}"
        );
    }
}
