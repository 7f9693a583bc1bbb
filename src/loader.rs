//! Reads the operator's files, from the disk or from copies of the last good ones; it writes
//! nothing.
//!
//! ```text
//! load(meridian.toml) ─ Disk ───────┐
//!                                   ├─ config::load ─ Outcome { loaded?, diagnostics, sources }
//! load_copies(config, files) ─ Copies ┘
//! ```
//! [`Inputs`] are what was read: the bytes in memory, not the files as they are a moment later. The
//! state directory keeps copies of them.

mod build;
mod certificate;
mod copies;
mod disk;
mod node;
mod reading;
mod removed;
mod secret;
mod stamps;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{self, Config, Source};
use crate::diag::{At, Diagnostics, Sources};

pub use build::{Built, Contents, Refreshed, build, build_copies, rebuild, refresh};
pub use certificate::{ServerCertificate, certificate_stamps, load_certificate};
pub use copies::load_copies;
pub use node::name_node;
pub use removed::Removed;
pub use stamps::Stamps;

/// The result of reading the files.
#[derive(Debug)]
pub struct Outcome {
    /// The files' content, unless a diagnostic is an error.
    pub loaded: Option<Loaded>,
    /// `[geo] city`, whatever is wrong elsewhere; without it the embedded default is used.
    pub city: Option<Database>,
    /// `[geo] asn`, likewise.
    pub asn: Option<Database>,
    /// Everything wrong with the files, by file and position.
    pub diagnostics: Diagnostics,
    /// The text of every file read, for code frames.
    pub sources: Sources,
}

/// A good set of files.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration that they make.
    pub config: Config,
    /// The files themselves, of which copies are kept.
    pub inputs: Inputs,
}

/// The bytes of an MMDB, not looked into yet.
#[derive(Debug, Clone)]
pub struct Database {
    /// The place in the configuration that names it.
    pub at: At,
    /// Its path.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Arc<Vec<u8>>,
}

/// Every file a dataset was made from.
#[derive(Debug, Clone)]
pub struct Inputs {
    config: PathBuf,
    files: Vec<InputFile>,
}

impl Inputs {
    /// The path of `meridian.toml`; empty where the files are location databases alone.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The database at the path that the configuration names, if it was read.
    fn database(&self, named: &Option<(PathBuf, At)>) -> Option<Database> {
        let (path, at) = named.as_ref()?;
        for file in &self.files {
            if let Content::Binary(bytes) = &file.content
                && file.path == *path
            {
                return Some(Database {
                    at: at.clone(),
                    path: path.clone(),
                    bytes: bytes.clone(),
                });
            }
        }
        None
    }

    /// Every file: its path and its content.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.files
            .iter()
            .map(|file| (file.path.as_path(), file.content.bytes()))
    }
}

#[derive(Debug, Clone)]
struct InputFile {
    path: PathBuf,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Text(Arc<str>),
    Binary(Arc<Vec<u8>>),
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Content::Text(text) => text.as_bytes(),
            Content::Binary(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither a dump of a database nor the text of an operator's files belongs into a log.
        write!(f, "{} bytes", self.bytes().len())
    }
}

/// Reads `config_path` and everything it leads to.
pub fn load(config_path: &Path) -> Outcome {
    load_stamped(config_path).0
}

/// Reads likewise, and gives the stamps of the location databases from just before they were read.
fn load_stamped(config_path: &Path) -> (Outcome, Stamps) {
    let mut disk = disk::Disk::default();
    let outcome = load_from(&mut disk, config_path, |disk| disk.inputs());
    (outcome, disk.stamps)
}

/// `[server] state` as far as it can be made out of a `meridian.toml` that may be broken.
pub fn find_state(config_path: &Path) -> Option<PathBuf> {
    // A file that cannot be read is reported when it is loaded; here it only names no state
    // directory.
    let bytes = reading::read(config_path).ok()?;
    config::find_state(
        &String::from_utf8_lossy(&bytes),
        config_path.parent().unwrap_or(Path::new("")),
    )
}

/// True for the files in a zones directory that are zone files.
fn is_zone_file(path: &Path) -> bool {
    let Some(name) = path.file_name() else {
        return false;
    };
    // Editors and package managers keep their temporary files under such names.
    let is_hidden = name.as_encoded_bytes().starts_with(b".");
    !is_hidden
        && path
            .extension()
            .is_some_and(|extension| extension == "toml")
}

