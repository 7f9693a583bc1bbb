//! Access to the HTTP interface beyond loopback: TLS, tokens, what they allow, rates, and the audit log; asked by curl
//! and openssl.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;

use crate::support::{Done, Meridian, Site, command, get, get_with, post, run, wait_for};

/// The name in the certificates.
const NAME: &str = "gtm.internal.example";

/// A site that listens beyond loopback too.
struct Exposed {
    site: Site,
    /// Its port on every address.
    port: u16,
    /// Its port for pushes.
    push_port: u16,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Exposed {
    /// A site with these lines in `[admin]`, and tokens by the names of their scopes.
    fn new(more: &str) -> Exposed {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let port =
            20_000 + (std::process::id() % 400) as u16 * 50 + NEXT.fetch_add(2, Ordering::Relaxed);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // One that has the name of its issuer would pass for signed by itself.
        params
            .distinguished_name
            .push(DnType::CommonName, "Test authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let exposed = Exposed {
            site: Site::with_app(),
            port,
            push_port: port + 1,
            authority,
        };
        let site = &exposed.site;
        site.write("ca.pem", &exposed.authority.pem());
        exposed.write_certificate();
        site.edit(
            "zones/gtm.example.toml",
            "checks = [\"web\"]",
            "checks = [\"own\"]",
        );
        site.edit(
            "meridian.toml",
            "listen = \"NET.1:8053\""
                .replace("NET", &net(site))
                .as_str(),
            &format!(
                "listen = [\"NET.1:8053\", \"0.0.0.0:{port}\"]\npush_listen = \"0.0.0.0:{}\"\n\
                 hosts = [\"{NAME}\"]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n\
                 tokens = \"tokens.toml\"\n{more}\n[checks.own]\ntype = \"push\"\n\
                 [checks.other]\ntype = \"push\"\n",
                exposed.push_port
            ),
        );
        let mut tables = String::new();
        for scope in ["read", "operate", "push:own", "push:other"] {
            tables += &exposed.new_token(&scope.replace(':', "-"), scope);
        }
        site.write("tokens.toml", &tables);
        exposed
    }

    /// Makes a token, leaves it in a file of its name, and returns its table.
    fn new_token(&self, name: &str, scope: &str) -> String {
        let made = run(
            self.site.directory(),
            &["token", "new", name, "--scope", scope, "--json"],
        );
        let made: Value = serde_json::from_str(&made.stdout).unwrap();
        self.keep_token(name, made["token"].as_str().unwrap());
        format!(
            "[{name}]\nscopes = [{scope:?}]\nsha256 = {}\n",
            made["sha256"]
        )
    }

    fn keep_token(&self, name: &str, token: &str) {
        self.site.write(name, token);
        let path = self.site.path(name);
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// Replaces certificate and key; the serial number of the new one.
    fn write_certificate(&self) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        let serial = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let serial = serial.as_nanos() as u64 >> 1;
        params.serial_number = Some(serial.into());
        let own = params.signed_by(&key, &self.authority).unwrap();
        self.site.write("server.key", &key.serialize_pem());
        self.site.write("server.pem", &own.pem());
        format!("{serial:X}")
    }

    /// The reply that curl gets from `path` at a port with these options.
    fn curl_at(&self, port: u16, path: &str, options: &[&str]) -> Reply {
        let resolve = format!("{NAME}:{port}:{}", self.site.net.host(1));
        let mut curl = command("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--include",
            "--max-time",
            "20",
            "--cacert",
        ])
        .arg(self.site.path("ca.pem"))
        .args(["--resolve", &resolve])
        .args(options)
        .arg(format!("https://{NAME}:{port}{path}"));
        Reply::read(
            curl.output()
                .expect("curl runs (tests/run installs it)")
                .into(),
        )
    }

    /// The reply that curl gets from `path` with the token in the file `token`.
    fn curl(&self, path: &str, token: &str, options: &[&str]) -> Reply {
        self.curl_at(
            self.port,
            path,
            &[&["-H", &self.header(token)][..], options].concat(),
        )
    }

    fn header(&self, token: &str) -> String {
        let token = std::fs::read_to_string(self.site.path(token)).unwrap();
        format!("Authorization: Bearer {}", token.trim())
    }

