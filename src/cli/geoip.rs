//! `meridian geoip build IN.csv OUT.mmdb`: an MMDB from an address plan.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::error::{Error, Reason};
use super::progress::while_waiting;
use crate::diag::{At, Diagnostics, Sources};
use crate::geo::build::build as build_mmdb;

/// Commands of `meridian geoip`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Geoip {
    /// Build an MMDB from rows of
    /// network,continent,country,subdivision,city,latitude,longitude,asn.
    Build {
        /// File with the rows; its first line names the columns.
        input: PathBuf,
        /// MMDB file to write.
        output: PathBuf,
    },
}

impl Geoip {
    /// Builds the database. The output is replaced in one step, and only by a complete file.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let Geoip::Build { input, output } = self;
        let mut sources = Sources::new();
        let made = while_waiting("building the database", || {
            make(&input, &output, &mut sources)
        });
        match made {
            Ok(size) => {
                print_line!("{}: {size} bytes", output.display());
                Ok(ExitCode::SUCCESS)
            }
            Err(diagnostics) => Err(Reason::Files(diagnostics, sources).into()),
        }
    }
}

/// Writes the database of the plan `input` to `output`; returns its size in octets.
fn make(input: &Path, output: &Path, sources: &mut Sources) -> Result<usize, Diagnostics> {
    let (name, text) = read_text(input)?;
    let built = build_mmdb(&name, &text);
    sources.insert(name, text.into());
    let mmdb = built?;
    write_whole(output, &mmdb).map_err(|error| cannot("write", output, &error))?;
    Ok(mmdb.len())
}

/// Name of the file at `path` in diagnostics, and its text.
pub(super) fn read_text(path: &Path) -> Result<(Arc<str>, String), Diagnostics> {
    let name: Arc<str> = path.display().to_string().into();
    let bytes = std::fs::read(path).map_err(|error| cannot("read", path, &error))?;
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let newlines = before.iter().filter(|byte| **byte == b'\n').count();
            let line = u32::try_from(newlines + 1).unwrap_or(u32::MAX);
            return Err(one_error(
                "not-utf8",
                At::new(name, line, 0, 0),
                "is not UTF-8 text".to_owned(),
            ));
        }
    };
    Ok((name, text))
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Diagnostics {
    one_error(
        "file",
        At::file(path.display().to_string()),
        format!("cannot {what} it: {error}"),
    )
}

fn one_error(rule: &'static str, at: At, message: String) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    diagnostics.error(rule, at, "", message);
    diagnostics
}

/// Writes the file in one step: a server that reads it meanwhile sees the old one or the new one.
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
    // Before the rename: after a crash the name must not stand for a file without content.
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
