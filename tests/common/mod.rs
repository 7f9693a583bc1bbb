//! What several tests share: a dataset from files that are text in the test.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use meridian::config::{self, Config, Source, Unreadable};
use meridian::dataset::{Dataset, Snapshot};
use meridian::diag::{Diagnostics, Sources, render_text};
use meridian::geo::{EMBEDDED, Locations};
use meridian::publisher::Publisher;

/// Files that are text in a test.
pub struct Files(pub BTreeMap<PathBuf, Arc<str>>);

impl Files {
    /// `--- NAME` begins a file; what follows is its text.
    pub fn parse(text: &str) -> Files {
        let mut files = BTreeMap::new();
        for section in text.split("--- ").skip(1) {
            let (name, body) = section.split_once('\n').expect("a name and a line break");
            files.insert(name.trim().into(), body.into());
        }
        Files(files)
    }

    /// What they say, or every diagnostic rendered.
    pub fn load(mut self) -> Result<Config, String> {
        let (mut sources, mut diagnostics) = (Sources::new(), Diagnostics::default());
        let config = config::load(
            &mut self,
            Path::new("meridian.toml"),
            &mut sources,
            &mut diagnostics,
        );
        config
            .filter(|_| !diagnostics.has_errors())
            .ok_or_else(|| render_text(&diagnostics, &sources, false))
    }
}

impl Source for Files {
    fn text(&mut self, path: &Path) -> Result<Arc<str>, Unreadable> {
        let missing = || Unreadable {
            rule: "missing",
            message: format!("{} is not there", path.display()),
            hint: None,
            position: None,
        };
        self.0.get(path).cloned().ok_or_else(missing)
    }

    fn database(&mut self, path: &Path) -> Result<(), Unreadable> {
        self.text(path).map(|_| ())
    }

    fn zone_files(&mut self, directory: &Path) -> Result<Vec<PathBuf>, Unreadable> {
        Ok(self
            .0
            .keys()
            .filter(|path| path.parent() == Some(directory))
            .cloned()
            .collect())
    }
}

/// The dataset of `text`'s files, located by the embedded database.
pub fn dataset(text: &str) -> Arc<Dataset> {
    let config = Files::parse(text)
        .load()
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    Arc::new(Dataset::compile(
        config,
        Arc::new(Locations::read(Some(EMBEDDED), None).unwrap()),
    ))
}

/// A configuration with a checked service that takes its pools back by and by and by an operator's word.
pub fn checked() -> String {
    let zone = r#"--- zones/gtm.example.toml
zone = "gtm.example"
records = '''
@   3600 SOA ns1 hostmaster 1 3600 600 604800 30
@   3600 NS  ns1
ns1 3600 A   192.0.2.53
'''
[services.www]
route  = "weighted"
ramp   = "1m"
resume = "manual"
checks = ["web"]
[services.www.pools]
dublin  = { endpoints = ["192.0.2.10"] }
ashburn = { endpoints = ["192.0.2.20", "192.0.2.21"] }
tokyo   = { endpoints = ["192.0.2.30"] }
"#;
    [CONFIGURATION, zone].concat()
}

/// The snapshot of that dataset with everything up.
pub fn snapshot(text: &str) -> Arc<Snapshot> {
    Publisher::new(dataset(text)).snapshot()
}

/// A configuration with the regions and the map that the tests' zones use.
pub const CONFIGURATION: &str = r#"--- meridian.toml
[server]
node   = "test-node"
listen = ["127.0.0.1:5300"]
zones  = "zones"
state  = "state"
why_from = ["127.0.0.0/8"]

[maps.default]
networks    = { "10.1.0.0/16" = { only = ["tokyo"] } }
by_distance = true
rest        = ["dublin", "ashburn", "tokyo"]

[regions.dublin]
latitude  = 53.35
longitude = -6.26

[regions.ashburn]
latitude  = 39.04
longitude = -77.49

[regions.tokyo]
latitude  = 35.68
longitude = 139.69

[checks.web]
type     = "tcp"
port     = 80
interval = "1s"
timeout  = "500ms"
fall     = 3
rise     = 2
"#;
