//! A configuration with its zone in a directory of its own, and the server that serves it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{Done, Net, Process, command, dig, run};

/// A directory with `meridian.toml`, `zones/gtm.example.toml` and room for more.
pub(crate) struct Site {
    pub(crate) net: Net,
    directory: Arc<TempDir>,
}

/// NET is replaced by the first three octets of the test's addresses.
pub(crate) const CONFIGURATION: &str = r#"
[server]
node   = "test-node"
listen = ["NET.1:5300"]
zones  = "zones"
state  = "state"
tcp_idle_timeout = "2s"

[admin]
listen = "NET.1:8053"

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
type     = "http"
port     = 8080
path     = "/"
interval = "200ms"
timeout  = "100ms"
fall     = 3
rise     = 4
"#;

/// `www` needs no endpoint to be there; `app` is checked, on the addresses of [`super::Toy::regions`].
pub(crate) const ZONE: &str = r#"
zone    = "gtm.example"
ttl     = 20
ttl_min = 1
records = '''
@     3600 SOA   ns1 hostmaster 1 3600 600 604800 30
@     3600 NS    ns1
ns1   3600 A     NET.1
text  300  TXT   "one" "two"
alias 300  CNAME text
'''

[services.www]
route = "nearest"
[services.www.pools]
dublin  = { endpoints = ["192.0.2.10", "2001:db8::10"] }
ashburn = { endpoints = ["192.0.2.20", "2001:db8::20"] }
tokyo   = { endpoints = ["192.0.2.30", "2001:db8::30"] }
"#;

/// Appended to [`ZONE`] by tests that start the endpoints.
pub(crate) const APP: &str = r#"
[services.app]
route  = "nearest"
ttl    = 2
checks = ["web"]
[services.app.pools]
dublin  = { endpoints = ["NET.11"] }
ashburn = { endpoints = ["NET.12"] }
tokyo   = { endpoints = ["NET.13"] }
"#;

impl Site {
    /// Static regions only.
    pub(crate) fn new() -> Site {
        let site = Site {
            net: Net::new(),
            directory: Arc::new(TempDir::new().expect("a temporary directory")),
        };
        site.write("meridian.toml", CONFIGURATION);
        site.write("zones/gtm.example.toml", ZONE);
        site
    }

    /// With the checked service `app` too.
    pub(crate) fn with_app() -> Site {
        let site = Site::new();
        site.write("zones/gtm.example.toml", &[ZONE, APP].concat());
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Puts a file in place in one step; NET is replaced.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let net = self.net.host(0).to_string();
        self.write_bytes(
            name,
            text.replace("NET", net.trim_end_matches(".0")).as_bytes(),
        );
    }

    /// The same for any content.
    pub(crate) fn write_bytes(&self, name: &str, bytes: &[u8]) {
        let (path, aside) = (self.path(name), self.path(".aside"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&aside, bytes).unwrap();
        std::fs::rename(&aside, &path).unwrap();
    }

    /// Rewrites a file, which must contain `old`.
    #[track_caller]
    pub(crate) fn edit(&self, name: &str, old: &str, new: &str) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(old), "{old:?} in {text}");
        self.write(name, &text.replace(old, new));
    }

    /// `meridian serve` of this site, not started yet.
    pub(crate) fn serve(&self) -> Command {
        let mut serve = command(env!("CARGO_BIN_EXE_meridian"));
        serve
            .args(["serve", "--config"])
            .arg(self.path("meridian.toml"))
            .current_dir("/");
        serve
    }

    /// Starts it and waits until it answers.
    #[track_caller]
    pub(crate) fn start(&self) -> Meridian {
        self.start_as(&mut self.serve())
    }

    /// The same, started by `serve`.
    #[track_caller]
    pub(crate) fn start_as(&self, serve: &mut Command) -> Meridian {
        let mut process = Process::spawn(serve);
        let said = process.wait_log("started: ", 0);
        Meridian {
            net: self.net,
            process,
            said,
            _directory: self.directory.clone(),
        }
    }

    /// Runs `meridian` with `arguments` and this site's configuration.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        let config = self.path("meridian.toml").display().to_string();
        run(
            Path::new("/"),
            &[arguments, &["--config", &config]].concat(),
        )
    }
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Meridian {
    pub(crate) net: Net,
    pub(crate) process: Process,
    /// How much of the log earlier waits have taken.
    said: usize,
    /// Dropped after the process that writes to it.
    _directory: Arc<TempDir>,
}

impl Meridian {
    /// Addresses of `www` for a client near dublin, a line each.
    #[track_caller]
    pub(crate) fn www(&self) -> String {
        let question = ["www.gtm.example", "+subnet=203.0.113.0/24", "+short"];
        dig(self.net.dns(), &question).trim().to_owned()
    }

    /// Waits until it has said `text` since the last wait.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) {
        self.said = self.process.wait_log(text, self.said);
    }

    /// Waits until it has said `text`, before or after it answered for the first time.
    #[track_caller]
    pub(crate) fn has_said(&mut self, text: &str) {
        self.said = self.said.max(self.process.wait_log(text, 0));
    }

    /// SIGHUP, and waits for `outcome` in the log; what was logged meanwhile.
    #[track_caller]
    pub(crate) fn reload(&mut self, outcome: &str) -> String {
        let from = self.process.log().len();
        self.process.signal(Signal::SIGHUP);
        self.said = self.process.wait_log(outcome, from);
        // What was refused is said in several lines, written at once.
        std::thread::sleep(std::time::Duration::from_millis(50));
        self.process.log()[from..].to_owned()
    }

    /// SIGTERM; its exit code and everything it logged.
    #[track_caller]
    pub(crate) fn stop(self) -> (Option<i32>, String) {
        self.process.signal(Signal::SIGTERM);
        self.process.end()
    }
}
