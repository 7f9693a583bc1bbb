//! ARCHITECTURE.md and the code do not part: the table of layers names every module, and a module
//! imports from rows above its own only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// The modules of the code map, in its order: the first cell of each row, `name/` or `name.rs`.
fn layers() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let map = text
        .split("## Code map")
        .nth(1)
        .expect("a code map")
        .split("\n## ")
        .next()
        .unwrap();
    let rows = map.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        row.split('`')
            .next()
            .unwrap()
            .trim_end_matches(['/'])
            .trim_end_matches(".rs")
            .to_owned()
    })
    .collect()
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The top-level module a file belongs to.
fn module_of(file: &Path) -> String {
    let relative = file.strip_prefix(root().join("src")).unwrap();
    relative
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy()
        .trim_end_matches(".rs")
        .to_owned()
}

/// The modules that `text` names as `crate::module`, its tests left out: they may look anywhere.
fn imports(text: &str) -> Vec<(usize, String)> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for part in line.split("crate::").skip(1) {
            let names = part
                .strip_prefix('{')
                .map_or_else(|| vec![part], |list| list.split(',').collect());
            for name in names {
                let name: String = name
                    .trim()
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                found.push((number + 1, name));
            }
        }
    }
    found
}

#[test]
fn modules_import_from_rows_above_their_own_only() {
    let layers = layers();
    let row: BTreeMap<&str, usize> = layers
        .iter()
        .enumerate()
        .map(|(row, name)| (name.as_str(), row))
        .collect();
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| {
        !file
            .components()
            .any(|c| c.as_os_str() == "tests" || c.as_os_str() == "tests.rs")
    }) {
        let module = module_of(file);
        if module == "lib" || module == "main" {
            continue;
        }
        let Some(own) = row.get(module.as_str()) else {
            wrong.push(format!(
                "{}: {module} is not in the code map",
                file.display()
            ));
            continue;
        };
        for (line, imported) in imports(&std::fs::read_to_string(file).unwrap()) {
            match row.get(imported.as_str()) {
                Some(above) if above <= own => {}
                Some(_) => wrong.push(format!(
                    "{}:{line}: {module} imports {imported}, which is below it",
                    file.display()
                )),
                None => wrong.push(format!(
                    "{}:{line}: {imported} is not in the code map",
                    file.display()
                )),
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_code_map_names_what_is_there() {
    for name in layers() {
        let (directory, file) = (
            root().join("src").join(&name),
            root().join("src").join(format!("{name}.rs")),
        );
        assert!(
            directory.is_dir() || file.is_file(),
            "{name} of the code map is not in src/"
        );
    }
}

/// The core has no I/O, clock, environment, randomness or log of its own.
#[test]
fn the_core_is_pure() {
    const FORBIDDEN: [&str; 12] = [
        "std::fs",
        "std::net::Udp",
        "std::net::Tcp",
        "std::time::Instant",
        "Instant::now",
        "SystemTime",
        "std::env",
        "tokio::",
        "tracing::",
        "std::thread",
        "std::process",
        "println!",
    ];
    let layers = layers();
    let core: Vec<_> = layers
        .iter()
        .take_while(|name| **name != "loader")
        .collect();
    assert!(core.iter().any(|name| *name == "answer") && core.iter().any(|name| *name == "steer"));
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| core.contains(&&module_of(file))) {
        let text = std::fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in code
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            for word in FORBIDDEN.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: {word}", file.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// `clippy.toml` names what waits, or asks the system or a clock; every module of the core is denied it.
#[test]
fn the_core_is_denied_what_waits() {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let declared = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
    let denied: BTreeMap<String, bool> = lines
        .windows(2)
        .filter_map(|pair| {
            Some((
                declared(pair[1])?,
                pair[0] == "#[deny(clippy::disallowed_methods)]",
            ))
        })
        .collect();
    let layers = layers();
    let core = layers.iter().position(|name| name == "loader").unwrap();
    for (row, name) in layers.iter().enumerate() {
        assert_eq!(denied.get(name), Some(&(row < core)), "{name}");
    }
}