fn load_from<S: Source>(
    source: &mut S,
    config_path: &Path,
    files: impl FnOnce(&mut S) -> Vec<InputFile>,
) -> Outcome {
    let mut diagnostics = Diagnostics::default();
    let mut sources = Sources::new();
    let (mut config, geo) =
        config::load_with_geo(source, config_path, &mut sources, &mut diagnostics);
    // After the files have been judged: the name given at the start stands, whatever they say.
    config.iter_mut().for_each(node::rename);
    // Found zone by zone and pass by pass, and read by an operator file by file.
    diagnostics.sort();
    let inputs = Inputs {
        config: config_path.to_owned(),
        // Collected last, once the configuration has led to every file.
        files: files(source),
    };
    let (city, asn) = (inputs.database(&geo.city), inputs.database(&geo.asn));
    let loaded = config.map(|config| Loaded { config, inputs });
    Outcome {
        loaded,
        city,
        asn,
        diagnostics,
        sources,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const MAIN: &str =
        "[server]\nnode = \"n\"\nstate = \"state\"\n[regions.a]\n[geo]\ncity = \"city.mmdb\"\n";
    const ZONE: &str = "zone = \"z.example\"\nrecords_file = \"z.zone\"\n";
    const RECORDS: &str = "@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\n$INCLUDE more.zone\n";

    fn files(directory: &Path) {
        fs::create_dir_all(directory.join("zones")).unwrap();
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
        write("meridian.toml", MAIN);
        write("city.mmdb", "not text: \u{0}");
        write("zones/z.toml", ZONE);
        write("zones/z.zone", RECORDS);
        write("zones/more.zone", "ns1 60 A 192.0.2.53\n");
    }

    fn rules(outcome: &Outcome) -> Vec<&'static str> {
        outcome.diagnostics.iter().map(|d| d.rule).collect()
    }

    #[test]
    fn a_broken_database_is_told_of_beside_a_broken_zone() {
        let directory = tempfile::tempdir().unwrap();
        files(directory.path());
        fs::write(
            directory.path().join("zones/z.zone"),
            "@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\nns1 60 A 192.0.2\n",
        )
        .unwrap();
        let built = build(&directory.path().join("meridian.toml"));
        let mut rules: Vec<_> = built.diagnostics.iter().map(|d| d.rule).collect();
        rules.sort_unstable();
        assert_eq!(rules, ["bad-mmdb", "bad-rdata"]);
    }

    #[test]
    fn the_state_directory_is_found_in_a_broken_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("meridian.toml");
        for text in [
            "[server]\nnode = \nstate = \"s\"\n",
            "[[[\n[server]\nstate = \"s\"\nlisten = [\"\n",
            "wrong = {\n[server]\nstate = \"s\"\n\u{0}",
            "[server]\nstate = \"s\"\n[server]\nstate = \"t\"\n",
        ] {
            fs::write(&config, text).unwrap();
            assert_eq!(
                find_state(&config),
                Some(directory.path().join("s")),
                "{text}"
            );
        }
        fs::write(&config, b"[server]\nstate = \"s\" # \xff\n").unwrap();
        assert_eq!(find_state(&config), Some(directory.path().join("s")));
        fs::write(&config, "[server]\nstate = 7\n").unwrap();
        assert_eq!(find_state(&config), None);
        assert_eq!(find_state(&directory.path().join("none")), None);
    }

    #[test]
    fn odd_files_are_refused_without_reading_on() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        files(root);
        // Sparse, so that the test costs no disk.
        fs::File::create(root.join("zones/huge.toml"))
            .unwrap()
            .set_len((64 << 20) + 1)
            .unwrap();
        fs::create_dir(root.join("zones/directory.toml")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", root.join("zones/zero.toml")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("zones/gone.toml")).unwrap();
        std::os::unix::fs::symlink("loop.toml", root.join("zones/loop.toml")).unwrap();
        let outcome = load(&root.join("meridian.toml"));
        let messages: Vec<_> = outcome
            .diagnostics
            .iter()
            .map(|d| d.message.rsplit_once("zones/").unwrap().1.to_owned())
            .collect();
        assert_eq!(messages.len(), 5, "{messages:?}");
        assert_eq!(messages[0], "directory.toml is a directory, not a file");
        assert_eq!(
            messages[1],
            "gone.toml is a link to a file that does not exist"
        );
        assert_eq!(messages[2], "huge.toml is larger than 64 MiB");
        assert!(
            messages[3].starts_with("loop.toml cannot be read"),
            "{messages:?}"
        );
        assert_eq!(messages[4], "zero.toml is a pipe or a device, not a file");
    }

    #[test]
    fn master_files_lie_where_the_operator_allows_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        files(root);
        let write = |name: &str, text: &str| fs::write(root.join(name), text).unwrap();
        let read = |zone: &str, records: &str| {
            write("zones/z.toml", zone);
            write("zones/z.zone", records);
            let outcome = load(&root.join("meridian.toml"));
            let shown: String = outcome
                .sources
                .values()
                .map(|text| text.to_string())
                .collect();
            assert!(!shown.contains("secret"), "{shown}");
            rules(&outcome)
        };
        let include = |path: &str| {
            format!("@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\n$INCLUDE {path}\n")
        };
        fs::create_dir_all(root.join("srv/deep")).unwrap();
        fs::create_dir_all(root.join("zones/sub")).unwrap();
        write("srv/deep/more.zone", "ns1 60 A 192.0.2.53\n");
        write("zones/sub/more.zone", "ns1 60 A 192.0.2.53\n");
        write("srv/shadow", "root:$6$secret:19000:0:99999:7:::\n");
        std::os::unix::fs::symlink("../srv/deep/more.zone", root.join("zones/linked.zone"))
            .unwrap();
        std::os::unix::fs::symlink("../srv", root.join("zones/directory")).unwrap();
        std::os::unix::fs::symlink("more.zone", root.join("zones/inside.zone")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", root.join("zones/zero.zone")).unwrap();
        nix::unistd::mkfifo(&root.join("zones/pipe.zone"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let absolute = root.join("srv/deep/more.zone").display().to_string();
        for outside in [
            "../srv/deep/more.zone",
            "sub/../../srv/deep/more.zone",
            "linked.zone",
            "directory/deep/more.zone",
            "../srv/shadow",
            "/etc/passwd",
            "/dev/zero",
            "zero.zone",
            "../meridian.toml",
            &absolute,
        ] {
            assert_eq!(
                read(ZONE, &include(outside)),
                ["outside-zones"],
                "{outside}"
            );
        }
        for inside in [
            "more.zone",
            "sub/more.zone",
            "sub/../more.zone",
            "inside.zone",
            "../zones/more.zone",
        ] {
            assert_eq!(read(ZONE, &include(inside)), [] as [&str; 0], "{inside}");
        }
        assert_eq!(read(ZONE, &include("pipe.zone")), ["include-failed"]);
        assert_eq!(
            read("zone = \"z.example\"\nrecords_file = \"pipe.zone\"\n", ""),
            ["unreadable-file"]
        );
        assert_eq!(
            read(
                "zone = \"z.example\"\nrecords_file = \"sub/none/../../../srv/shadow\"\n",
                ""
            ),
            ["missing-file"]
        );
        for (named, rule) in [
            ("../srv/shadow", "not-a-master-file"),
            ("../meridian.toml", "not-a-master-file"),
            ("/dev/zero", "unreadable-file"),
            ("zero.zone", "unreadable-file"),
        ] {
            assert_eq!(
                read(
                    &format!("zone = \"z.example\"\nrecords_file = \"{named}\"\n"),
                    ""
                ),
                [rule],
                "{named}"
            );
        }
        write("srv/whole.zone", &include("deep/more.zone"));
        let elsewhere = "zone = \"z.example\"\nrecords_file = \"../srv/whole.zone\"\n";
        assert_eq!(
            read(elsewhere, ""),
            ["outside-zones"],
            "the file may be read, and what it includes may not"
        );

        write(
            "meridian.toml",
            &MAIN.replace("[regions.a]", "include_from = [\"srv\"]\n[regions.a]"),
        );
        assert_eq!(read(elsewhere, ""), [] as [&str; 0]);
        for allowed in [
            "../srv/deep/more.zone",
            "linked.zone",
            "directory/deep/more.zone",
            &absolute,
        ] {
            assert_eq!(read(ZONE, &include(allowed)), [] as [&str; 0], "{allowed}");
        }
        assert_eq!(read(ZONE, &include("../srv/shadow")), ["not-a-master-file"]);
        assert_eq!(read(ZONE, &include("zero.zone")), ["outside-zones"]);
    }

    #[test]
    fn nonsense_ends_soon_and_in_few_words() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        files(root);
        let mut random = fastrand::Rng::with_seed(1);
        let printable: String = std::iter::repeat_with(|| {
            if random.u8(..) < 8 {
                '\n'
            } else {
                random.char(' '..'~')
            }
        })
        .take(8 << 20)
        .collect();
        fs::write(
            root.join("zones/nonsense.toml"),
            format!("zone = \"n.example\"\n{printable}"),
        )
        .unwrap();
        fs::write(
            root.join("zones/random.toml"),
            std::iter::repeat_with(|| random.u8(..))
                .take(1 << 20)
                .collect::<Vec<_>>(),
        )
        .unwrap();
        fs::write(
            root.join("zones/nested.toml"),
            format!("a = {}", "[".repeat(1 << 20)),
        )
        .unwrap();
        fs::write(root.join("zones/empty.toml"), "").unwrap();
        let outcome = load(&root.join("meridian.toml"));
        assert!(outcome.loaded.is_none());
        assert!(
            (4..100).contains(&outcome.diagnostics.errors()),
            "{}",
            outcome.diagnostics.errors()
        );
        let rendered = crate::diag::render_text(&outcome.diagnostics, &outcome.sources, false);
        assert!(rendered.contains("more syntax errors are not shown"));
    }
}
