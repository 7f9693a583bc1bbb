//! `meridian drain` and its like, on a real server: at once, kept, and refused where they would do harm.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Done, Site, dig, get};

/// The regions of `www` that a client near Dublin is sent to, in turn.
const DUBLIN: &str = "192.0.2.10";
const ASHBURN: &str = "192.0.2.20";

fn site() -> Site {
    let site = Site::new();
    site.edit("meridian.toml", "[admin]", "why_from = [\"127.0.0.0/8\"]\n[admin]");
    site.edit("meridian.toml", "[regions.dublin]", "[regions.dublin]\nlabels = { provider = \"cloud-a\" }");
    site.edit("meridian.toml", "[regions.tokyo]", "[regions.tokyo]\nlabels = { provider = \"cloud-a\" }");
    site
}

fn answer(site: &Site) -> String {
    dig(site.net.dns(), &["www.gtm.example", "+subnet=203.0.113.0/24", "+short"]).trim().to_owned()
}

#[track_caller]
fn done(what: Done) -> String {
    assert_eq!((what.code, what.stderr.as_str()), (Some(0), ""), "{}", what.stdout);
    what.stdout
}

#[track_caller]
fn refused(what: Done, why: &str) {
    assert_eq!((what.code, what.stdout.as_str()), (Some(1), ""), "{}", what.stderr);
    assert!(what.stderr.contains(why), "{}", what.stderr);
}

#[test]
fn a_provider_is_drained_at_once_and_stays_it_over_a_kill() {
    let site = site();
    let server = site.start();
    assert_eq!(answer(&site), DUBLIN);
    let why = ["--reason", "INC-7: loses packets", "--by", "anna"];
    let said = done(site.run(&[&["drain", "provider:cloud-a", "--for", "1h"], &why[..]].concat()));
    assert!(said.starts_with("override 1: drain of label provider:cloud-a by anna until "), "{said}");
    assert_eq!(answer(&site), ASHBURN);
    let (_, body) = get(site.net.admin(), "/why?name=www.gtm.example&client=203.0.113.0/24&format=text");
    assert!(
        body.contains("dublin: drained, 2 of 2 endpoints up, weight 1, label provider:cloud-a drained by anna until "),
        "{body}"
    );
    assert!(body.contains(": INC-7: loses packets"), "{body}");
    // In band a forwarder on the host may hand it to anybody: no names, no reasons.
    let in_band = dig(site.net.dns(), &["CH", "TXT", "www.gtm.example", "+subnet=203.0.113.0/24", "+short", "+tcp"]);
    assert!(in_band.contains("\"dublin: drained, 2 of 2 endpoints up, weight 1\""), "{in_band}");
    assert!(!in_band.contains("anna") && !in_band.contains("INC-7"), "{in_band}");
    let (_, metrics) = get(site.net.admin(), "/metrics");
    assert!(metrics.contains("meridian_override{word=\"drain\",of=\"label provider:cloud-a\"} 1"), "{metrics}");

    server.process.signal(Signal::SIGKILL);
    server.process.end();
    let server = site.start();
    assert_eq!(answer(&site), ASHBURN);
    let listed: Value = serde_json::from_str(&done(site.run(&["overrides", "--json"]))).unwrap();
    assert_eq!(listed[0]["of"], "label provider:cloud-a");
    assert_eq!((&listed[0]["in_force"], &listed[0]["forced"]), (&true.into(), &false.into()));
    // A reload is no end of it.
    drop(done(site.run(&["weight", "0", "www.gtm.example/ashburn", "--until-removed", "--reason", "last one", "--force"])));
    let mut server = server;
    server.reload("reloaded: ");
    assert_eq!(done(site.run(&["overrides"])).lines().count(), 2);
    assert!(done(site.run(&["release", "provider:cloud-a"])).starts_with("override 1 is taken back: "));
    assert_eq!(answer(&site), DUBLIN);
    assert!(done(site.run(&["release", "2"])).contains("weight 0 of pool www.gtm.example./ashburn"));
    assert_eq!(done(site.run(&["overrides"])), "no overrides\n");
    let mode = fs::metadata(site.path("state/control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "for its own user alone");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("override 2 is taken back"), "{log}");
}

#[test]
fn what_would_do_harm_or_means_nothing_is_refused_in_words() {
    let site = site();
    let terms = ["--for", "1h", "--reason", "x"];
    let drain = |what: &str| site.run(&[&["drain", what], &terms[..]].concat());
    refused(drain("dublin"), "no server is running there");
    let server = site.start();
    refused(drain("www.gtm.example"), "it would leave www.gtm.example. 0 regions up, and min_regions is 1");
    refused(drain("dubln"), "there is no region, metro, label, service or endpoint dubln; did you mean dublin?");
    refused(site.run(&["release", "dublin"]), "there is no override of dublin");
    refused(site.run(&["drain", "dublin", "--for", "1h", "--reason", " "]), "a reason is to be given");
    refused(site.run(&["drain", "dublin", "--for", "20years", "--reason", "x"]), "is no time up to 3650 days");
    refused(site.run(&["weight", "1000001", "dublin", "--for", "1h", "--reason", "x"]), "weight 0 to 1000000");
    for wrong in
        [&["drain", "dublin", "--reason", "x"][..], &["drain", "dublin", "--for", "1h"], &["up", "--for", "1h", "--reason", "x"]]
    {
        let what = site.run(wrong);
        assert_eq!(what.code, Some(2), "{}", what.stderr);
    }
    assert!(site.run(&["drain", "dublin", "--reason", "x"]).stderr.contains("--until-removed"), "both ways to end it are named");
    assert_eq!(answer(&site), DUBLIN, "nothing of that had an effect");
    server.stop();

    // A file that is no list of overrides is set aside, and said.
    fs::write(site.path("state/overrides.json"), "{}").unwrap();
    let mut server = site.start();
    server.has_said("overrides.json are not used, since it is damaged");
    assert!(site.path("state/overrides.json.bad").exists());
    assert_eq!(done(site.run(&["overrides"])), "no overrides\n");
    server.stop();
}
