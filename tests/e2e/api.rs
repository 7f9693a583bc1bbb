//! The API under `/v1`, by the admin address and by the control socket, and the commands that show what it says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::support::{Done, PATIENCE, Site, Toy, wait_for};

/// An answer: its status, its head in lower case, and its body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The document of an answer that is no error.
    #[track_caller]
    fn document(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        assert!(
            self.head.contains("content-type: application/json\r\n"),
            "{}",
            self.head
        );
        self.json()
    }

    /// The problem of an answer that is one, whose status, field and rule these are.
    #[track_caller]
    fn problem(&self, status: u16, field: Option<&str>, rule: Option<&str>) -> Value {
        let problem = self.json();
        assert!(
            self.head
                .contains("content-type: application/problem+json\r\n"),
            "{}",
            self.head
        );
        let (said_field, said_rule) = (problem["field"].as_str(), problem["rule"].as_str());
        assert_eq!(
            (self.status, said_field, said_rule),
            (status, field, rule),
            "{problem}"
        );
        assert_eq!(problem["status"], status, "{problem}");
        problem
    }
}

/// Sends one request; `head` is its first line without the version, and further header lines.
#[track_caller]
fn ask(mut stream: impl Read + Write, head: &str, body: &str) -> Answer {
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let mut headers = headers.replace('\n', "\r\n");
    if !headers.is_empty() {
        headers += "\r\n";
    }
    if !body.is_empty() {
        headers += "Content-Type: application/json\r\n";
    }
    let length = body.len();
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Answer {
        status: status.expect("a status"),
        head: format!("{}\r\n", head.to_ascii_lowercase()),
        body: body.to_owned(),
    }
}

