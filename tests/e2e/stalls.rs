//! What stops and hangs around the real server: whoever reads its log, its file systems, the process itself. Queries, failover and
//! operators go on.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{PATIENCE, Process, Site, Toy, command, dig, get, post, wait_for};

fn app(site: &Site) -> String {
    dig(
        site.net.dns(),
        &["app.gtm.example", "+subnet=203.0.113.0/24", "+short"],
    )
    .trim()
    .to_owned()
}

fn metric(site: &Site, name: &str) -> f64 {
    let (_, text) = get(site.net.admin(), "/metrics");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} in {text}"))
        .parse()
        .unwrap()
}

/// A server whose log goes into a pipe that is full already.
struct Unread {
    child: Child,
    log: std::io::PipeReader,
}

impl Unread {
    fn start(site: &Site, filter: &str) -> Unread {
        let (log, mut writer) = std::io::pipe().unwrap();
        let size = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        writer.write_all(&vec![b'-'; size as usize]).unwrap();
        let child = site
            .serve()
            .env("MERIDIAN_LOG", filter)
            .stdout(Stdio::null())
            .stderr(writer)
            .spawn()
            .unwrap();
        wait_for("it answers", || {
            (get_ready(site) == Some(200)).then_some(())
        });
        Unread { child, log }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get_ready(site: &Site) -> Option<u16> {
    std::net::TcpStream::connect(site.net.admin()).ok()?;
    Some(get(site.net.admin(), "/readyz").0)
}

#[test]
fn a_full_pipe_of_the_log_stops_neither_failover_nor_reload_nor_operators() {
    let site = Site::with_app();
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    // A line for every outcome of a probe.
    let server = Unread::start(&site, "debug");
    assert_eq!(app(&site), site.net.host(11).to_string());
    drop(dublin);
    wait_for("another region answers", || {
        (app(&site) != site.net.host(11).to_string()).then_some(())
    });
    site.edit("zones/gtm.example.toml", "\"one\"", "\"another\"");
    server.signal(Signal::SIGHUP);
    let text = || dig(site.net.dns(), &["text.gtm.example", "TXT", "+short"]);
    wait_for("the reload is done", || {
        text().contains("another").then_some(())
    });
    let drained = site.run(&[
        "drain",
        "www.gtm.example/tokyo",
        "--for",
        "1h",
        "--reason",
        "x",
    ]);
    assert!(drained.stdout.starts_with("override 1: "), "{drained:?}");
    assert_eq!(get_ready(&site), Some(200));
    server.signal(Signal::SIGTERM);
    let mut server = server;
    assert_eq!(
        wait_for("it ends", || server.child.try_wait().unwrap()).code(),
        Some(0),
        "nobody reads, and it ends all the same"
    );
}

#[test]
fn what_the_log_had_no_room_for_is_counted_and_said_once_it_is_read() {
    let site = Site::with_app();
    site.edit(
        "meridian.toml",
        "interval = \"200ms\"\ntimeout  = \"100ms\"",
        "interval = \"100ms\"\ntimeout  = \"50ms\"",
    );
    // Two thousand outcomes a second, each a line.
    let refusing = (20..220)
        .map(|host| format!("{:?}", site.net.host(host).to_string()))
        .collect::<Vec<_>>()
        .join(", ");
    let dublin = format!("\"{}\"", site.net.host(11));
    site.edit("zones/gtm.example.toml", &dublin, &refusing);
    let _toys = Toy::regions(site.net);
    let mut server = Unread::start(&site, "debug");
    let end = Instant::now() + 9 * PATIENCE;
    while metric(&site, "meridian_log_dropped_total") == 0.0 {
        assert!(Instant::now() < end, "nothing is dropped");
        std::thread::sleep(Duration::from_millis(100));
    }
    let said = Arc::new(AtomicBool::new(false));
    let heard = said.clone();
    let mut log = server.log.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let (mut text, mut buffer) = (String::new(), vec![0; 1 << 16]);
        while let Ok(length @ 1..) = log.read(&mut buffer) {
            text += &String::from_utf8_lossy(&buffer[..length]);
            heard.fetch_or(
                text.contains(" log lines were dropped before this one"),
                Ordering::Relaxed,
            );
            text = text.split_off(text.floor_char_boundary(text.len().saturating_sub(200)));
        }
    });
    wait_for("the drops are said", || {
        said.load(Ordering::Relaxed).then_some(())
    });
    server.child.kill().unwrap();
    drop(server);
    reader.join().unwrap();
}

