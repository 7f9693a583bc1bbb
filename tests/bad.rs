//! Bad files, each with the message an operator gets: every directory `tests/bad/*/` is a
//! configuration, and its `expected.txt` is what `meridian verify` prints about it.
//!
//! `UPDATE_GOLDEN=1 cargo test --test bad` writes the expectations anew; read the difference.

use std::fs;
use std::path::{Path, PathBuf};

use meridian::diag::render_text;
use meridian::loader;

#[test]
fn every_bad_configuration_gets_its_message() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut cases: Vec<PathBuf> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for case in cases {
        // Paths in messages are then what an operator sees who stands in the directory.
        std::env::set_current_dir(&case).unwrap();
        let outcome = loader::load(Path::new("meridian.toml"));
        let rendered = render_text(&outcome.diagnostics, &outcome.sources, false);
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        assert!(
            outcome.diagnostics.iter().next().is_some(),
            "{name}: nothing is wrong with it"
        );
        assert_eq!(
            outcome.loaded.is_none(),
            outcome.diagnostics.has_errors(),
            "{name}"
        );
        let expected = fs::read_to_string("expected.txt").unwrap_or_default();
        if update {
            fs::write("expected.txt", rendered).unwrap();
        } else if rendered != expected {
            wrong.push(format!(
                "── {name}: expected\n{expected}\n── {name}: got\n{rendered}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
