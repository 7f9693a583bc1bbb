//! ARCHITECTURE.md and the code do not part: the table of layers names every module, and a module
//! imports from rows above its own only.

use std::collections::{BTreeMap, BTreeSet};
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

/// The files of one room, `room/` beside `room.rs`: each with the others that it imports from, directly or by a
/// name that `room.rs` passes on.
fn imports_within(room: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let parent = code_of(&room.with_extension("rs"));
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(room).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "rs") && name != "tests" {
            files.insert(name, code_of(&path));
        }
    }
    // The names that `room.rs` has from its files: whoever imports one from there imports it from the file.
    let mut passed_on = BTreeMap::new();
    for statement in parent
        .split(';')
        .filter_map(|text| text.split("use ").last())
    {
        let (file, names) = statement.trim().split_once("::").unwrap_or_default();
        if files.contains_key(file) {
            passed_on.extend(
                first_names(names)
                    .into_iter()
                    .map(|name| (name, file.to_owned())),
            );
        }
    }
    let mut imports = BTreeMap::new();
    for (file, code) in &files {
        let mut others = BTreeSet::new();
        for (at, _) in code.match_indices("super::") {
            if code[..at].ends_with("super::") {
                continue;
            }
            for name in first_names(&code[at + "super::".len()..]) {
                let other = passed_on.get(&name).unwrap_or(&name);
                if files.contains_key(other) && other != file {
                    others.insert(other.clone());
                }
            }
        }
        imports.insert(file.clone(), others);
    }
    imports
}

/// A file without its comments and its tests.
fn code_of(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first name of each path that `text` begins with: one, or those of a list in braces.
fn first_names(text: &str) -> Vec<String> {
    let first_name = |text: &str| -> String {
        let text = text.trim_start();
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(list) = text.strip_prefix('{') else {
        return vec![first_name(text)];
    };
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(first_name(&list[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

/// The files that remain when those that import from none of the others are taken away again and
/// again: each lies on a circle, or leads to one.
fn in_circles(
    mut imports: BTreeMap<String, BTreeSet<String>>,
) -> BTreeMap<String, BTreeSet<String>> {
    loop {
        let left: BTreeSet<String> = imports.keys().cloned().collect();
        let imported: BTreeSet<String> = imports.values().flatten().cloned().collect();
        imports.retain(|file, _| imported.contains(file));
        for others in imports.values_mut() {
            others.retain(|other| left.contains(other));
        }
        imports.retain(|_, others| !others.is_empty());
        if imports.len() == left.len() {
            return imports;
        }
    }
}

#[test]
fn the_files_of_a_room_import_from_each_other_in_no_circle() {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let mut wrong = Vec::new();
    for room in files.iter().map(|file| file.with_extension("")) {
        if room.is_dir() && !room.ends_with("tests") {
            for (file, others) in in_circles(imports_within(&room)) {
                wrong.push(format!(
                    "{}/{file}.rs imports from {others:?}",
                    room.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A doc comment starts with a noun or a verb, and so names its subject.
#[test]
fn doc_comments_name_their_subject() {
    const HEADLESS: [&str; 5] = ["What", "Who", "Whom", "Whose", "How"];
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let (mut comments, mut wrong) = (0, Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut inside = false;
        for (number, line) in text.lines().enumerate() {
            let comment = line.trim_start().strip_prefix("/// ");
            // Only the first line of a comment: a later one may go on with any word.
            if let Some(comment) = comment.filter(|_| !inside) {
                comments += 1;
                let first = comment.split(|c: char| !c.is_alphanumeric()).next();
                if first.is_some_and(|first| HEADLESS.contains(&first)) {
                    wrong.push(format!("{}:{}: {comment}", file.display(), number + 1));
                }
            }
            inside = line.trim_start().starts_with("///");
        }
    }
    assert!(comments >= 1000, "{comments}");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