    /// The serial number of the certificate that openssl is shown, which it must trust.
    fn serial(&self) -> String {
        let mut openssl = command("openssl");
        openssl
            .args([
                "s_client",
                "-verify_return_error",
                "-servername",
                NAME,
                "-connect",
            ])
            .arg(SocketAddr::new(self.site.net.host(1), self.port).to_string())
            .arg("-CAfile")
            .arg(self.site.path("ca.pem"))
            .stdin(std::process::Stdio::null());
        let shown = Done::from(openssl.output().unwrap());
        assert_eq!(shown.code, Some(0), "{shown:?}");
        let begin = shown.stdout.find("-----BEGIN").expect("a certificate");
        let end = shown.stdout.find("-----END CERTIFICATE-----").unwrap() + 25;
        self.site.write("shown.pem", &shown.stdout[begin..end]);
        let mut openssl = command("openssl");
        openssl
            .args(["x509", "-noout", "-serial", "-in"])
            .arg(self.site.path("shown.pem"));
        let serial = Done::from(openssl.output().unwrap()).stdout;
        serial
            .trim()
            .trim_start_matches("serial=")
            .trim_start_matches('0')
            .to_owned()
    }
}

fn net(site: &Site) -> String {
    site.net
        .host(0)
        .to_string()
        .trim_end_matches(".0")
        .to_owned()
}

/// A reply as curl got it: 0 as status where there was no response.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Reply {
    fn read(done: Done) -> Reply {
        // A body that has to be waited for is announced by a response of its own.
        let text = done.stdout.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        Reply {
            status: status.unwrap_or_default(),
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: body.to_owned(),
        }
    }

    /// The rule of the problem that came with this status.
    #[track_caller]
    fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{self:?}"
        );
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], status, "{problem}");
        problem["rule"].as_str().unwrap_or_default().to_owned()
    }
}

/// The value of a metric.
fn metric(server: &Meridian, series: &str) -> f64 {
    let text = get(server.net.admin(), "/metrics").1;
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    let value = line.unwrap_or_else(|| panic!("{series} in {text}"));
    value.trim().parse().unwrap()
}

#[test]
fn beyond_loopback_tls_and_a_token_are_asked_for_and_scopes_count() {
    let exposed = Exposed::new("");
    let (site, server) = (&exposed.site, exposed.site.start());
    for path in ["/healthz", "/readyz", "/announcez"] {
        assert_eq!(
            exposed.curl_at(exposed.port, path, &[]).status,
            200,
            "{path}"
        );
    }
    let nobody = exposed.curl_at(exposed.port, "/metrics", &[]);
    assert_eq!(nobody.problem(401), "no-token");
    assert_eq!(
        nobody.headers["www-authenticate"],
        "Bearer realm=\"meridian\""
    );
    exposed.keep_token(
        "wrong",
        "meridian_0000000000000000000000000000000000000000000",
    );
    let wrong = exposed.curl("/metrics", "wrong", &[]);
    assert_eq!(wrong.problem(401), "unknown-token");
    assert!(
        wrong.headers["www-authenticate"].contains("invalid_token"),
        "{wrong:?}"
    );
    // In the clear there is nothing, and over loopback no token is asked for.
    let clear = exposed.curl_at(
        exposed.port,
        "/",
        &[
            "--proto",
            "=http",
            "--fail",
            "--url",
            &format!("http://{}:{}/healthz", site.net.host(1), exposed.port),
        ],
    );
    assert_eq!(clear.status, 0, "{clear:?}");
    assert_eq!(get(site.net.admin(), "/v1/status").0, 200);

    for (token, path, status) in [
        ("read", "/metrics", 200),
        ("read", "/v1/status", 200),
        ("operate", "/v1/status", 200),
        ("push-own", "/v1/status", 403),
    ] {
        let reply = exposed.curl(path, token, &[]);
        assert_eq!(reply.status, status, "{token} {path}: {reply:?}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(reply.headers[name], value, "{reply:?}");
        }
        assert!(reply.headers["content-security-policy"].starts_with("default-src 'none'"));
    }
    let post = ["--request", "POST"];
    let resume = "/resume?service=app.gtm.example";
    assert_eq!(
        exposed.curl(resume, "read", &post).problem(403),
        "missing-scope"
    );
    assert_eq!(
        exposed.curl(resume, "operate", &post).status,
        409,
        "nothing is held"
    );
    let push = format!("/push?check=own&target={}&status=pass", site.net.host(11));
    assert_eq!(exposed.curl(&push, "push-own", &post).status, 200);
    for token in ["read", "operate", "push-other"] {
        assert_eq!(
            exposed.curl(&push, token, &post).problem(403),
            "missing-scope",
            "{token}"
        );
    }

    // Where endpoints push, they do nothing else.
    let at = |path: &str, options: &[&str]| exposed.curl_at(exposed.push_port, path, options);
    let own = exposed.header("push-own");
    assert_eq!(at(&push, &["-H", &own, "--request", "POST"]).status, 200);
    for path in ["/healthz", "/metrics", "/v1/status", resume] {
        let operate = exposed.header("operate");
        assert_eq!(
            at(path, &["-H", &operate]).problem(404),
            "push-only",
            "{path}"
        );
    }
    assert!(
        metric(
            &server,
            "meridian_http_denied_total{reason=\"unknown_token\"}"
        ) >= 1.0
    );
    assert!(metric(&server, "meridian_http_denied_total{reason=\"scope\"}") >= 4.0);
    assert!(
        metric(
            &server,
            "meridian_admin_certificate_expiry_timestamp_seconds"
        ) > 1e9
    );
}

