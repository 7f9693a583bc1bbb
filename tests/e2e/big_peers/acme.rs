//! certbot and lego get certificates from an authority, pebble, which asks the server for their challenges.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::support::{Done, Process, Site, command, dig, wait_for};

const PEBBLE: &str = r#"{"pebble": {
  "listenAddress": "NET.1:14000", "managementListenAddress": "NET.1:15000",
  "certificate": "DIR/pebble.pem", "privateKey": "DIR/pebble.key",
  "httpPort": 5002, "tlsPort": 5001
}}"#;

fn hook() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "package", "acme-hook"]
        .iter()
        .collect()
}

/// Writes the authority's certificate for HTTPS as `ca.pem`, and starts the authority.
fn start_pebble(site: &Site) -> Process {
    let host = site.net.host(1).to_string();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut own = CertificateParams::new(vec![host.clone()]).unwrap();
    // With the name of its issuer it would look self-signed.
    own.distinguished_name.push(DnType::CommonName, "pebble");
    let own = own.signed_by(&key, &root).unwrap();
    site.write("ca.pem", &root.pem());
    site.write("pebble.pem", &own.pem());
    site.write("pebble.key", &key.serialize_pem());
    let directory = site.directory().display().to_string();
    site.write("pebble.json", &PEBBLE.replace("DIR", &directory));
    let mut pebble = command("pebble");
    // It waits and refuses by chance otherwise, to teach clients.
    pebble
        .env("PEBBLE_VA_NOSLEEP", "1")
        .env("PEBBLE_WFE_NONCEREJECT", "0");
    pebble.arg("-config").arg(site.path("pebble.json"));
    pebble.args(["-dnsserver", &site.net.dns().to_string()]);
    let process = Process::spawn(&mut pebble);
    wait_for("pebble (tests/run installs it) listens", || {
        TcpStream::connect((host.as_str(), 14000)).ok().map(drop)
    });
    process
}

/// A program whose hooks reach the server of `site`.
fn client(site: &Site, program: &str) -> Command {
    let mut client = command(program);
    let state = format!("--state {}", site.path("state").display());
    client
        .env("MERIDIAN", env!("CARGO_BIN_EXE_meridian"))
        .env("MERIDIAN_OPTIONS", state)
        .env("HOME", site.directory())
        .current_dir(site.directory());
    client
}

#[track_caller]
fn run(mut client: Command) {
    let done: Done = client.output().expect("tests/run installs it").into();
    assert_eq!(done.code, Some(0), "{}\n{}", done.stdout, done.stderr);
}

/// The challenges are gone again, and the certificate has both names.
#[track_caller]
fn check(site: &Site, certificate: &str) {
    let left = dig(
        site.net.dns(),
        &["TXT", "_acme-challenge.www.gtm.example", "+short"],
    );
    assert_eq!(left, "", "the hooks clear what they set");
    let listed = site.run(&["acme", "list"]);
    assert_eq!(listed.stdout, "no ACME challenges\n");
    let mut openssl = command("openssl");
    openssl.args(["x509", "-noout", "-ext", "subjectAltName", "-in"]);
    openssl.arg(site.path(certificate));
    let shown: Done = openssl.output().unwrap().into();
    for name in ["DNS:www.gtm.example", "DNS:*.www.gtm.example"] {
        assert!(shown.stdout.contains(name), "{shown:?}");
    }
}

#[test]
fn certbot_and_lego_get_certificates_for_a_name_and_its_wildcard() {
    let site = Site::new();
    let _server = site.start();
    let _pebble = start_pebble(&site);
    let directory = format!("https://{}:14000/dir", site.net.host(1));
    let hook = hook().display().to_string();

    let mut certbot = client(&site, "certbot");
    certbot.env("REQUESTS_CA_BUNDLE", site.path("ca.pem"));
    certbot.args(["certonly", "--non-interactive", "--agree-tos"]);
    certbot.args(["--register-unsafely-without-email", "--server", &directory]);
    for kind in ["config", "work", "logs"] {
        certbot.arg(format!("--{kind}-dir"));
        certbot.arg(site.path(&format!("certbot/{kind}")));
    }
    certbot.args(["--manual", "--preferred-challenges", "dns"]);
    certbot.args(["--manual-auth-hook", &format!("{hook} present")]);
    certbot.args(["--manual-cleanup-hook", &format!("{hook} cleanup")]);
    certbot.args(["-d", "www.gtm.example", "-d", "*.www.gtm.example"]);
    run(certbot);
    check(&site, "certbot/config/live/www.gtm.example/cert.pem");

    let mut lego = client(&site, "lego");
    lego.env("LEGO_CA_CERTIFICATES", site.path("ca.pem"));
    lego.env("EXEC_PATH", &hook)
        .env("EXEC_SEQUENCE_INTERVAL", "1");
    lego.args([
        "--server",
        &directory,
        "--accept-tos",
        "--email",
        "ops@gtm.example",
    ]);
    lego.arg("--path").arg(site.path("lego"));
    lego.args(["--dns", "exec", "--dns.disable-cp"]);
    lego.args(["--dns.resolvers", &site.net.dns().to_string()]);
    lego.args([
        "--domains",
        "www.gtm.example",
        "--domains",
        "*.www.gtm.example",
        "run",
    ]);
    run(lego);
    check(&site, "lego/certificates/www.gtm.example.crt");

    // A name that is none of ours stops the client before it asks the authority.
    let mut refused = client(&site, "sh");
    refused.arg("-c").arg(format!(
        "{hook} present _acme-challenge.www.other.example. value"
    ));
    let refused: Done = refused.output().unwrap().into();
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("in no zone of this server"),
        "{refused:?}"
    );
}