#[test]
fn a_service_manager_that_reads_nothing_stops_nothing() {
    let site = Site::new();
    let path = site.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send_to(b"X=1", &path).is_ok() {}
    let mut server = site.start_as(
        site.serve()
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "100000"),
    );
    server.reload("reloaded: ");
    assert_eq!(get_ready(&site), Some(200));
    // It reads again, and hears what it missed, in order.
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 4096];
    let mut heard = String::new();
    while !heard.contains("RELOADING=1") {
        let length = manager.recv(&mut buffer).expect("what was missed is said");
        heard += &String::from_utf8_lossy(&buffer[..length]);
    }
    assert!(heard.find("READY=1") < heard.find("RELOADING=1"), "{heard}");
    server.stop();
}

/// A file system over a directory of which no request is ever answered; until dropped.
struct Hang {
    over: PathBuf,
    _fuse: File,
}

impl Hang {
    /// `None` where this process may not mount.
    fn over(directory: &Path) -> Option<Hang> {
        let fuse = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .ok()?;
        let data = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            fuse.as_raw_fd()
        );
        mount(
            Some("hang"),
            directory,
            Some("fuse"),
            MsFlags::empty(),
            Some(data.as_str()),
        )
        .ok()?;
        Some(Hang {
            over: directory.to_owned(),
            _fuse: fuse,
        })
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        let _ = umount2(&self.over, MntFlags::MNT_DETACH);
    }
}

/// A connection to the control socket from before its file system hangs.
struct Operator(UnixStream);