#[test]
fn the_commands_show_a_token_and_trust_an_authority() {
    let exposed = Exposed::new("");
    let site = &exposed.site;
    let _server = site.start();
    // The address is not in the certificate, and nothing resolves the name here.
    let url = format!("https://{}:{}", site.net.host(1), exposed.port);
    let why = |more: &[&str]| {
        let why = [
            "why",
            "www.gtm.example",
            "--client",
            "203.0.113.1",
            "--server",
        ];
        run(site.directory(), &[&why[..], more].concat())
    };
    for (arguments, said) in [
        (
            &[&*url][..],
            "name the authority that issued it with --ca FILE",
        ),
        (
            &[&url, "--ca", "ca.pem"],
            "use a name or an address that the certificate has",
        ),
        (&[&url, "--ca", "none.pem"], "none.pem: No such file"),
        (
            &[&format!("https://{}", site.net.admin())],
            "does the server speak HTTP without TLS there?",
        ),
        (
            &["http://192.0.2.1:8053", "--token-file", "read"],
            "the token is not sent",
        ),
    ] {
        let done = why(arguments);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.stderr.contains(said), "{arguments:?}: {done:?}");
    }
    // A certificate of the address itself.
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![site.net.host(1).to_string()]).unwrap();
    let own = params.signed_by(&key, &exposed.authority).unwrap();
    site.write("server.key", &key.serialize_pem());
    site.write("server.pem", &own.pem());
    let done = wait_for("the certificate of the address", || {
        let done = why(&[&url, "--ca", "ca.pem", "--token-file", "read"]);
        (done.code == Some(0)).then_some(done)
    });
    assert!(done.stdout.contains("www.gtm.example"), "{done:?}");
    let done = why(&[&url, "--ca", "ca.pem"]);
    assert!(
        done.stderr.contains("401") && done.stderr.contains("send a token"),
        "{done:?}"
    );
    let mode = PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(site.path("read"), mode).unwrap();
    let done = why(&[&url, "--ca", "ca.pem", "--token-file", "read"]);
    assert!(done.stderr.contains("chmod 600"), "{done:?}");
}

