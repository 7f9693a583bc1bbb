//! Changes as others follow them: the list, the stream, and the command that shows both.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Meridian, Site, Toy, command, get, wait_for};

/// A stream of events, as a client reads it line by line.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(server: SocketAddr, path: &str, headers: &str) -> Stream {
        let mut stream = TcpStream::connect(server).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
        )
        .unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("text/event-stream"), "{head}");
        Stream(reader)
    }

    /// The next event of this type: its id and its data.
    fn next(&mut self, name: &str) -> (String, Value) {
        let (mut id, mut is_meant) = (String::new(), false);
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream ended");
            let line = line.trim_end();
            if let Some(own) = line.strip_prefix("id: ") {
                id = own.to_owned();
            } else if let Some(own) = line.strip_prefix("event: ") {
                is_meant = own == name;
            } else if let Some(data) = line.strip_prefix("data: ")
                && is_meant
            {
                return (id, serde_json::from_str(data).unwrap());
            }
        }
    }

    /// The next change of a pool to this state.
    fn pool(&mut self, state: &str) -> (String, Value) {
        loop {
            let (id, change) = self.next("change");
            if change["kind"] == "pool" && change["new"] == state {
                return (id, change);
            }
        }
    }
}

fn list(server: &Meridian, query: &str) -> Value {
    let (status, text) = get(
        server.net.admin(),
        &format!("/v1/events?follow=false{query}"),
    );
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_stream_shows_what_happens_and_goes_on_where_it_broke() {
    let site = Site::with_app();
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    let server = site.start();
    let admin = server.net.admin();
    let mut all = Stream::open(admin, "/v1/events", "");
    let mut tokyo = Stream::open(admin, "/v1/events?kind=pool&region=tokyo", "");
    let back = dublin.kill();
    let (id, down) = all.pool("down");
    assert_eq!(down["region"], "dublin");
    assert_eq!(down["service"], "app.gtm.example.");
    assert_eq!(down["severity"], "warning");
    let said = down["sentence"].as_str().unwrap();
    wait_for("the log says the same", || {
        server.process.log().contains(said).then_some(())
    });
    drop(all);
    let _dublin = back();
    wait_for("it is up again", || {
        let kept = list(&server, "&kind=pool&service=app.gtm.example");
        let last = kept["events"].as_array()?.last()?.clone();
        (last["new"] == "up").then_some(())
    });
    // What happened meanwhile comes first.
    let headers = format!("Last-Event-ID: {id}\r\n");
    let mut resumed = Stream::open(admin, "/v1/events", &headers);
    let (_, next) = resumed.next("change");
    assert_eq!(next["number"], down["number"].as_u64().unwrap() + 1);
    resumed.pool("up");
    // Another process numbers its changes anew, and says so.
    let headers = "Last-Event-ID: 0123456789ab-7\r\n";
    let mut other = Stream::open(admin, "/v1/events", headers);
    let (_, gap) = other.next("gap");
    assert_eq!(
        (&gap["cause"], &gap["previous"]),
        (&"restarted".into(), &"0123456789ab-7".into())
    );
    assert_eq!(other.next("change").1["number"], 1);
    // A filter left all of that out.
    tokyo
        .0
        .get_ref()
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut rest = Vec::new();
    let _ = tokyo.0.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("data:"));
}

#[test]
fn wrong_parameters_are_problems() {
    let site = Site::new();
    let server = site.start();
    for (query, field, status) in [
        ("kind=pols", "kind", 422),
        ("after=yesterday", "after", 400),
        ("limit=0", "limit", 422),
        ("colour=red", "colour", 400),
    ] {
        let (got, text) = get(server.net.admin(), &format!("/v1/events?{query}"));
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((got, &problem["field"]), (status, &field.into()), "{text}");
    }
}

#[test]
fn a_client_that_reads_nothing_delays_nobody() {
    let site = Site::with_app();
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    let server = site.start();
    let admin = server.net.admin();
    let silent: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(admin).unwrap();
            write!(
                stream,
                "GET /v1/events?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
            .unwrap();
            stream
        })
        .collect();
    let mut stream = Stream::open(admin, "/v1/events", "");
    let begun = Instant::now();
    drop(dublin);
    stream.pool("down");
    assert!(begun.elapsed() < Duration::from_secs(15));
    drop(silent);
}

#[test]
fn the_command_shows_what_is_kept_and_follows_through_a_restart() {
    let site = Site::with_app();
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    let server = site.start();
    let back = dublin.kill();
    wait_for("a change of the pool", || {
        let done = site.run(&["events", "--kind", "pool", "--json"]);
        done.stdout
            .lines()
            .find(|line| line.contains("\"new\":\"down\""))
            .map(str::to_owned)
    });
    let done = site.run(&["events", "--region", "dublin", "--kind", "pool"]);
    assert!(
        done.stdout
            .contains("Z WARNING service app.gtm.example. A region dublin is down"),
        "{done:?}"
    );

    let mut follow = command(env!("CARGO_BIN_EXE_meridian"));
    follow.args(["events", "--follow", "--json", "--limit", "1", "--config"]);
    follow.arg(site.path("meridian.toml"));
    let mut child = follow
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let _dublin = back();
    let boot = loop {
        let change: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert!(change["number"].as_u64() > first["number"].as_u64());
        if change["kind"] == "pool" && change["new"] == "up" {
            break change["boot"].clone();
        }
    };
    server.stop();
    let server = site.start();
    // It connects again by itself, and the changes of the new process follow.
    let done = site.run(&["drain", "tokyo", "--for", "10m", "--reason", "a test"]);
    assert!(
        done.stdout.contains("override") || done.stderr.contains("override"),
        "{done:?}"
    );
    loop {
        let change: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if change["kind"] == "override" {
            assert_ne!(change["boot"], boot);
            assert_eq!(change["region"], "tokyo");
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    drop(server);
}
