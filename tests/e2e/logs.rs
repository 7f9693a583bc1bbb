//! The log as programs read it: JSON on standard error, and fields of the journal.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Process, Site, Toy, command, wait_for};

#[test]
fn every_line_is_an_object_and_changes_have_their_keys() {
    let site = Site::with_app();
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    let mut serve = site.serve();
    let server = site.start_as(serve.args(["--log-format", "json"]));
    drop(dublin);
    let line = wait_for("the line about the pool", || {
        let log = server.process.log();
        let found = log
            .lines()
            .find(|line| line.contains("region dublin is down"));
        found.map(str::to_owned)
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    for (key, value) in [
        ("level", "warn"),
        ("kind", "pool"),
        ("service", "app.gtm.example."),
        ("region", "dublin"),
        ("family", "ipv4"),
        ("old", "up"),
        ("new", "down"),
        ("message_id", "d37e1126ee2e4ffebc6c22fdb8f55e70"),
        (
            "message",
            "service app.gtm.example. A region dublin is down, was up",
        ),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    for line in server.process.log().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(
            line["time"].is_string() && line["message"].is_string(),
            "{line}"
        );
    }
}

/// The journal's own protocol: a field is its name, a line end, the length in 64 bits, and the value
/// (systemd's "Native Journal Protocol").
fn field<'m>(entry: &'m [u8], name: &str) -> Option<&'m str> {
    let head = format!("{name}\n");
    let at = entry
        .windows(head.len())
        .position(|own| own == head.as_bytes())?;
    let rest = &entry[at + head.len()..];
    let length = u64::from_le_bytes(rest.get(..8)?.try_into().ok()?);
    std::str::from_utf8(rest.get(8..8 + usize::try_from(length).ok()?)?).ok()
}

#[test]
fn entries_of_the_journal_have_fields() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can put a socket in the journal's place");
        return;
    }
    let site = Site::with_app();
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    std::fs::create_dir(site.path("journal")).unwrap();
    let journal = UnixDatagram::bind(site.path("journal/socket")).unwrap();
    journal
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    // A mount of its own: what is on this host stays as it is.
    let script = "mkdir -p /run/systemd/journal && mount --bind \"$1\" /run/systemd/journal && \
                  JOURNAL_STREAM=$(stat -Lc %d:%i /dev/stderr) exec \"$2\" serve --config \"$3\"";
    let mut serve = command("unshare");
    serve.args(["--mount", "sh", "-c", script, "sh"]);
    serve
        .arg(site.path("journal"))
        .arg(env!("CARGO_BIN_EXE_meridian"));
    serve.arg(site.path("meridian.toml"));
    let server = Process::spawn(&mut serve);
    let mut entry = vec![0; 1 << 16];
    let mut next = |what: &str, is_meant: &dyn Fn(&[u8]) -> bool| loop {
        let length = journal
            .recv(&mut entry)
            .unwrap_or_else(|error| panic!("no entry {what}: {error}; {}", server.log()));
        if is_meant(&entry[..length]) {
            return entry[..length].to_vec();
        }
    };
    let started = next("of the start", &|entry| {
        field(entry, "MESSAGE").is_some_and(|text| text.starts_with("started: "))
    });
    assert_eq!(field(&started, "SERVICE"), None);
    drop(dublin);
    let fell = next("of the pool", &|entry| field(entry, "KIND") == Some("pool"));
    for (name, value) in [
        ("SERVICE", "app.gtm.example."),
        ("REGION", "dublin"),
        ("OLD", "up"),
        ("NEW", "down"),
        ("MESSAGE_ID", "d37e1126ee2e4ffebc6c22fdb8f55e70"),
        (
            "MESSAGE",
            "service app.gtm.example. A region dublin is down, was up",
        ),
    ] {
        assert_eq!(
            field(&fell, name),
            Some(value),
            "{}",
            String::from_utf8_lossy(&fell)
        );
    }
}
