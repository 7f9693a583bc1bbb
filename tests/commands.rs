//! Commands as shells use them.

use std::process::{Command, Stdio};

/// `meridian verify | head -1`: whoever reads may go before all is written.
#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let root = env!("CARGO_MANIFEST_DIR");
    let why = ["why", "www.gtm.example", "--client", "10.1.2.3"];
    let simulate = ["simulate", "--single"];
    let json = ["--json"];
    for arguments in [
        &["verify"][..],
        &["verify", "--json"],
        &why,
        &[&why[..], &json].concat(),
        &simulate,
        &[&simulate[..], &json].concat(),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
        command
            .args(arguments)
            .args(["--config", "meridian.toml"])
            .current_dir(root);
        let output = command
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{arguments:?}: {} {said}",
            output.status
        );
    }
}
