//! Notifications: webhooks against a receiver that is there, slow, failing or gone, and hooks.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring::hmac;
use serde_json::Value;

use crate::support::{Site, Toy, get, wait_for};

/// A request that a receiver got.
#[derive(Debug, Clone)]
struct Request {
    head: String,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(own, _)| own.eq_ignore_ascii_case(name));
        found
            .next()
            .unwrap_or_else(|| panic!("{name} in {self:?}"))
            .1
    }

    fn notices(&self) -> Vec<Value> {
        let json: Value = serde_json::from_str(&self.body).unwrap();
        json["notices"].as_array().unwrap().clone()
    }
}

/// An HTTP server that takes webhooks.
struct Receiver {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    /// The statuses of the next answers; then 204.
    answers: Arc<Mutex<VecDeque<&'static str>>>,
}

impl Receiver {
    fn start(address: SocketAddr) -> Receiver {
        let listener = TcpListener::bind(address).unwrap();
        let receiver = Receiver {
            address,
            requests: Arc::default(),
            answers: Arc::default(),
        };
        let (requests, answers) = (receiver.requests.clone(), receiver.answers.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (requests, answers) = (requests.clone(), answers.clone());
                std::thread::spawn(move || serve(stream, &requests, &answers));
            }
        });
        receiver
    }

    fn answer(&self, statuses: &[&'static str]) {
        self.answers.lock().unwrap().extend(statuses);
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits for a notice in this state about `kind`.
    #[track_caller]
    fn notice(&self, state: &str, kind: &str) -> Value {
        wait_for(&format!("a notice: {state} {kind}"), || {
            let requests = self.requests();
            let mut all = requests.iter().flat_map(Request::notices);
            all.find(|own| own["state"] == state && own["change"]["kind"] == kind)
        })
    }
}

fn serve(
    mut stream: TcpStream,
    requests: &Mutex<Vec<Request>>,
    answers: &Mutex<VecDeque<&'static str>>,
) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let (head, length) = loop {
        let Ok(read @ 1..) = stream.read(&mut buffer) else {
            return;
        };
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse::<usize>())
            });
            break (head.to_owned(), length.expect("a length").unwrap());
        }
    };
    while bytes.len() < head.len() + 4 + length {
        let Ok(read @ 1..) = stream.read(&mut buffer) else {
            return;
        };
        bytes.extend_from_slice(&buffer[..read]);
    }
    let body = String::from_utf8(bytes[head.len() + 4..].to_vec()).unwrap();
    let status = answers
        .lock()
        .unwrap()
        .pop_front()
        .unwrap_or("204 No Content");
    if status == "silence" {
        // Longer than the destination's timeout.
        std::thread::sleep(Duration::from_secs(5));
        return;
    }
    if status.starts_with("204") {
        requests.lock().unwrap().push(Request { head, body });
    }
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
}

/// A site with the checked service, and a destination of which these are the keys.
fn site(keys: &str) -> Site {
    let site = Site::with_app();
    site.write("notify.key", "a secret for signatures\n");
    let text = std::fs::read_to_string(site.path("meridian.toml")).unwrap();
    site.write("meridian.toml", &format!("{text}\n{keys}"));
    site
}

fn receiver(site: &Site) -> Receiver {
    Receiver::start(SocketAddr::new(site.net.host(40), 9099))
}

const WEBHOOK: &str = r#"
[[notify]]
name = "ops"
url = "http://NET.40:9099/hook"
secret = { file = "notify.key" }
headers = { Authorization = { file = "notify.key", prefix = "Bearer " } }
kinds = ["endpoint", "pool"]
resolve_after = "1s"
timeout = "500ms"
"#;

