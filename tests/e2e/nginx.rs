//! nginx as the endpoint: HTTP/1.1, HTTP/2 and TLS as a real server speaks them, and its death.

use std::collections::BTreeMap;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;

use crate::support::{Process, Site, command, get, wait_for};

const NGINX: &str = r#"
daemon off;
master_process off;
error_log stderr;
pid DIRECTORY/nginx.pid;
events {}
http {
    log_format told "$server_protocol $request_method $host $uri $status";
    access_log DIRECTORY/access.log told;
    client_body_temp_path DIRECTORY/body;
    proxy_temp_path DIRECTORY/proxy;
    fastcgi_temp_path DIRECTORY/fastcgi;
    uwsgi_temp_path DIRECTORY/uwsgi;
    scgi_temp_path DIRECTORY/scgi;
    server {
        listen NET.21:8080;
        listen NET.21:8081 http2;
        listen NET.21:8443 ssl http2;
        listen NET.21:8444 ssl;
        ssl_certificate DIRECTORY/server.pem;
        ssl_certificate_key DIRECTORY/server.key;
        location = /healthz { return 200 "all is well\n"; }
        location = /status { add_header X-Load 0.5; return 200 '{"replication": {"lag_s": 3}}'; }
        location = /old { return 301 /healthz; }
        location = /down { return 503 "draining\n"; }
    }
}
"#;

/// Each check, and what its probe of nginx says.
const CHECKS: [(&str, &str, &str); 14] = [
    (
        "plain",
        r#"type = "http"; port = 8080; path = "/healthz""#,
        "passed",
    ),
    (
        "cleartext-two",
        r#"type = "http"; port = 8081; path = "/healthz"; http_version = "2""#,
        "passed",
    ),
    (
        "one",
        r#"type = "https"; port = 8443; path = "/healthz"; http_version = "1.1""#,
        "passed",
    ),
    (
        "either",
        r#"type = "https"; port = 8443; path = "/healthz"; method = "HEAD""#,
        "passed",
    ),
    (
        "not-two",
        r#"type = "https"; port = 8444; path = "/healthz"; http_version = "2""#,
        "it refused TLS with alert no_application_protocol (120)",
    ),
    (
        "body",
        r#"type = "https"; port = 8443; path = "/healthz"; expect_body = { regex = '^all .* well\s$' }"#,
        "passed",
    ),
    (
        "lag",
        r#"type = "http"; port = 8080; path = "/status"; json = { pointer = "/replication/lag_s", max = 5 }; load_header = "x-load""#,
        "passed",
    ),
    (
        "too-much-lag",
        r#"type = "http"; port = 8080; path = "/status"; json = { pointer = "/replication/lag_s", max = 2 }"#,
        "a number in its JSON is above the most allowed",
    ),
    (
        "followed",
        r#"type = "https"; port = 8443; path = "/old"; follow_redirects = 1"#,
        "passed",
    ),
    (
        "stays",
        r#"type = "https"; port = 8443; path = "/old""#,
        "it answered with status 301",
    ),
    (
        "down",
        r#"type = "https"; port = 8443; path = "/down""#,
        "it answered with status 503",
    ),
    (
        "handshake",
        r#"type = "tls"; port = 8443; server_name = "www.example.com""#,
        "passed",
    ),
    (
        "another-name",
        r#"type = "tls"; port = 8443; server_name = "other.example.com""#,
        "the certificate is for another name",
    ),
    (
        "stranger",
        r#"type = "tls"; port = 8443; server_name = "www.example.com"; ca_file = """#,
        "the certificate is not issued by a trusted authority",
    ),
];

/// An authority's certificate as `ca.pem`, and one of its for `www.example.com`.
fn write_certificates(site: &Site) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["www.example.com".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    site.write("ca.pem", &authority.pem());
    site.write("server.pem", &server.pem());
    site.write("server.key", &key.serialize_pem());
}

