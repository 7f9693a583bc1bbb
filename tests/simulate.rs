//! `meridian simulate` and `meridian diff` as operators use them: `tests/simulate/session.txt` is what a shell shows that stands
//! in that directory, each command with all it says and its exit code.
//!
//! `UPDATE_GOLDEN=1 cargo test --test simulate` writes it anew; read the difference.

use std::path::Path;
use std::process::Command;

fn run(directory: &Path, arguments: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_meridian"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (text.concat(), output.status.code())
}

#[test]
fn the_session_is_what_the_commands_say() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulate");
    let path = directory.join("session.txt");
    let session = std::fs::read_to_string(&path).unwrap();
    let commands: Vec<&str> = session
        .lines()
        .filter_map(|line| line.strip_prefix("$ meridian "))
        .collect();
    assert!(commands.len() >= 15, "{commands:?}");
    let mut said = String::new();
    for command in commands {
        let (text, code) = run(&directory, &command.split(' ').collect::<Vec<_>>());
        said += &format!(
            "$ meridian {command}\n{}\n[exit code {}]\n\n",
            text.trim_end(),
            code.unwrap()
        );
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, said).unwrap();
    } else {
        assert_eq!(said, session);
    }
}

/// What programs read: the keys are a contract.
#[test]
fn the_json_keeps_its_contract() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulate");
    let keys = |value: &serde_json::Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let json = |arguments: &[&str]| {
        let (text, code) = run(&directory, arguments);
        assert_eq!(code, Some(1), "{text}");
        serde_json::from_str::<serde_json::Value>(&text)
            .unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    let simulated = json(&[
        "simulate",
        "--json",
        "--fail-if",
        "empty,over-capacity,moves>1%",
    ]);
    assert_eq!(
        keys(&simulated),
        ["clients", "services", "losses", "failed"]
    );
    assert_eq!(keys(&simulated["clients"]), ["sampled", "total", "demand"]);
    let service = &simulated["services"][0];
    assert_eq!(simulated["services"].as_array().unwrap().len(), 4);
    assert_eq!(
        keys(service),
        ["name", "type", "route", "unchecked", "normal", "lost"]
    );
    assert_eq!(
        keys(&service["normal"]),
        [
            "moved",
            "split",
            "rung",
            "degraded",
            "empty",
            "over_capacity"
        ]
    );
    assert_eq!(
        keys(&service["lost"][0]),
        [
            "loss",
            "moved",
            "split",
            "rung",
            "degraded",
            "empty",
            "over_capacity"
        ]
    );
    assert_eq!(
        keys(&simulated["losses"][0]),
        [
            "loss",
            "regions",
            "everything",
            "names",
            "moving",
            "largest",
            "degraded",
            "empty",
            "over_capacity"
        ]
    );
    assert_eq!(
        keys(&simulated["failed"][0]),
        ["condition", "names", "times", "worst"]
    );
    assert_eq!(keys(&simulated["failed"][0]["worst"][0]), ["name", "loss"]);

    let changed = json(&[
        "diff",
        "meridian.toml",
        "new.toml",
        "--json",
        "--max-moved",
        "5%",
    ]);
    let lists = [
        "services_added",
        "services_removed",
        "records_added",
        "records_removed",
    ];
    assert_eq!(
        keys(&changed),
        [&["sampled", "services"][..], &lists, &["failed"]].concat()
    );
    assert_eq!(
        keys(&changed["services"][0]),
        [
            "name",
            "type",
            "moved",
            "before",
            "after",
            "networks",
            "networks_in_all"
        ]
    );
    assert_eq!(
        keys(&changed["services"][0]["networks"][0]),
        ["network", "share", "before", "after"]
    );
    assert_eq!(keys(&changed["failed"][0]), ["name", "moved"]);
}

/// What `docs/simulate.md` shows is what the session says.
#[test]
fn the_page_shows_what_the_commands_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let session = std::fs::read_to_string(root.join("tests/simulate/session.txt")).unwrap();
    let page = std::fs::read_to_string(root.join("docs/simulate.md")).unwrap();
    let shown = page
        .split("```\n$ meridian ")
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap());
    let mut blocks = 0;
    for block in shown {
        blocks += 1;
        // The command, and the line that counts what is in all of the session's.
        for line in block.lines().skip(2) {
            assert!(
                session.lines().any(|said| said == line),
                "not in the session: {line}"
            );
        }
    }
    assert!(blocks >= 3, "{blocks}");
}