#[test]
fn an_incident_is_told_once_signed_and_resolved() {
    let site = site(WEBHOOK);
    let receiver = receiver(&site);
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    let server = site.start();
    let back = dublin.kill();
    let opened = receiver.notice("open", "pool");
    assert_eq!(opened["change"]["region"], "dublin");
    assert_eq!(opened["change"]["service"], "app.gtm.example.");
    assert_eq!(opened["severity"], "warning");
    let _dublin = back();
    let resolved = receiver.notice("resolved", "pool");
    assert_eq!(resolved["incident"], opened["incident"]);
    receiver.notice("resolved", "endpoint");

    for request in receiver.requests() {
        assert!(
            request.head.starts_with("POST /hook HTTP/1.1"),
            "{request:?}"
        );
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(
            request.header("authorization"),
            "Bearer a secret for signatures"
        );
        let signature = request.header("meridian-signature");
        let (time, tag) = signature
            .strip_prefix("t=")
            .and_then(|rest| rest.split_once(",v1="))
            .expect("a time and a tag");
        let tag: Vec<u8> = (0..tag.len() / 2)
            .map(|at| u8::from_str_radix(&tag[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"a secret for signatures");
        let signed = format!("{time}.{}", request.body);
        assert!(hmac::verify(&key, signed.as_bytes(), &tag).is_ok());
        for notice in request.notices() {
            assert!(["endpoint", "pool"].contains(&notice["change"]["kind"].as_str().unwrap()));
        }
    }
    let (_, log) = server.stop();
    assert!(!log.contains("a secret for signatures"), "{log}");
}

#[test]
fn a_receiver_that_fails_is_tried_again_and_its_trouble_is_shown() {
    let site = site(WEBHOOK);
    let receiver = receiver(&site);
    receiver.answer(&["500 Internal Server Error", "silence"]);
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    let mut server = site.start();
    drop(dublin);
    server.says("notification ops is not delivered: it answered 500 Internal Server Error");
    receiver.notice("open", "pool");
    server.says("notification ops is delivered again");
    let metrics = get(server.net.admin(), "/metrics").1;
    for series in [
        "meridian_notifications_total{destination=\"ops\",result=\"delivered\"}",
        "meridian_notification_attempts_failed_total{destination=\"ops\"} 2",
        "meridian_notifications_waiting{destination=\"ops\"} 0",
    ] {
        assert!(metrics.contains(series), "{series} in {metrics}");
    }
    assert_eq!(receiver.address.port(), 9099);
}

#[test]
fn a_refused_message_is_given_up_and_the_next_one_tells_of_it() {
    let site = site(WEBHOOK);
    let receiver = receiver(&site);
    receiver.answer(&["400 Bad Request"]);
    let [dublin, ashburn, _tokyo] = Toy::regions(site.net);
    let mut server = site.start();
    drop(dublin);
    server.says("it answered 400 Bad Request; ");
    drop(ashburn);
    receiver.notice("open", "pool");
    let first: Value = serde_json::from_str(&receiver.requests()[0].body).unwrap();
    assert!(first["lost"].as_u64() >= Some(1), "{first}");
}

#[test]
fn a_reload_brings_destinations_and_takes_them_away() {
    let site = site("");
    let receiver = receiver(&site);
    let [dublin, ashburn, _tokyo] = Toy::regions(site.net);
    let mut server = site.start();
    let text = std::fs::read_to_string(site.path("meridian.toml")).unwrap();
    site.write("meridian.toml", &format!("{text}{WEBHOOK}"));
    server.reload("reload");
    // The thread looks for new files every second.
    wait_for("the destination is shown", || {
        let metrics = get(server.net.admin(), "/metrics").1;
        metrics.contains("destination=\"ops\"").then_some(())
    });
    drop(dublin);
    receiver.notice("open", "pool");
    site.write("meridian.toml", &text);
    server.reload("reload");
    wait_for("the destination is gone", || {
        let metrics = get(server.net.admin(), "/metrics").1;
        (!metrics.contains("destination=\"ops\"")).then_some(())
    });
    let before = receiver.requests().len();
    drop(ashburn);
    server.says("region ashburn is down");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(receiver.requests().len(), before);
}

#[test]
fn a_hook_is_told_by_environment_and_input_and_ends_with_its_time() {
    let site = site("");
    let script = site.path("hook");
    let told = site.path("told");
    site.write(
        "hook",
        &format!(
            "#!/bin/sh\necho \"$MERIDIAN_STATE $MERIDIAN_KIND $MERIDIAN_REGION $1\" >>{told}\n\
             cat >>{told}.json\necho >>{told}.json\n\
             [ \"$MERIDIAN_KIND\" = endpoint ] || exit 0\nsleep 1000 & echo $! >{told}.pid; wait\n",
            told = told.display()
        ),
    );
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let text = std::fs::read_to_string(site.path("meridian.toml")).unwrap();
    let keys = format!(
        "[[notify]]\nname = \"page\"\nexec = [\"{}\", \"now\"]\nkinds = [\"endpoint\", \"pool\"]\n\
         timeout = \"1s\"\ngive_up = \"1s\"\n",
        script.display()
    );
    site.write("meridian.toml", &format!("{text}\n{keys}"));
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    let mut server = site.start();
    drop(dublin);
    server.says("notification page is not delivered: it was killed after 1s");
    let line = wait_for("the hook of the pool ran", || {
        let lines = std::fs::read_to_string(&told).ok()?;
        lines
            .lines()
            .find(|line| line.contains("pool"))
            .map(str::to_owned)
    });
    assert_eq!(line, "open pool dublin now");
    let json = std::fs::read_to_string(site.path("told.json")).unwrap();
    for line in json.lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        assert_eq!(message["node"], "test-node");
        assert_eq!(message["notices"].as_array().unwrap().len(), 1);
    }
    // What the program left behind went with its group.
    let pid = std::fs::read_to_string(site.path("told.pid")).unwrap();
    let stat = format!("/proc/{}/cmdline", pid.trim());
    wait_for("the background process is gone", || {
        let words = std::fs::read_to_string(&stat).unwrap_or_default();
        (!words.contains("sleep")).then_some(())
    });
}