#[track_caller]
fn by_admin(site: &Site, head: &str, body: &str) -> Answer {
    let stream = TcpStream::connect(site.net.admin()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    ask(stream, head, body)
}

#[track_caller]
fn by_socket(site: &Site, head: &str, body: &str) -> Answer {
    let stream = UnixStream::connect(site.path("state/control.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    ask(stream, head, body)
}

#[track_caller]
fn done(what: Done) -> String {
    assert_eq!((what.code, what.stderr.as_str()), (Some(0), ""), "{what:?}");
    what.stdout
}

const DRAIN: &str = r#"{"action":"drain","what":"dublin","reason":"INC-7","for":"1h","by":"anna"}"#;

#[test]
fn both_interfaces_show_the_same_state() {
    let site = Site::with_app();
    let [_dublin, _ashburn, tokyo] = Toy::regions(site.net);
    let mut server = site.start();
    drop(tokyo.kill());
    server.says("region tokyo is down");
    for path in [
        "/v1/zones",
        "/v1/services",
        "/v1/services/app.gtm.example",
        "/v1/units",
        "/v1/overrides",
        "/v1/locate?ip=203.0.113.7",
        "/v1/names?kind=region",
        "/v1/simulate?loss=dublin",
        "/v1/why?name=www.gtm.example&client=203.0.113.0/24&down=dublin",
        "/openapi.json",
    ] {
        let head = format!("GET {path}");
        let (admin, socket) = (by_admin(&site, &head, ""), by_socket(&site, &head, ""));
        assert_eq!(admin.document(), socket.document(), "{path}");
    }
    let status = by_socket(&site, "GET /v1/status", "").document();
    assert_eq!(status["node"], "test-node");
    assert_eq!(
        (&status["ready"], &status["isolated"]),
        (&true.into(), &false.into())
    );
    let counts = &status["endpoints"];
    assert_eq!(
        (&counts["total"], &counts["up"], &counts["down"]),
        (&9.into(), &8.into(), &1.into())
    );
    assert_eq!(status["services"]["up"], 2, "another region answers");
    let down = &status["down"][0];
    assert_eq!(
        (&down["region"], &down["services"]),
        (&"tokyo".into(), &json!(["app.gtm.example."]))
    );
    assert_eq!(down["why"], "web: the connection was refused");
    assert!(down["since"].is_string(), "{down}");
    assert_eq!(status["zones"][0]["digest"].as_str().unwrap().len(), 64);

    let regions = by_admin(&site, "GET /v1/regions", "").document();
    assert_eq!(
        (
            &regions["regions"][2]["region"],
            &regions["regions"][2]["endpoints_up"]
        ),
        (&"tokyo".into(), &2.into())
    );
    // An override shows beside what probes see.
    let up = r#"{"action":"up","what":"app.gtm.example/tokyo","reason":"x","until_released":true}"#;
    by_socket(&site, "POST /v1/overrides", up).document();
    let path = "GET /v1/endpoints?region=tokyo&service=app.gtm.example";
    let list = by_admin(&site, path, "").document();
    let endpoint = &list["endpoints"][0];
    assert_eq!(
        (
            &list["total"],
            &endpoint["up"],
            &endpoint["probed_up"],
            &endpoint["overridden_by"]
        ),
        (&1.into(), &true.into(), &false.into(), &"1".into())
    );
    let check = &endpoint["checks"][0];
    assert_eq!(
        (&check["check"], &check["last"]["verdict"]),
        (&"web".into(), &"fail".into())
    );
    let page = by_admin(&site, "GET /v1/endpoints?limit=4", "").document();
    assert_eq!(page["endpoints"].as_array().unwrap().len(), 4);
    let next = page["next"].as_str().unwrap();
    let path = format!("GET /v1/endpoints?limit=1000&after={next}");
    let rest = by_admin(&site, &path, "").document();
    assert_eq!(rest["endpoints"].as_array().unwrap().len(), 5);
    assert_eq!(rest["next"], Value::Null);
}

#[test]
fn an_override_is_made_once_however_often_it_is_asked_for_with_a_key() {
    let site = Site::new();
    let server = site.start();
    let judged = DRAIN.replace("\"for\"", "\"dry_run\":true,\"for\"");
    let judged = by_admin(&site, "POST /v1/overrides", &judged).document();
    assert_eq!(judged["preflight"]["accepted"], true, "{judged}");
    assert_eq!(
        (&judged["ids"], &judged["revision"]),
        (&json!([]), &Value::Null)
    );

    let keyed = "POST /v1/overrides\nIdempotency-Key: INC-7";
    let first = by_admin(&site, keyed, DRAIN);
    let made = first.document();
    let own = &made["overrides"][0];
    assert_eq!((&made["ids"], &own["id"]), (&json!(["1"]), &"1".into()));
    assert_eq!(
        (&own["by"], &own["name"]),
        (&"anna@test-node".into(), &"dublin".into())
    );
    assert!(made["revision"].is_u64(), "{made}");
    assert_eq!(
        server.www(),
        "192.0.2.20",
        "it is in force when the answer comes"
    );
    assert_eq!(by_admin(&site, keyed, DRAIN).body, first.body);
    let list = by_socket(&site, "GET /v1/overrides", "").document();
    assert_eq!(list["overrides"].as_array().unwrap().len(), 1);
    let other = DRAIN.replace("dublin", "tokyo");
    by_admin(&site, keyed, &other).problem(422, Some("Idempotency-Key"), Some("key-reused"));

    let last = DRAIN.replace("dublin", "ashburn");
    by_admin(&site, "POST /v1/overrides", &last).document();
    let refused = by_admin(&site, "POST /v1/overrides", &other);
    let problem = refused.problem(409, None, Some("preflight"));
    let objection = problem["objections"][0].as_str().unwrap();
    assert!(objection.contains("min_regions is 1"), "{problem}");

    let released = by_admin(&site, "DELETE /v1/overrides/1", "").document();
    assert_eq!(
        (&released["ids"], &released["overrides"]),
        (&json!(["1"]), &json!([]))
    );
    assert_eq!(server.www(), "192.0.2.10");
    by_admin(&site, "DELETE /v1/overrides/1", "").problem(404, None, Some("unknown-name"));
    // Nobody says who it is: the kernel knows.
    let unsigned = DRAIN.replace(",\"by\":\"anna\"", "");
    let made = by_socket(&site, "POST /v1/overrides", &unsigned).document();
    let user = nix::unistd::User::from_uid(nix::unistd::getuid())
        .unwrap()
        .unwrap();
    assert_eq!(
        made["overrides"][0]["by"],
        format!("{}@test-node", user.name)
    );
    server.stop();
}

#[test]
fn what_is_wrong_with_a_request_is_said_by_field_and_rule() {
    let site = Site::new();
    let server = site.start();
    let ask = |head: &str, body: &str| by_admin(&site, head, body);
    ask("GET /v1/nothing", "").problem(404, None, Some("unknown-path"));
    ask("GET /v1/fleet/nodes", "").problem(404, None, Some("reserved"));
    let wrong = ask("PUT /v1/status", "");
    wrong.problem(405, None, Some("unknown-method"));
    assert!(wrong.head.contains("allow: get,head\r\n"), "{}", wrong.head);
    ask("GET /v1/why?name=www.gtm.example", "").problem(400, Some("client"), Some("missing-key"));
    ask("GET /v1/zones?x=1", "").document();
    ask("GET /v1/endpoints?colour=red", "").problem(400, Some("colour"), Some("unknown-key"));
    ask("GET /v1/locate?ip=nowhere", "").problem(422, Some("ip"), Some("bad-prefix"));
    ask("GET /v1/simulate?loss=dubln", "").problem(404, Some("loss"), Some("unknown-name"));
    ask("GET /v1/services/none.example", "").problem(404, Some("name"), Some("unknown-name"));
    let post = "POST /v1/overrides";
    ask(post, "{").problem(400, None, Some("bad-value"));
    ask(post, &DRAIN.replace("what", "whta")).problem(400, Some("whta"), Some("unknown-key"));
    ask(post, &DRAIN.replace("1h", "soon")).problem(422, Some("for"), Some("bad-duration"));
    ask(post, &DRAIN.replace("dublin", "dubln")).problem(404, Some("what"), Some("unknown-name"));
    ask(post, &format!("\"{}\"", "x".repeat(70_000))).problem(413, None, None);
    let page = ask("POST /v1/overrides\nOrigin: https://example.com", DRAIN);
    page.problem(403, Some("Origin"), Some("cross-origin"));
    let form = ask("POST /v1/resume\nContent-Type: text/plain\nX: y", "");
    assert_eq!(form.status, 400, "a service is missing: {}", form.body);
    let list = ask("GET /v1/overrides", "").document();
    assert_eq!(
        list["overrides"],
        json!([]),
        "nothing of that had an effect"
    );
    server.stop();
}

#[test]
fn a_reload_answers_with_its_diagnostics() {
    let site = Site::new();
    let server = site.start();
    let good = by_socket(&site, "POST /v1/reload", "").document();
    assert!(
        good["message"]
            .as_str()
            .unwrap()
            .starts_with("reloaded: 1 zone")
    );
    let before = by_admin(&site, "GET /v1/zones", "").document();
    site.edit(
        "zones/gtm.example.toml",
        "route = \"nearest\"",
        "route = \"nearst\"",
    );
    let problem =
        by_socket(&site, "POST /v1/reload", "{}").problem(409, None, Some("broken-files"));
    let fault = &problem["diagnostics"][0];
    assert_eq!(
        (&fault["severity"], &fault["key"]),
        (&"error".into(), &"services.www.route".into())
    );
    assert!(fault["line"].as_u64().unwrap() > 10, "{fault}");
    let refused = site.run(&["reload"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("services.www.route"), "{refused:?}");
    assert!(
        done(site.run(&["status"])).contains("files: the last reload was refused"),
        "the command shows it"
    );
    site.edit("zones/gtm.example.toml", "nearst", "nearest");
    site.edit("zones/gtm.example.toml", "\"two\"", "\"three\"");
    let json: Value = serde_json::from_str(&done(site.run(&["reload", "--json"]))).unwrap();
    assert_eq!(json["failed"], Value::Null, "{json}");
    let after = by_admin(&site, "GET /v1/zones", "").document();
    assert_ne!(before["zones"][0]["digest"], after["zones"][0]["digest"]);
    server.stop();
}

#[test]
fn a_region_reports_itself_as_a_whole() {
    let site = Site::new();
    site.edit(
        "meridian.toml",
        "[checks.web]",
        "[checks.self]\ntype = \"push\"\n[checks.web]",
    );
    site.edit(
        "zones/gtm.example.toml",
        "[services.www]",
        "[services.own]\nroute = \"nearest\"\nchecks = [\"self\"]\n[services.own.pools]\n\
         dublin = { endpoints = [\"192.0.2.41\", \"192.0.2.42\"] }\n\
         tokyo = { endpoints = [\"192.0.2.43\"] }\n[services.www]",
    );
    let server = site.start();
    let push = |subject: &str, status: &str| {
        let body = format!(r#"{{"status":"{status}","note":"n"}}"#);
        by_admin(&site, &format!("POST /v1/push/self/{subject}"), &body)
    };
    let taken = push("tokyo", "pass").document();
    assert_eq!(taken["endpoints"], json!(["192.0.2.43"]));
    let taken = push("dublin", "fail").document();
    assert_eq!(taken["endpoints"], json!(["192.0.2.41", "192.0.2.42"]));
    wait_for("dublin is down", || {
        let path = "GET /v1/endpoints?state=down&region=dublin&check=self";
        (by_admin(&site, path, "").document()["total"] == 2).then_some(())
    });
    push("192.0.2.41", "pass").document();
    push("ashburn", "pass").problem(404, None, Some("unknown-name"));
    push("dublin", "maybe").problem(400, Some("status"), Some("unknown-value"));
    server.stop();
}

#[test]
fn commands_show_the_state_on_one_screen_and_the_place_of_a_client() {
    let site = Site::with_app();
    let [dublin, _ashburn, _tokyo] = Toy::regions(site.net);
    let mut server = site.start();
    drop(dublin.kill());
    server.says("region dublin is down");
    done(site.run(&[
        "drain", "tokyo", "--for", "1h", "--reason", "INC-7", "--by", "anna",
    ]));
    let screen = done(site.run(&["status"]));
    for part in [
        "test-node: ready (Meridian ",
        "zone gtm.example. serial 1, 6 names, 2 services",
        "endpoints: 8 up, 1 down, ",
        " 0/1 down",
        " 1/1 drained\n",
        "down:\n  dublin ",
        ": web: the connection was refused (app.gtm.example.)",
        "overrides:\n  1  drain of region tokyo until ",
    ] {
        assert!(screen.contains(part), "{part:?} in\n{screen}");
    }
    let json: Value = serde_json::from_str(&done(site.run(&["status", "--json"]))).unwrap();
    assert_eq!(json["endpoints"]["down"], 1);
    let socket = format!("unix:{}", site.path("state/control.sock").display());
    let arguments = ["locate", "203.0.113.7", "--server", &socket];
    let asked = done(crate::support::run(site.directory(), &arguments));
    assert!(asked.starts_with("203.0.113.7/32: EU IE IE-D 53.35,-6.26\nmap default: dublin, ashburn, tokyo (by distance, scope /"), "{asked}");
    assert_eq!(
        asked,
        done(site.run(&["locate", "203.0.113.7"])),
        "the files say the same"
    );
    let held = done(site.run(&["locate", "10.1.2.3", "--json"]));
    let held: Value = serde_json::from_str(&held).unwrap();
    assert_eq!(held["maps"][0]["border"], json!(["tokyo"]), "{held}");
    let question = ["why", "www.gtm.example", "--client", "203.0.113.0/24"];
    let assumed = ["--down", "ashburn", "--server", &socket];
    let said = done(crate::support::run(
        site.directory(),
        &[&question[..], &assumed].concat(),
    ));
    assert!(
        said.contains("from dublin"),
        "all else is assumed up: {said}"
    );
    server.stop();
}