fn configure(site: &Site) {
    let (mut checks, mut services) = (String::new(), String::new());
    for (name, keys, _) in CHECKS {
        let own = match (keys.contains("http"), keys.contains("ca_file")) {
            (true, _) if keys.contains("https") => {
                r#"; host = "www.example.com"; ca_file = "ca.pem""#
            }
            (true, _) => r#"; host = "www.example.com""#,
            (false, false) => r#"; ca_file = "ca.pem""#,
            (false, true) => "",
        };
        let keys = keys.replace("; ca_file = \"\"", "");
        checks += &format!(
            "[checks.{name}]\n{}\ninterval = \"500ms\"\ntimeout = \"400ms\"\n",
            format!("{keys}{own}").replace("; ", "\n")
        );
        services += &format!(
            "[services.{name}]\nroute = \"nearest\"\nchecks = [\"{name}\"]\n[services.{name}.pools]\ndublin = {{ endpoints = [\"NET.21\"] }}\n"
        );
    }
    let main = std::fs::read_to_string(site.path("meridian.toml")).unwrap();
    site.write(
        "meridian.toml",
        &(main.replace("only = [\"tokyo\"]", "only = [\"dublin\"]") + &checks),
    );
    let zone = std::fs::read_to_string(site.path("zones/gtm.example.toml")).unwrap();
    site.write("zones/gtm.example.toml", &(zone + &services));
}

#[test]
fn nginx_is_probed_in_every_way_and_its_death_is_seen() {
    let site = Site::new();
    write_certificates(&site);
    configure(&site);
    let directory = site.directory().display().to_string();
    site.write("nginx.conf", &NGINX.replace("DIRECTORY", &directory));
    let mut nginx = command("/usr/sbin/nginx");
    let nginx = Process::spawn(
        nginx
            .arg("-p")
            .arg(site.directory())
            .arg("-c")
            .arg(site.path("nginx.conf")),
    );
    wait_for("nginx listens", || {
        std::net::TcpStream::connect((site.net.host(21), 8080)).ok()
    });
    let server = site.start();
    let said = || {
        let health: Value = serde_json::from_str(&get(site.net.admin(), "/health").1).unwrap();
        let last = |target: &Value| {
            (
                target["check"].as_str().unwrap().to_owned(),
                target["last"]["result"].as_str().unwrap_or("-").to_owned(),
            )
        };
        (
            health["targets"]
                .as_array()
                .unwrap()
                .iter()
                .map(last)
                .collect::<BTreeMap<_, _>>(),
            health,
        )
    };
    let expected: BTreeMap<_, _> = CHECKS
        .iter()
        .map(|(name, _, last)| (name.to_string(), last.to_string()))
        .collect();
    wait_for("each check says what it should", || {
        Some(said().0).filter(|said| *said == expected).or_else(|| {
            // What it says instead is worth reading when this waits in vain.
            eprintln!(
                "{:#?}",
                said()
                    .0
                    .iter()
                    .filter(|(name, last)| expected.get(*name) != Some(*last))
                    .collect::<Vec<_>>()
            );
            std::thread::sleep(std::time::Duration::from_millis(300));
            None
        })
    });
    let health = said().1;
    let evidence = |check: &str| {
        let of = health["targets"]
            .as_array()
            .unwrap()
            .iter()
            .find(|target| target["check"] == check)
            .unwrap();
        of["last"]["evidence"].as_str().unwrap_or("").to_owned()
    };
    assert_eq!(evidence("down"), "draining\\n");
    assert_eq!(evidence("too-much-lag"), "/replication/lag_s is 3");
    let log = std::fs::read_to_string(site.path("access.log")).unwrap();
    for line in [
        "HTTP/1.1 GET www.example.com /healthz 200",
        "HTTP/2.0 HEAD www.example.com /healthz 200",
        "HTTP/2.0 GET www.example.com /old 301",
    ] {
        assert!(log.lines().any(|logged| logged == line), "{line} in {log}");
    }
    drop(nginx);
    wait_for("every check sees it dead", || {
        let said = said().0;
        said.values()
            .all(|last| last == "the connection was refused")
            .then_some(())
    });
    drop(server);
}