impl Operator {
    fn of(site: &Site) -> Operator {
        let stream = UnixStream::connect(site.path("state/control.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Operator(stream)
    }

    fn drains(mut self, what: &str) -> String {
        let body =
            format!(r#"{{"action":"drain","what":"{what}","by":"anna","reason":"x","for":"1h"}}"#);
        let length = body.len();
        let head = format!(
            "HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        write!(self.0, "POST /v1/overrides {head}{body}").unwrap();
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn hung_file_systems_stop_neither_failover_nor_answers_to_operators() {
    let site = Site::with_app();
    let city = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/geoip/world.mmdb")).unwrap();
    site.write_bytes("geo/city.mmdb", &city);
    site.edit(
        "meridian.toml",
        "[maps.default]",
        "[geo]\ncity = \"geo/city.mmdb\"\n[maps.default]",
    );
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    let mut server = site.start();
    let (first, second) = (Operator::of(&site), Operator::of(&site));
    // Dropped after what hangs.
    let mut asking = None;
    let Some(hangs) = ["state", "geo", "zones"]
        .map(|name| Hang::over(&site.path(name)))
        .into_iter()
        .collect::<Option<Vec<_>>>()
    else {
        eprintln!("skipped: only root may mount a file system that hangs");
        return;
    };
    assert_eq!(app(&site), site.net.host(11).to_string());
    drop(dublin);
    wait_for("another region answers", || {
        (app(&site) != site.net.host(11).to_string()).then_some(())
    });
    server.process.signal(Signal::SIGHUP);
    server.says("reloading: SIGHUP");
    let answer = first.drains("dublin");
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("the state directory"),
        "{answer}"
    );
    server.has_said("changes of location databases are not seen, and those in use stay");
    server.has_said("the state directory cannot be written: overrides are refused");
    let answer = second.drains("dublin");
    assert!(
        answer.contains("nothing is changed") && answer.contains("has not answered for"),
        "{answer}"
    );
    assert!(metric(&site, "meridian_file_work_seconds{work=\"databases\"}") >= 5.0);
    assert!(metric(&site, "meridian_file_work_seconds{work=\"state\"}") >= 5.0);
    assert!(metric(&site, "meridian_file_work_seconds{work=\"reload\"}") >= 1.0);
    assert_eq!(
        metric(&site, "meridian_control_loop_late_seconds"),
        0.0,
        "the loop goes round"
    );
    // Its last thread may not be killed before the file system is gone, so its end is not waited for.
    let mut overrides = command(env!("CARGO_BIN_EXE_meridian"));
    overrides
        .args(["overrides", "--config"])
        .arg(site.path("meridian.toml"))
        .current_dir("/");
    asking
        .insert(Process::spawn(&mut overrides))
        .wait_log("did not answer within 10 s", 0);
    assert_eq!(get_ready(&site), Some(200));
    drop(hangs);
    server.says("file system answers again");
    server.stop();
}

/// Everything of the directory that the new files name is read, locked and bound beside the loop.
#[test]
fn a_reload_to_a_state_directory_that_hangs_stops_no_failover() {
    let site = Site::with_app();
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    let mut server = site.start();
    std::fs::create_dir(site.path("other")).unwrap();
    let Some(hangs) = Hang::over(&site.path("other")) else {
        eprintln!("skipped: only root may mount a file system that hangs");
        return;
    };
    site.edit("meridian.toml", "\"state\"", "\"other\"");
    server.process.signal(Signal::SIGHUP);
    server.says("reloading: SIGHUP");
    assert_eq!(app(&site), site.net.host(11).to_string());
    drop(dublin);
    wait_for("another region answers", || {
        (app(&site) != site.net.host(11).to_string()).then_some(())
    });
    wait_for("the reload waits", || {
        (metric(&site, "meridian_file_work_seconds{work=\"reload\"}") >= 2.0).then_some(())
    });
    assert_eq!(
        metric(&site, "meridian_control_loop_late_seconds"),
        0.0,
        "the loop goes round"
    );
    assert_eq!(get_ready(&site), Some(200));
    drop(hangs);
    server.says("reloaded: ");
    server.stop();
}

/// A unit whose owner reports itself, and would be taken over where it does not.
const ORDERS: &str = r#"
[services.orders]
route    = "unit"
owners   = "dublin"
takeover = "auto"
checks   = ["own"]
ttl      = 1
ttl_min  = 1
grace    = "2s"
[services.orders.pools]
dublin  = { endpoints = ["NET.11"] }
ashburn = { endpoints = ["NET.12"] }
"#;

#[test]
fn a_process_that_was_stopped_takes_no_unit_from_an_owner_that_reported_meanwhile() {
    let site = Site::with_app();
    let zone = std::fs::read_to_string(site.path("zones/gtm.example.toml")).unwrap();
    site.write("zones/gtm.example.toml", &[&zone, ORDERS].concat());
    site.edit(
        "meridian.toml",
        "[checks.web]",
        "[checks.own]\ntype = \"push\"\nexpires = \"2s\"\nfall = 1\n\n[checks.web]",
    );
    site.edit("meridian.toml", "node ", "sole = true\nnode ");
    let _toys = Toy::regions(site.net);
    let mut server = site.start_as(site.serve().arg("--init-units"));
    // Endpoints report all the time; what cannot be read yet waits in the socket.
    let reports = |host: u8| {
        let (stop, admin, address) = (
            Arc::new(AtomicBool::new(false)),
            site.net.admin(),
            site.net.host(host),
        );
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                post(
                    admin,
                    &format!("/push?check=own&target={address}&status=pass"),
                    "Content-Length: 0\r\n",
                );
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        move || {
            stop.store(true, Ordering::Relaxed);
            thread.join().unwrap();
        }
    };
    let (dublin, ashburn) = (reports(11), reports(12));
    let owner = || {
        dig(site.net.dns(), &["orders.gtm.example", "+short"])
            .trim()
            .to_owned()
    };
    wait_for("dublin owns it", || {
        (owner() == site.net.host(11).to_string()).then_some(())
    });
    let before = server.process.log().len();
    server.process.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(12));
    server.process.signal(Signal::SIGCONT);
    server.says("process paused for ");
    // Long enough for a takeover of an owner that is held to be down.
    std::thread::sleep(Duration::from_secs(4));
    let log = server.process.log()[before..].to_owned();
    assert!(!log.contains("is down") && !log.contains("fenced"), "{log}");
    assert_eq!(owner(), site.net.host(11).to_string());
    // An owner that is silent is taken over.
    dublin();
    server.says("unit orders.gtm.example. is fenced, its owner was dublin");
    ashburn();
    server.stop();
}