#[test]
fn tokens_are_exchanged_by_a_reload_and_a_bad_file_loses_none() {
    let exposed = Exposed::new("");
    let (site, mut server) = (&exposed.site, exposed.site.start());
    let asks = |token: &str| exposed.curl("/v1/status", token, &[]).status;
    assert_eq!((asks("read"), asks("operate")), (200, 200));
    let old = std::fs::read_to_string(site.path("tokens.toml")).unwrap();
    site.write(
        "tokens.toml",
        &format!("{old}[late]\nscopes = [\"raed\"]\n"),
    );
    let said = server.reload("reload refused");
    assert!(
        said.contains("\"raed\" is not a scope") && said.contains("tokens.toml:"),
        "{said}"
    );
    assert_eq!(asks("read"), 200, "the old tokens are still good");

    let kept = std::fs::read_to_string(site.path("read")).unwrap();
    site.write("before", &kept);
    let new = exposed.new_token("read", "read");
    let past = exposed.new_token("past", "read");
    site.write(
        "tokens.toml",
        &format!("{new}{past}expires = 2020-01-01T00:00:00Z\n"),
    );
    assert_eq!(
        (asks("read"), asks("before")),
        (401, 200),
        "not before the reload"
    );
    server.reload("reloaded: ");
    assert_eq!(
        (asks("read"), asks("before"), asks("operate")),
        (200, 401, 401)
    );
    assert_eq!(
        exposed.curl("/v1/status", "past", &[]).problem(401),
        "expired-token"
    );
}

#[test]
fn a_certificate_that_is_replaced_on_disk_is_used_and_a_bad_one_is_not() {
    let exposed = Exposed::new("");
    let (site, mut server) = (&exposed.site, exposed.site.start());
    let first = exposed.serial();
    let key = std::fs::read_to_string(site.path("server.key")).unwrap();
    site.write("server.key", "no key\n");
    server.says("admin certificate refused: ");
    server.says("the one before stays in use");
    assert_eq!(exposed.serial(), first);
    assert!(metric(&server, "meridian_admin_certificate_failures_total") >= 1.0);
    site.write("server.key", &key);
    let second = exposed.write_certificate();
    assert_ne!(first, second);
    wait_for("the new certificate", || {
        (exposed.serial() == second).then_some(())
    });
    // A reload looks at once, and refuses files that `verify` would refuse.
    site.write("server.pem", "no certificate\n");
    let said = server.reload("reload refused");
    assert!(said.contains("server.pem has no certificate"), "{said}");
    assert_eq!(exposed.serial(), second);
}

#[test]
fn a_network_is_not_listened_to_without_tls_and_tokens() {
    let site = Site::new();
    site.edit(
        "meridian.toml",
        &format!("\"{}.1:8053\"", net(&site)),
        "\"0.0.0.0:8053\"",
    );
    let done = site.run(&["verify"]);
    assert_eq!(done.code, Some(1));
    let said = "0.0.0.0:8053 is not a loopback address, so the network can reach it: `certificate`, `key` and `tokens` are needed";
    assert!(
        done.stdout.contains(said) || done.stderr.contains(said),
        "{done:?}"
    );
}

#[test]
fn whoever_asks_too_often_waits() {
    let exposed = Exposed::new("request_rate = 4");
    let site = &exposed.site;
    let server = site.start();
    let statuses: Vec<u16> = (0..12)
        .map(|_| get(site.net.admin(), "/healthz").0)
        .collect();
    assert!(statuses.starts_with(&[200; 8]), "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
    // Another caller is not held up.
    assert_eq!(exposed.curl("/v1/status", "read", &[]).status, 200);
    exposed.keep_token(
        "wrong",
        "meridian_0000000000000000000000000000000000000000000",
    );
    let limited = wait_for("too many wrong tokens", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let reply = exposed.curl("/v1/status", "wrong", &[]);
        (reply.status == 429 && reply.body.contains("wrong tokens")).then_some(reply)
    });
    assert!(
        limited.headers["retry-after"].parse::<u32>().unwrap() >= 1,
        "{limited:?}"
    );
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(
        exposed.curl("/v1/status", "read", &[]).status,
        200,
        "a right one is let in"
    );
    assert!(metric(&server, "meridian_http_denied_total{reason=\"attempts\"}") >= 1.0);
    let log = server.process.log();
    assert_eq!(log.matches("showed a wrong token").count(), 1, "{log}");
}

