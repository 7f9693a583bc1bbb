//! Query sampling against Debian's readers of dnstap, readers that fail, and disks that are full.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;

use crate::support::{Process, Site, command, dig, get, query, udp, wait_for};

/// The content that frames have.
const CONTENT: &str = "protobuf:dnstap.Dnstap";

/// A site where every query is sampled to `place`.
fn site(place: &str) -> Site {
    let site = Site::new();
    let section = format!("[dnstap]\n{place}\nsample = 1\n\n[admin]\n");
    site.edit("meridian.toml", "[admin]\n", &section);
    site
}

/// Debian's reader, which writes what it gets to a file.
fn capture(socket: &Path, file: &Path) -> Process {
    let mut capture = command("fstrm_capture");
    capture.args(["-t", CONTENT, "-u"]).arg(socket);
    Process::spawn(capture.arg("-w").arg(file))
}

/// The text that Debian's printer makes of a file, a document of YAML for each frame.
fn printed(file: &Path) -> String {
    let output = command("dnstap-ldns")
        .args(["-y", "-r"])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{:?}", output.stderr);
    text
}

fn documents(file: &Path) -> Vec<String> {
    let text = printed(file);
    let documents = text.split("---").filter(|part| part.contains("type:"));
    documents.map(str::to_owned).collect()
}

/// The value of a metric's line, which begins with `series`.
fn metric(site: &Site, series: &str) -> u64 {
    let (_, text) = get(site.net.admin(), "/metrics");
    let line = text.lines().find(|line| line.starts_with(series));
    let line = line.unwrap_or_else(|| panic!("{series} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn frames(site: &Site) -> u64 {
    metric(site, "meridian_dnstap_frames_total ")
}

fn dropped(site: &Site, reason: &str) -> u64 {
    let series = format!("meridian_dnstap_dropped_total{{reason=\"{reason}\"}}");
    metric(site, &series)
}

#[test]
fn a_real_reader_gets_queries_and_answers() {
    let site = site("socket = \"tap.sock\"\nidentity = \"anycast-7\"\nversion = \"v9\"");
    let (socket, file) = (site.path("tap.sock"), site.path("captured"));
    let mut server = site.start();
    server.has_said(&format!("dnstap socket {} not written: ", socket.display()));
    server.www();
    wait_for("a sample without a reader", || {
        (dropped(&site, "output") == 1).then_some(())
    });

    // A socket that appears later.
    let reader = capture(&socket, &file);
    server.says("connected; samples lost meanwhile: 1");
    let dns = site.net.dns();
    assert_eq!(server.www(), "192.0.2.10");
    dig(dns, &["+tcp", "text.gtm.example", "TXT"]);
    dig(dns, &["elsewhere.example", "A"]);
    // One that gets no answer.
    let response = [&[0, 1, 0x80, 0][..], &[0; 8]].concat();
    udp(dns).send(&response).unwrap();
    wait_for("the frames", || (frames(&site) == 4).then_some(()));
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("not ended in order"), "{log}");
    reader.signal(Signal::SIGTERM);
    reader.end();

    let frames = documents(&file);
    assert_eq!(frames.len(), 4, "{frames:#?}");
    let found = |parts: &[&str]| {
        let mut matching = frames.iter();
        let is_there = matching.any(|frame| parts.iter().all(|part| frame.contains(part)));
        assert!(is_there, "{parts:?} in {frames:#?}");
    };
    let sender = ["identity: \"anycast-7\"", "version: \"v9\""];
    let address = format!("response_address: \"{}\"", dns.ip());
    let by = [sender[0], sender[1], &address, "response_port: 5300"];
    let udp = [
        "AUTH_RESPONSE",
        "socket_protocol: UDP",
        "socket_family: INET",
    ];
    found(
        &[
            &by[..],
            &udp,
            &["query_zone: \"gtm.example.\"", "192.0.2.10", "query_time"],
        ]
        .concat(),
    );
    let tcp = [
        "AUTH_RESPONSE",
        "socket_protocol: TCP",
        "\"one\" \"two\"",
        "response_time",
    ];
    found(&[&by[..], &tcp].concat());
    found(&["AUTH_RESPONSE", "REFUSED", "elsewhere.example."]);
    found(&["type: AUTH_QUERY"]);
}

#[test]
fn a_reader_that_comes_back_gets_frames_again() {
    let site = site("socket = \"tap.sock\"");
    let socket = site.path("tap.sock");
    let reader = capture(&socket, &site.path("first"));
    let mut server = site.start();
    server.has_said("connected");
    reader.signal(Signal::SIGKILL);
    reader.end();
    wait_for("the loss to be seen", || {
        server.www();
        (dropped(&site, "output") > 0).then_some(())
    });
    server.says("not written: ");
    let reader = capture(&socket, &site.path("second"));
    server.says("connected; ");
    let before = frames(&site);
    server.www();
    wait_for("a frame", || (frames(&site) > before).then_some(()));
    server.stop();
    reader.signal(Signal::SIGTERM);
    reader.end();
    assert!(printed(&site.path("second")).contains("www.gtm.example."));
}

/// Queries are answered as ever while the writer hangs; samples that find no room are counted.
#[test]
fn a_reader_that_stops_holds_up_nobody() {
    let site = site("socket = \"tap.sock\"");
    let listener = UnixListener::bind(site.path("tap.sock")).unwrap();
    let stopped = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // READY has a head of 8 octets, a type, and a content type; ACCEPT is the same.
        let mut ready = vec![0; 20 + CONTENT.len()];
        stream.read_exact(&mut ready).unwrap();
        assert_eq!(ready[8..12], [0, 0, 0, 4]);
        assert!(ready.ends_with(CONTENT.as_bytes()));
        ready[11] = 1;
        stream.write_all(&ready).unwrap();
        // Both stay open, and nobody reads.
        (listener, stream)
    });
    let mut server = site.start();
    server.has_said("connected");
    let _open = stopped.join().unwrap();
    let (socket, question) = (
        udp(site.net.dns()),
        query("text.gtm.example.", RecordType::TXT),
    );
    let mut answer = [0; 1232];
    let mut answered = 0;
    while dropped(&site, "queue") == 0 || dropped(&site, "output") == 0 {
        for _ in 0..1000 {
            socket.send(&question).unwrap();
            socket.recv(&mut answer).expect("an answer");
            answered += 1;
        }
        assert!(answered < 1_000_000, "nothing is dropped");
    }
    server.says("not written: its reader did nothing for 2s");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_peer_that_is_no_reader_is_said() {
    let site = site("socket = \"tap.sock\"");
    let listener = UnixListener::bind(site.path("tap.sock")).unwrap();
    let _peer = std::thread::spawn(move || {
        // Kept open: what it says is to be read.
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
            open.push(stream);
        }
    });
    let mut server = site.start();
    server.has_said("not written: its reader does not speak Frame Streams in both directions");
    assert_eq!(server.www(), "192.0.2.10");
    server.stop();
}

