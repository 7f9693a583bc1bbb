//! `meridian demo` without a terminal.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::support::{Net, Process, command, dig, run, wait_for};

/// One test, since the demo's toy regions have fixed addresses.
#[test]
fn the_demo_serves_fails_and_heals_a_region_by_key_and_ends() {
    let listen = Net::new().dns();
    let www = || {
        dig(
            listen,
            &["www.demo.example", "+subnet=203.0.113.0/24", "+short"],
        )
    };
    // Somebody may be looking at a demo of their own.
    let free = |host| TcpListener::bind((Ipv4Addr::new(127, 0, 0, host), 18080)).is_ok();
    wait_for("the toy regions' addresses are free", || {
        [11, 12, 13].into_iter().all(free).then_some(())
    });
    let start = |stdin: Stdio| {
        let mut demo = command(env!("CARGO_BIN_EXE_meridian"));
        demo.args(["demo", "--listen", &listen.to_string()])
            .stdin(stdin);
        let mut demo = Process::spawn(&mut demo);
        demo.wait_log("Keys: 1, 2 and 3 fail or heal", 0);
        demo
    };

    let mut demo = start(Stdio::piped());
    let printed = demo.log();
    let commands: Vec<_> = printed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("dig "))
        .collect();
    assert!(commands.len() >= 5, "{printed}");
    for line in commands {
        // Run as printed, but for the comment.
        let output = command("sh")
            .args([
                "-c",
                &format!("dig +tries=1 +time=5 {}", line.split('#').next().unwrap()),
            ])
            .output()
            .unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && answer.contains("127.0.0.1"),
            "{line}: {answer}"
        );
        if let Some((_, address)) = line
            .split_once("# near ")
            .and_then(|(_, near)| near.split_once(": "))
        {
            assert_eq!(answer.trim(), address, "{line}");
        }
    }
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let shown = |start: &str| {
        readme
            .split("\n```\n")
            .find(|block| block.starts_with(start))
            .expect("README shows it")
    };
    let place = format!("@{} -p {}", listen.ip(), listen.port());
    let printed = printed.replace(&place, "@127.0.0.1 -p 5300");
    // The blanks before a comment depend on the length of the address.
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in shown("  dig @").lines() {
        assert!(
            printed.lines().any(|printed| words(printed) == words(line)),
            "README shows {line}\n{printed}"
        );
    }
    let said = demo.log().len();
    demo.stdin().write_all(b"1").unwrap();
    let said = demo.wait_log("127.0.0.11 (dublin) -> 127.0.0.12 (ashburn)", said);
    let log = demo.log();
    for line in shown("dublin (127.0.0.11) is failing").lines() {
        // But for the time, it is said so.
        let words = line.split_once(" s  ").map_or(line, |(_, words)| words);
        assert!(log.contains(words), "README shows {line}\n{log}");
    }
    assert_eq!(www(), "127.0.0.12\n");
    demo.stdin().write_all(b"1").unwrap();
    let said = demo.wait_log("127.0.0.12 (ashburn) -> 127.0.0.11 (dublin)", said);
    assert_eq!(www(), "127.0.0.11\n");
    demo.stdin().write_all(b"22").unwrap();
    let said = demo.wait_log("ashburn (127.0.0.12) is failing", said);
    demo.wait_log("ashburn (127.0.0.12) is healthy again", said);
    // The addresses are taken now: a second demo ends, in words.
    let done = run(
        Path::new("/"),
        &["demo", "--listen", &Net::new().dns().to_string()],
    );
    assert_eq!(done.code, Some(1), "{done:?}");
    let says = "meridian demo: the toy region dublin: cannot listen on 127.0.0.11:18080 (TCP): the port is in use";
    assert!(done.stderr.starts_with(says), "{done:?}");
    demo.stdin().write_all(b"q").unwrap();
    let (code, log) = demo.end();
    assert_eq!(code, Some(0), "{log}");

    let holder = UdpSocket::bind(listen).unwrap();
    let done = run(Path::new("/"), &["demo", "--listen", &listen.to_string()]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.stderr.starts_with(&format!(
            "meridian: cannot listen on {listen} (UDP): the port is in use"
        )),
        "{done:?}"
    );
    drop(holder);

    // Without a keyboard it runs until a signal.
    let demo = start(Stdio::null());
    std::thread::sleep(std::time::Duration::from_millis(500));
    wait_for("it answers", || (www() == "127.0.0.11\n").then_some(()));
    demo.signal(Signal::SIGTERM);
    assert_eq!(demo.end().0, Some(0));
}