#[test]
fn pages_of_other_origins_and_large_bodies_change_nothing() {
    let site = Site::with_app();
    let server = site.start();
    let admin = site.net.admin();
    let resume = "/resume?service=app.gtm.example";
    for origin in [
        "http://rebound.example",
        "http://localhost",
        "null",
        &format!("https://{admin}"),
        &format!("http://{}:80", admin.ip()),
    ] {
        for path in [resume, "/v1/resume", "/push?check=x&target=y&status=pass"] {
            let (status, body) = post(admin, path, &format!("Origin: {origin}\r\n"));
            assert_eq!(status, 403, "{origin} {path}: {body}");
            assert!(body.contains("cross-origin"), "{body}");
        }
    }
    assert_eq!(post(admin, resume, "Sec-Fetch-Site: cross-site\r\n").0, 403);
    // The dashboard's own pages.
    let own = format!("Origin: http://{admin}\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(post(admin, resume, &own).0, 409);
    // Looking is no change, and what a proxy says of somebody else counts for nothing.
    let forwarded = "Origin: http://rebound.example\r\nX-Forwarded-For: 192.0.2.1\r\n";
    assert_eq!(get_with(admin, "/v1/status", forwarded).0, 200);
    site.write_bytes("large", &vec![b' '; 70_000]);
    let mut curl = command("curl");
    curl.args(["--silent", "--include", "--data-binary"])
        .arg(format!("@{}", site.path("large").display()))
        .args(["-H", "Content-Type: application/json"])
        .arg(format!("http://{admin}/v1/resume"));
    let large = Reply::read(curl.output().unwrap().into());
    large.problem(413);
    assert!(metric(&server, "meridian_http_denied_total{reason=\"body\"}") >= 1.0);
}

/// The entries that `meridian audit` prints.
#[track_caller]
fn entries(site: &Site, more: &[&str]) -> Vec<Value> {
    let done = site.run(&[&["audit", "--json"], more].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    let lines = done.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_change_is_in_the_audit_log_whether_a_server_runs_or_not() {
    let exposed = Exposed::new("");
    let (site, mut server) = (&exposed.site, exposed.site.start());
    let post_json = |path: &str, token: &str, body: &str| {
        let json = "Content-Type: application/json";
        exposed
            .curl(path, token, &["-H", json, "--data", body])
            .status
    };
    let body = "{\"service\": \"app.gtm.example\"}";
    assert_eq!(post_json("/v1/resume", "operate", body), 409);
    assert_eq!(
        post(site.net.admin(), "/resume?service=app.gtm.example", "").0,
        409
    );
    server.reload("reloaded: ");
    site.edit("zones/gtm.example.toml", "ttl     = 20", "ttl     = \"x\"");
    server.reload("reload refused");
    let found = wait_for("four entries", || {
        let found = entries(site, &[]);
        (found.len() == 4).then_some(found)
    });
    let parts = |entry: &Value| {
        ["by", "action", "what", "result"]
            .map(|key| entry[key].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(parts(&found[0])[..2], ["operate", "resume"], "{}", found[0]);
    assert_eq!(found[0]["from"], "127.0.0.1");
    assert_eq!(found[0]["node"], "test-node");
    assert!(
        found[0]["why"]
            .as_str()
            .unwrap()
            .contains("nothing to resume"),
        "{}",
        found[0]
    );
    assert_eq!(found[0]["request"].as_str().unwrap().len(), 16);
    assert_eq!(
        parts(&found[1]),
        ["loopback", "resume", "app.gtm.example", "refused"]
    );
    assert_eq!(parts(&found[2]), ["SIGHUP", "reload", "files", "accepted"]);
    assert_eq!(parts(&found[3]), ["SIGHUP", "reload", "files", "refused"]);
    let mode = std::fs::metadata(site.path("state/audit.log"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let (status, body) = get(site.net.admin(), "/v1/audit?limit=3");
    let page: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, page["entries"][0]["number"].as_u64()),
        (200, Some(4)),
        "{page}"
    );
    let older = get(
        site.net.admin(),
        &format!("/v1/audit?before={}", page["next"]),
    )
    .1;
    let older: Value = serde_json::from_str(&older).unwrap();
    assert_eq!(older["entries"][0]["number"], 1, "{older}");
    assert_eq!(get(site.net.admin(), "/v1/audit?since=yesterday").0, 422);
    assert_eq!(entries(site, &["--limit", "1"])[0]["number"], 4);
    assert!(entries(site, &["--since", "1h"]).len() == 4);
    assert!(entries(site, &["--since", "2100-01-01T00:00:00Z"]).is_empty());
    assert!(metric(&server, "meridian_audit_entries_total") >= 4.0);
    let text = site.run(&["audit", "--limit", "1"]).stdout;
    assert!(
        text.contains("SIGHUP@test-node  reload files: refused"),
        "{text}"
    );

    assert_eq!(server.stop().0, Some(0));
    let offline = site.run(&["audit", "--json"]);
    assert_eq!(
        (offline.code, offline.stdout.lines().count()),
        (Some(0), 4),
        "{offline:?}"
    );
    assert!(
        offline.stderr.contains("these entries are from the files"),
        "{offline:?}"
    );
}

#[test]
fn an_entry_has_the_state_before_and_after_and_a_dry_run_has_no_entry() {
    let exposed = Exposed::new("");
    let (site, _server) = (&exposed.site, exposed.site.start());
    let drain =
        "{\"action\": \"drain\", \"what\": \"dublin\", \"reason\": \"INC-7\", \"for\": \"1h\"";
    let send = |method: &str, path: &str, body: &str| {
        let json = "Content-Type: application/json";
        let more = ["-X", method, "-H", json, "--data", body];
        let answer = exposed.curl(path, "operate", &more);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    };
    send(
        "POST",
        "/v1/overrides",
        &format!("{drain}, \"dry_run\": true}}"),
    );
    send("POST", "/v1/overrides", &format!("{drain}}}"));
    send("DELETE", "/v1/overrides/1", "");
    send("PUT", "/v1/acme/gtm.example", "{\"value\": \"abc\"}");
    send("DELETE", "/v1/acme/gtm.example", "");
    let found = wait_for("an entry for each change", || {
        let found = entries(site, &[]);
        (found.len() >= 4).then_some(found)
    });
    let actions: Vec<_> = found.iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["drain", "release", "acme-set", "acme-clear"]);
    assert!(
        found.iter().all(|entry| entry["by"] == "operate"),
        "{found:?}"
    );
    assert_eq!(found[0]["reason"], "INC-7");
    assert_eq!(found[0]["before"]["overrides"], Value::Array(Vec::new()));
    assert_eq!(found[0]["after"]["overrides"][0]["name"], "dublin");
    assert_eq!(found[1]["before"]["overrides"][0]["id"], "1");
    assert_eq!(found[1]["after"]["overrides"], Value::Array(Vec::new()));
    assert_eq!(found[2]["before"]["challenges"], Value::Array(Vec::new()));
    assert_eq!(found[2]["after"]["challenges"][0]["value"], "abc");
    assert_eq!(
        found[3]["before"]["challenges"][0]["by"],
        "operate@test-node"
    );
    assert_eq!(found[3]["after"]["challenges"], Value::Array(Vec::new()));
}

#[test]
fn a_full_disk_costs_entries_and_nothing_else() {
    let site = Site::with_app();
    std::fs::create_dir(site.path("state")).unwrap();
    std::fs::set_permissions(site.path("state"), PermissionsExt::from_mode(0o700)).unwrap();
    let path = site.path("state/audit.log");
    symlink(Path::new("/dev/full"), &path).unwrap();
    let mut server = site.start();
    let resume = || post(site.net.admin(), "/resume?service=app.gtm.example", "").0;
    assert_eq!((resume(), resume(), resume()), (409, 409, 409));
    wait_for("three lost entries", || {
        (metric(&server, "meridian_audit_entries_lost_total") == 3.0).then_some(())
    });
    server.says("not written: No space left on device");
    assert_eq!(server.process.log().matches("not written").count(), 1);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(resume(), 409);
    let found = wait_for("an entry", || {
        let found = entries(&site, &[]);
        (found.len() == 2).then_some(found)
    });
    assert_eq!(
        found[0]["what"], "3 entries before this one",
        "{}",
        found[0]
    );
    assert_eq!(found[1]["action"], "resume");
    server.process.signal(Signal::SIGTERM);
}
