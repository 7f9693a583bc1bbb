//! Listen addresses that the machine does not have, or not yet. Each server runs in a network of its own.

use std::process::Command;

use nix::unistd::Uid;

use crate::support::{Done, Process, Site, command, wait_for};

/// The server of `site` in a network namespace of its own, after `prepare`, a line for `sh`. `None` where that cannot be.
fn serve_alone(site: &Site, prepare: &str) -> Option<Command> {
    if !Uid::effective().is_root() {
        eprintln!("not run: a network namespace takes root");
        return None;
    }
    let mut serve = command("unshare");
    let script = format!("ip link set lo up && {prepare} exec \"$@\"");
    serve.args([
        "--net",
        "--",
        "sh",
        "-c",
        &script,
        "sh",
        env!("CARGO_BIN_EXE_meridian"),
        "serve",
        "--config",
    ]);
    serve.arg(site.path("meridian.toml")).current_dir("/");
    Some(serve)
}

/// What a program prints in the network of `server`.
fn inside(server: &Process, arguments: &[&str]) -> Done {
    let mut program = command("nsenter");
    program
        .args(["--net", "--target", &server.id().to_string(), "--"])
        .args(arguments);
    program.output().unwrap().into()
}

fn dig(server: &Process, arguments: &[&str]) -> String {
    let asked = inside(
        server,
        &[
            &[
                "dig",
                "+short",
                "+tries=1",
                "+time=5",
                "www.gtm.example",
                "AAAA",
            ],
            arguments,
        ]
        .concat(),
    );
    assert_eq!(asked.code, Some(0), "{asked:?}");
    asked.stdout
}

#[test]
fn an_address_that_comes_later_is_answered_then() {
    let site = Site::new();
    let listen = "listen = [\"127.0.0.1:5300\", \"192.0.2.53:5300\", \"[2001:db8::53]:5300\"]";
    site.edit(
        "meridian.toml",
        &format!("listen = [\"{}\"]", site.net.dns()),
        listen,
    );
    site.edit(
        "meridian.toml",
        &format!("listen = \"{}\"", site.net.admin()),
        "listen = \"192.0.2.54:8053\"\ncertificate = \"admin.pem\"\nkey = \"admin.key\"\ntokens = \"tokens.toml\"",
    );
    let own = rcgen::generate_simple_self_signed(vec!["admin.example".to_owned()]).unwrap();
    site.write("admin.pem", &own.cert.pem());
    site.write("admin.key", &own.signing_key.serialize_pem());
    let token = format!(
        "[ops]\nscopes = [\"read\"]\nsha256 = \"{}\"\n",
        "5a".repeat(32)
    );
    site.write("tokens.toml", &token);
    let Some(mut serve) = serve_alone(&site, "") else {
        return;
    };
    let mut server = Process::spawn(&mut serve);
    server.wait_log("started: ", 0);
    for address in ["192.0.2.53:5300", "[2001:db8::53]:5300", "192.0.2.54:8053"] {
        let said =
            format!("{address} is bound, but no interface of this machine has that address yet");
        assert!(server.log().contains(&said), "{server:?}");
    }
    assert!(
        !server.log().contains("127.0.0.1:5300 is bound, but"),
        "{server:?}"
    );
    assert_eq!(
        dig(
            &server,
            &["@127.0.0.1", "-p", "5300", "+subnet=203.0.113.0/24"]
        ),
        "2001:db8::10\n"
    );
    for address in ["192.0.2.53/32", "192.0.2.54/32", "2001:db8::53/128"] {
        let added = inside(&server, &["ip", "address", "add", address, "dev", "lo"]);
        assert_eq!(added.code, Some(0), "{added:?}");
    }
    // dig takes an answer from the address it asked, and from no other.
    for (address, transport) in [
        ("@192.0.2.53", "+notcp"),
        ("@192.0.2.53", "+tcp"),
        ("@2001:db8::53", "+notcp"),
        ("@2001:db8::53", "+tcp"),
    ] {
        let asked = || {
            Some(dig(
                &server,
                &[address, "-p", "5300", transport, "+subnet=203.0.113.0/24"],
            ))
        };
        wait_for(address, || {
            asked().filter(|answer| answer == "2001:db8::10\n")
        });
    }
    assert!(
        inside(&server, &["bash", "-c", "exec 3<>/dev/tcp/192.0.2.54/8053"]).code == Some(0),
        "the admin address, too"
    );
}

