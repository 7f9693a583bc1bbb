//! ACME challenges as an operator sets them: by command and over HTTP, through a kill and a damaged file.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Done, Site, command, dig, get, wait_for};

const NAME: &str = "_acme-challenge.www.gtm.example";

fn txt(site: &Site) -> String {
    dig(site.net.dns(), &["TXT", NAME, "+short"])
}

#[track_caller]
fn done(what: Done) -> String {
    assert_eq!((what.code, what.stderr.as_str()), (Some(0), ""), "{what:?}");
    what.stdout
}

/// A request with a body; what curl prints, with the status last.
fn curl(site: &Site, method: &str, path: &str, body: &str) -> String {
    let url = format!("{}{path}", site.net.admin_url());
    let mut curl = command("curl");
    curl.args(["-s", "-X", method, &url, "-d", body, "-w", " %{http_code}"]);
    curl.args(["-H", "Content-Type: application/json"]);
    let output = curl.output().expect("tests/run installs curl");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_challenge_is_set_by_command_and_stays_over_a_kill_until_it_is_cleared() {
    let site = Site::new();
    let server = site.start();
    assert_eq!(txt(&site), "");
    let said = done(site.run(&["acme", "set", "www.gtm.example", "-first_1", "--for", "1h"]));
    assert!(
        said.starts_with("ACME challenge of www.gtm.example. is set until "),
        "{said}"
    );
    assert!(said.trim_end().ends_with(": -first_1"), "{said}");
    done(site.run(&["acme", "set", "*.www.gtm.example", "second", "--json"]));
    assert_eq!(txt(&site), "\"-first_1\"\n\"second\"\n");
    // The name itself stays what it is.
    let www = dig(site.net.dns(), &["A", "www.gtm.example", "+short"]);
    assert!(!www.is_empty());
    let (_, metrics) = get(site.net.admin(), "/metrics");
    assert!(
        metrics.contains("\nmeridian_acme_challenges 2\n"),
        "{metrics}"
    );

    server.process.signal(Signal::SIGKILL);
    server.process.end();
    let server = site.start();
    assert_eq!(txt(&site), "\"-first_1\"\n\"second\"\n");
    let listed: Value = serde_json::from_str(&done(site.run(&["acme", "list", "--json"]))).unwrap();
    assert_eq!(listed[0]["record"], "_acme-challenge.www.gtm.example.");
    assert_eq!(
        (&listed[0]["value"], &listed[1]["value"]),
        (&"-first_1".into(), &"second".into())
    );
    let lines = done(site.run(&["acme", "list"]));
    assert!(
        lines.starts_with("_acme-challenge.www.gtm.example. TXT -first_1 until "),
        "{lines}"
    );

    let said = done(site.run(&["acme", "clear", "www.gtm.example", "-first_1"]));
    assert!(said.contains("is cleared, by "), "{said}");
    assert_eq!(txt(&site), "\"second\"\n");
    done(site.run(&["acme", "clear", "www.gtm.example"]));
    assert_eq!(
        done(site.run(&["acme", "clear", "www.gtm.example"])),
        "nothing to clear\n"
    );
    assert_eq!(
        (
            txt(&site).as_str(),
            done(site.run(&["acme", "list"])).as_str()
        ),
        ("", "no ACME challenges\n")
    );
    drop(server);
}

#[test]
fn what_cannot_be_set_is_refused_in_words() {
    let site = Site::new();
    let _server = site.start();
    for (arguments, code, why) in [
        (
            &["www.other.example", "one"][..],
            1,
            "it lies in no zone of this server",
        ),
        (
            &["_acme-challenge.www.gtm.example", "one"],
            1,
            "without _acme-challenge",
        ),
        (
            &["www.gtm.example", "a b"],
            1,
            "the value has the character ' '",
        ),
        (
            &["www.gtm.example", "one", "--for", "25h"],
            2,
            "from 1s to 24h",
        ),
        (&["www.gtm.example", "one", "--for", "soon"], 2, "--for"),
    ] {
        let refused = site.run(&[&["acme", "set"], arguments].concat());
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(code), ""));
        assert!(refused.stderr.contains(why), "{why}: {}", refused.stderr);
    }
    for (method, path, body, field, status) in [
        (
            "PUT",
            "/v1/acme/www.gtm.example",
            r#"{"value":""}"#,
            "value",
            422,
        ),
        (
            "PUT",
            "/v1/acme/www.gtm.example",
            r#"{"value":"a","for":"0s"}"#,
            "for",
            422,
        ),
        (
            "PUT",
            "/v1/acme/www..example",
            r#"{"value":"a"}"#,
            "name",
            422,
        ),
        (
            "PUT",
            "/v1/acme/www.gtm.example",
            r#"{"value":"a","ttl":1}"#,
            "ttl",
            400,
        ),
        (
            "DELETE",
            "/v1/acme/www.gtm.example?value=%20",
            "",
            "value",
            422,
        ),
    ] {
        let answer = curl(&site, method, path, body);
        let (text, code) = answer.rsplit_once(' ').unwrap();
        let problem: Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            (&problem["field"], code),
            (&field.into(), status.to_string().as_str()),
            "{answer}"
        );
    }
    let answer = curl(
        &site,
        "PUT",
        "/v1/acme/www.gtm.example",
        r#"{"value":"by-http"}"#,
    );
    assert!(answer.ends_with(" 200"), "{answer}");
    assert!(answer.contains("\"revision\":1,"), "{answer}");
    assert_eq!(txt(&site), "\"by-http\"\n");
    let answer = curl(
        &site,
        "DELETE",
        "/v1/acme/www.gtm.example?value=by-http",
        "",
    );
    assert!(answer.ends_with(" 200"), "{answer}");
    assert_eq!(txt(&site), "");
}

#[test]
fn a_damaged_file_costs_the_challenges_and_nothing_else() {
    let site = Site::new();
    let server = site.start();
    done(site.run(&["acme", "set", "www.gtm.example", "one"]));
    server.process.signal(Signal::SIGKILL);
    server.process.end();
    fs::write(site.path("state/acme.json"), "{").unwrap();
    let mut server = site.start();
    server.has_said("ACME challenges lost: ");
    assert!(site.path("state/acme.json.bad").exists());
    assert_eq!(txt(&site), "");
    done(site.run(&["acme", "set", "www.gtm.example", "two", "--for", "1s"]));
    wait_for("the challenge ends", || txt(&site).is_empty().then_some(()));
    drop(server);
}