#[test]
fn a_file_is_whole_and_an_older_one_is_kept() {
    let site = site("file = \"queries.fstrm\"");
    let file = site.path("queries.fstrm");
    let mut server = site.start();
    server.has_said(&format!("dnstap file {} begun", file.display()));
    server.www();
    server.stop();
    let first = printed(&file);
    assert!(first.contains("identity: \"test-node\""), "{first}");
    assert!(first.contains("version: \"meridian "), "{first}");

    let mut server = site.start();
    server.www();
    wait_for("a frame", || (frames(&site) == 1).then_some(()));
    assert_eq!(printed(&site.path("queries.fstrm.1")), first);
    // As programs do that rotate files.
    std::fs::rename(&file, site.path("rotated")).unwrap();
    server.has_said("begun");
    server.says("begun");
    server.www();
    server.stop();
    for name in ["rotated", "queries.fstrm"] {
        assert_eq!(documents(&site.path(name)).len(), 1, "{name}");
    }
}

#[test]
fn a_full_disk_leaves_whole_frames_and_is_written_again() {
    let site = site("file = \"small/queries.fstrm\"");
    let small = site.path("small");
    std::fs::create_dir(&small).unwrap();
    let script = "mount -t tmpfs -o size=64k tmpfs \"$0\" && head -c 40000 /dev/zero > \"$0/ballast\" && exec \"$@\"";
    let own = match nix::unistd::geteuid().is_root() {
        true => "-m",
        false => "-rm",
    };
    let unshare = |program: &mut Command| {
        let mut inside = command("unshare");
        inside.args([own, "sh", "-c", script]).arg(&small);
        inside.arg(program.get_program()).args(program.get_args());
        inside
    };
    let tried = unshare(&mut command("true")).status();
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("not tested: mount namespaces cannot be made here");
        return;
    }
    let mut server = site.start_as(&mut unshare(&mut site.serve()));
    let root = format!("/proc/{}/root", server.process.id());
    let within = |name: &str| PathBuf::from(format!("{root}{}", small.display())).join(name);
    let (socket, question) = (
        udp(site.net.dns()),
        query("text.gtm.example.", RecordType::TXT),
    );
    wait_for("the disk to be full", || {
        (0..20).for_each(|_| drop(socket.send(&question)));
        (dropped(&site, "output") > 0).then_some(())
    });
    server.says("not written: No space left on device");
    let whole = frames(&site) as usize;
    std::fs::remove_file(within("ballast")).unwrap();
    wait_for("frames again", || {
        server.www();
        (frames(&site) as usize > whole).then_some(())
    });
    server.says("written again; samples lost meanwhile: ");
    let frames = frames(&site) as usize;
    let copy = site.path("copy");
    std::fs::copy(within("queries.fstrm"), &copy).unwrap();
    assert!(documents(&copy).len() >= frames);
    server.stop();
}