/// Runs what follows it without IPv6, as on a kernel that is booted with ipv6.disable=1: socket(AF_INET6, …) fails with
/// EAFNOSUPPORT, by a seccomp filter. Numbers of system calls are x86-64's.
const WITHOUT_IPV6: &str = r#"perl -e '
    my $filter = pack("SCCL" x 6,
        0x20, 0, 0, 0,              # the call
        0x15, 0, 3, 41,             # socket?
        0x20, 0, 0, 16,             # its family
        0x15, 0, 1, 10,             # AF_INET6?
        0x06, 0, 0, 0x00050000 | 97,
        0x06, 0, 0, 0x7fff0000);
    my $program = pack("Sx6P", 6, $filter);
    syscall(157, 38, 1, 0, 0, 0) == 0 or die $!;
    syscall(157, 22, 2, $program, 0, 0) == 0 or die $!;
    exec @ARGV' "#;

#[test]
fn a_machine_without_ipv6_listens_on_ipv4() {
    if std::env::consts::ARCH != "x86_64" {
        eprintln!("not run: the filter is x86-64's");
        return;
    }
    let site = Site::new();
    site.edit(
        "meridian.toml",
        &format!("listen = [\"{}\"]\n", site.net.dns()),
        "",
    );
    let without = format!("set -- {} \"$@\";", WITHOUT_IPV6.trim_end());
    let Some(mut serve) = serve_alone(&site, &without) else {
        return;
    };
    let mut server = Process::spawn(&mut serve);
    server.wait_log("started: ", 0);
    let log = server.log();
    assert!(
        log.contains("not listening on [::]:53: this machine does not speak that version of IP"),
        "{log}"
    );
    assert!(
        log.contains("listening on 0.0.0.0:53, UDP and TCP")
            && !log.contains("INFO listening on [::]"),
        "{log}"
    );
    assert_eq!(
        dig(&server, &["@127.0.0.1", "+subnet=203.0.113.0/24"]),
        "2001:db8::10\n"
    );

    let site = Site::new();
    site.edit(
        "meridian.toml",
        &format!("[\"{}\"]", site.net.dns()),
        "[\"127.0.0.1:53\", \"[::]:53\"]",
    );
    let done = Done::from(serve_alone(&site, &without).unwrap().output().unwrap());
    assert!(
        done.code == Some(1)
            && done
                .stderr
                .contains("switch it on, or write listen = [\"127.0.0.1:53\"]"),
        "{done:?}"
    );
}

#[test]
fn an_address_of_a_family_that_is_off_shows_the_line_to_write() {
    let site = Site::new();
    site.edit(
        "meridian.toml",
        &format!("[\"{}\"]", site.net.dns()),
        "[\"127.0.0.1:53\", \"[2001:db8::53]:53\"]",
    );
    let off = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6;";
    let Some(mut serve) = serve_alone(&site, off) else {
        return;
    };
    let done = Done::from(serve.output().unwrap());
    assert_eq!(done.code, Some(1), "{done:?}");
    let said =
        "cannot listen on [2001:db8::53]:53 (UDP): this machine does not speak that version of IP";
    assert!(done.stderr.contains(said), "{done:?}");
    assert!(
        done.stderr
            .contains("or write listen = [\"127.0.0.1:53\"])"),
        "{done:?}"
    );

    // All addresses are none in particular, and there may be some later.
    let site = Site::new();
    site.edit(
        "meridian.toml",
        &format!("listen = [\"{}\"]\n", site.net.dns()),
        "",
    );
    let mut server = Process::spawn(&mut serve_alone(&site, off).unwrap());
    server.wait_log("started: ", 0);
    assert_eq!(
        dig(&server, &["@127.0.0.1", "+subnet=203.0.113.0/24"]),
        "2001:db8::10\n"
    );
}
