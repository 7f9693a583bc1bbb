//! The Debian package in a bare Debian: installed, the README followed, upgraded, removed and purged; and the image of
//! `Containerfile`, built on the same Debian and run.
//!
//! Needs root, a Debian host, mmdebstrap, and systemd-nspawn to start that Debian in. It is made once and kept in the
//! target directory; each run has it below a layer of its own, which is gone when the run ends.

#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

/// The time that anything may take which is not broken; machines that build other things are slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// Debian packages of the bare system, besides the essential ones.
const INSTALLED: &str = "systemd-sysv";

/// Mounts the kept system below a layer in memory. The mounts are its own, so that all of them end with it.
const MOUNT: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs layers "$2"
mkdir "$2/changes" "$2/work" "$2/root"
mount -t overlay root -o "lowerdir=$1,upperdir=$2/changes,workdir=$2/work" "$2/root"
"#;

/// Starts that system.
const BOOT: &str = r#"
exec systemd-nspawn --quiet --directory "$2/root" --boot --private-network --register=no --keep-unit
"#;

/// Installs the package `$3` into that system without starting it, runs the server by hand, and purges the package.
const CHROOT: &str = r#"
ip link set lo up
cp "$3" "$2/root/root/meridian.deb"
mount -t proc proc "$2/root/proc"
mount --rbind /dev "$2/root/dev"
root=$2/root
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
chroot "$root" apt-get install -y /root/meridian.deb >&2
chroot "$root" setpriv --reuid meridian --regid meridian --clear-groups \
    meridian serve --config /etc/meridian/meridian.toml >&2 &
answer=
for attempt in $(seq 100); do
    answer=$(dig @127.0.0.1 -p 5310 +short +tries=1 www.gtm.example +subnet=192.0.2.0/24) && break
    sleep 0.2
done
echo "answered $answer"
pkill --signal TERM --exact meridian
wait
rm "$root/root/meridian.deb"
chroot "$root" apt-get purge -y meridian >&2
find "$root" -xdev -iname '*meridian*'
chroot "$root" getent passwd meridian || echo "no user is left"
"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs it to its end; its standard output.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [out, err] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(
        output.status.success(),
        "{command:?}: {}\n{out}{err}",
        output.status
    );
    out
}

/// A shell that runs `script` with a network, mounts and processes of its own, none of which outlives it.
fn alone(script: &str) -> Command {
    let mut shell = Command::new("setpriv");
    shell
        .args(["--pdeathsig", "KILL", "--", "unshare", "--net", "--mount"])
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", script, "alone"]);
    shell
}

/// The first value that `look` finds.
#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The name of this host's Debian; an error says why the test cannot run here.
fn suite() -> Result<String, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root can start another system".to_owned());
    }
    let release = fs::read_to_string("/etc/os-release").map_err(|error| error.to_string())?;
    let value = |key: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    match (value("ID"), value("VERSION_CODENAME")) {
        (Some("debian"), Some(name)) => Ok(name.to_owned()),
        // What is compiled here asks for the C library of this host, which a Debian may not have.
        _ => Err("this host is no release of Debian".to_owned()),
    }
}

/// The directory of a bare Debian, made at the first call.
fn bare_debian(suite: &str) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("debian-{suite}"));
    if !kept.exists() {
        let aside = kept.with_extension("new");
        let _ = fs::remove_dir_all(&aside);
        let mut make = Command::new("mmdebstrap");
        make.args(["--quiet", "--variant=minbase"]);
        run(make
            .arg(format!("--include={INSTALLED}"))
            .arg(suite)
            .arg(&aside));
        fs::rename(&aside, &kept).unwrap();
    }
    kept
}

/// Builds the package of the binary under test: a build for release takes minutes.
fn build_package(directory: &Path) -> PathBuf {
    let target = directory.join("target");
    fs::create_dir_all(target.join("release")).unwrap();
    fs::copy(
        env!("CARGO_BIN_EXE_meridian"),
        target.join("release/meridian"),
    )
    .unwrap();
    let package = directory.join("meridian.deb");
    let mut build = Command::new("cargo");
    build
        .args([
            "deb",
            "--no-build",
            "--fast",
            "--offline",
            "--quiet",
            "--output",
        ])
        .arg(&package)
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(root());
    run(&mut build);
    package
}

/// The same package as version 2, whose example configuration differs.
fn next_version(directory: &Path, package: &Path) -> PathBuf {
    let (contents, next) = (directory.join("contents"), directory.join("next.deb"));
    run(Command::new("dpkg-deb")
        .arg("-R")
        .arg(package)
        .arg(&contents));
    let control = contents.join("DEBIAN/control");
    let text = fs::read_to_string(&control).unwrap();
    let version = text
        .lines()
        .find(|line| line.starts_with("Version: "))
        .unwrap();
    fs::write(&control, text.replace(version, "Version: 2.0.0-1")).unwrap();
    let mut example = fs::OpenOptions::new()
        .append(true)
        .open(contents.join("etc/meridian/meridian.toml"))
        .unwrap();
    example.write_all(b"# A later example.\n").unwrap();
    run(Command::new("dpkg-deb")
        .args(["-Znone", "-b"])
        .arg(&contents)
        .arg(&next));
    next
}

/// A Debian that runs, with nothing but loopback; it ends when dropped.
struct Machine {
    nspawn: Child,
    /// Its first process, as this host numbers it.
    init: u32,
    _layers: tempfile::TempDir,
}

impl Machine {
    /// Starts the system in `lower`. An error is the output of a start that failed.
    fn boot(lower: &Path) -> Result<Machine, String> {
        let layers = tempfile::tempdir().unwrap();
        let log = layers.path().with_extension("log");
        let mut boot = Command::new("setpriv");
        boot.args([
            "--pdeathsig",
            "KILL",
            "--",
            "unshare",
            "--mount",
            "sh",
            "-c",
            &[MOUNT, BOOT].concat(),
            "boot",
        ])
        .arg(lower)
        .arg(layers.path())
        .stdin(Stdio::null())
        .stdout(fs::File::create(&log).unwrap())
        .stderr(fs::File::options().append(true).open(&log).unwrap());
        let mut nspawn = boot.spawn().unwrap();
        let id = nspawn.id();
        let booted = wait_for("the system starts", || {
            if nspawn.try_wait().unwrap().is_some() {
                return Some(None);
            }
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
            let init = children.split(' ').next()?.parse().ok()?;
            let target = ["is-active", "multi-user.target"];
            let state = inside(init, "systemctl").args(target).output().unwrap();
            state.status.success().then_some(Some(init))
        });
        let said = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        match booted {
            Some(init) => Ok(Machine {
                nspawn,
                init,
                _layers: layers,
            }),
            None => Err(said),
        }
    }

    /// Output of a line of shell in it, which must succeed.
    #[track_caller]
    fn sh(&self, line: &str) -> String {
        run(inside(self.init, "sh").args(["-c", line]))
    }

    /// True when a line of shell in it succeeds.
    fn succeeds(&self, line: &str) -> bool {
        let mut shell = inside(self.init, "sh");
        shell
            .args(["-c", line])
            .stdin(Stdio::null())
            .output()
            .unwrap()
            .status
            .success()
    }

    /// Writes a file in it.
    fn write(&self, path: &str, contents: &[u8]) {
        let path = format!("/proc/{}/root{path}", self.init);
        fs::write(path, contents).unwrap();
    }

    /// A program of this host in its network.
    fn in_network(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.init))
            .arg("--")
            .arg(program);
        command
    }

    /// The output of `dig` in the network of the container.
    fn dig(&self, arguments: &str) -> String {
        let mut dig = self.in_network("dig");
        dig.args(["+tries=2", "+time=5"])
            .args(arguments.split_whitespace());
        let output = dig.output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A web server on port 80 of an address that it gets, for as long as the test runs.
    fn serve_web(&self, address: Ipv4Addr) {
        let network = fs::File::open(format!("/proc/{}/ns/net", self.init)).unwrap();
        let listener = std::thread::spawn(move || {
            // Of this thread alone, which ends with it; the socket stays in the network.
            setns(&network, CloneFlags::CLONE_NEWNET).unwrap();
            TcpListener::bind((address, 80)).unwrap()
        });
        let listener = listener.join().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(
                    b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                );
            }
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
    }
}

/// A program of the system whose first process is `init`, run as root there.
fn inside(init: u32, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command
        .args(["--all", "--target", &init.to_string(), "--"])
        .arg(program)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8");
    command
}

/// The files of the README's five minutes, by their names below /etc/meridian.
fn readme_files() -> Vec<(String, String)> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut files = Vec::new();
    for block in readme.split("\n```toml\n").skip(1) {
        let block = block.split("\n```").next().unwrap();
        let name = block
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# "));
        if let Some(name) = name.filter(|name| name.ends_with(".toml")) {
            files.push((name.to_owned(), format!("{block}\n")));
        }
    }
    assert_eq!(files.len(), 2, "{files:?}");
    files
}

/// The README's questions with `dig +short` at the server's public address, each with its answer.
fn readme_questions() -> Vec<(String, String)> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut questions = Vec::new();
    for session in readme
        .split("\n$ dig @203.0.113.53 +norecurse +short ")
        .skip(1)
    {
        let (question, answer) = session.split_once('\n').unwrap();
        let answer = answer.lines().next().unwrap();
        questions.push((
            format!("@203.0.113.53 +norecurse +short {question}"),
            answer.to_owned(),
        ));
    }
    assert!(questions.len() >= 3, "{questions:?}");
    questions
}

/// The number of the service's main process; 0 where none runs.
fn main_process(machine: &Machine) -> String {
    machine
        .sh("systemctl show --value --property MainPID meridian")
        .trim()
        .to_owned()
}

fn installs_and_serves_the_example(machine: &Machine) {
    machine.sh("apt-get install -y /root/meridian.deb");
    assert!(machine.succeeds("systemctl is-active meridian && systemctl is-enabled meridian"));
    let example = "@127.0.0.1 -p 5310 +short www.gtm.example +subnet=192.0.2.0/24";
    wait_for("the example is answered", || {
        (machine.dig(example) == "192.0.2.10").then_some(())
    });
    // As a user of its own, which the group of a private key can be.
    let user = machine.sh(&format!("stat -c %U /proc/{}", main_process(machine)));
    assert_eq!(user.trim(), "meridian");
    assert!(
        machine
            .sh("getent passwd meridian")
            .contains(":/usr/sbin/nologin")
    );
    let verified = machine.sh("meridian verify --config /etc/meridian/meridian.toml");
    assert!(verified.contains("2 routing tests passed"), "{verified}");
    assert!(
        machine
            .sh("meridian complete -- meridian drain tok")
            .contains("tokyo")
    );
    for file in [
        "/usr/share/man/man1/meridian-drain.1.gz",
        "/usr/share/bash-completion/completions/meridian",
        "/usr/share/zsh/vendor-completions/_meridian",
        "/usr/share/fish/vendor_completions.d/meridian.fish",
        "/usr/share/meridian/acme-hook",
        "/usr/share/doc/meridian/README.md",
        "/usr/share/doc/meridian/copyright",
    ] {
        machine.sh(&format!("test -s {file}"));
    }
}

fn follows_the_readme(machine: &Machine) {
    for address in [
        "203.0.113.53",
        "203.0.113.10",
        "203.0.113.11",
        "192.0.2.10",
        "198.51.100.10",
    ] {
        let address: Ipv4Addr = address.parse().unwrap();
        run(machine.in_network("ip").args([
            "address",
            "add",
            &format!("{address}/32"),
            "dev",
            "lo",
        ]));
        machine.serve_web(address);
    }
    machine.sh("rm /etc/meridian/zones/example.toml");
    for (name, text) in readme_files() {
        machine.write(&format!("/etc/meridian/{name}"), text.as_bytes());
    }
    let verified = machine.sh("meridian verify --config /etc/meridian/meridian.toml");
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains(&verified), "{verified}");
    machine.sh("systemctl restart meridian");
    for (question, answer) in readme_questions() {
        let said = machine.dig(&question);
        // Chance decides between the two endpoints in Dublin.
        let expected = answer.replace("203.0.113.11", "203.0.113.10");
        assert_eq!(
            said.replace("203.0.113.11", "203.0.113.10"),
            expected,
            "{question}"
        );
    }
    let ready = machine
        .in_network("curl")
        .args(["-s", "http://127.0.0.1:8053/readyz"])
        .output();
    assert_eq!(
        String::from_utf8_lossy(&ready.unwrap().stdout).trim(),
        "ready"
    );
    machine.sh("meridian drain dublin --reason INC-512 --for 2h");
    machine.sh("systemctl reload meridian");
}

fn upgrades(machine: &Machine) {
    let (before, state) = (main_process(machine), "meridian overrides --json");
    let overrides = machine.sh(state);
    // Set by the hook, as lego calls it.
    let record = "_acme-challenge.www.gtm.example.com.";
    machine.sh(&format!(
        "/usr/share/meridian/acme-hook present {record} kept"
    ));
    machine.sh("apt-get install -y -o Dpkg::Options::=--force-confold /root/next.deb");
    let version = machine.sh("dpkg-query -W -f '${Version}' meridian");
    assert_eq!(version, "2.0.0-1");
    assert!(machine.succeeds("systemctl is-active meridian"));
    assert_ne!(main_process(machine), before, "the new program runs");
    assert_eq!(machine.sh(state), overrides);
    assert!(overrides.contains("INC-512"), "{overrides}");
    let challenge = format!("@203.0.113.53 +short TXT {record}");
    assert_eq!(machine.dig(&challenge), "\"kept\"");
    let (name, text) = readme_files().remove(0);
    assert_eq!(machine.sh(&format!("cat /etc/meridian/{name}")), text);
    assert!(
        !machine.succeeds("test -e /etc/meridian/zones/example.toml"),
        "it was removed"
    );
    let question = "@203.0.113.53 +short www.gtm.example.com +subnet=203.0.113.0/24";
    assert_eq!(machine.dig(question), "192.0.2.10", "dublin is drained");
}

fn leaves_nothing(machine: &Machine) {
    machine.sh("apt-get remove -y meridian");
    assert!(!machine.succeeds("systemctl is-active meridian"));
    assert!(!machine.succeeds("command -v meridian"));
    machine.sh("test -e /etc/meridian/zones/gtm.example.com.toml");
    machine.sh("test -e /var/lib/private/meridian/overrides.json");

    machine.sh("rm /root/*.deb && apt-get purge -y meridian");
    let left = machine.sh("find / -xdev -iname '*meridian*' -not -path '/proc/*'");
    assert_eq!(left, "");
    assert!(!machine.succeeds("getent passwd meridian || getent group meridian"));
    assert!(
        !machine.succeeds("systemctl cat meridian"),
        "the unit is gone"
    );
}

/// Builds the image from the directory `$2` on the Debian in `$1`, and runs its server in a network of its own.
const IMAGE: &str = r#"
set -e
ip link set lo up
base=$(buildah from scratch)
buildah add --quiet "$base" "$1" / >/dev/null
# The build fetches none where there are some, and so needs no network.
buildah add --quiet "$base" /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ >/dev/null
buildah commit --quiet --rm "$base" bare >/dev/null
buildah build --quiet --isolation chroot --pull=never --format docker --build-arg DEBIAN=localhost/bare \
    --build-arg PROGRAM=program --tag meridian "$2" >/dev/null
container=$(buildah from --pull=never localhost/meridian)
echo "user $(buildah run --isolation chroot "$container" -- id -u)"
buildah run --isolation chroot "$container" -- meridian serve --config /etc/meridian/meridian.toml >&2 &
for attempt in $(seq 100); do
    if buildah run --isolation chroot "$container" -- bash -c "$3"; then
        echo healthy
        break
    fi
    sleep 0.2
done
dig @127.0.0.1 -p 5310 +short www.gtm.example +subnet=192.0.2.0/24
pkill --signal TERM --exact meridian
wait
if buildah run --isolation chroot "$container" -- bash -c "$3"; then echo "healthy without a server"; fi
"#;

/// The command of the health check, which is the last string of its line in `Containerfile`.
fn health_check(containerfile: &str) -> String {
    let rest = containerfile.split("HEALTHCHECK").nth(1).unwrap();
    let list = &rest[rest.find('[').unwrap()..rest.find("]\n").unwrap() + 1];
    let words: Vec<String> = serde_json::from_str(&list.replace("\\\n", "")).unwrap();
    assert_eq!(words[..2], ["bash", "-c"]);
    words[2].clone()
}

#[test]
fn the_changelog_of_the_package_is_of_this_version() {
    let changelog = fs::read_to_string(root().join("package/changelog")).unwrap();
    let version = concat!("meridian (", env!("CARGO_PKG_VERSION"), "-1) ");
    assert!(changelog.starts_with(version), "{changelog}");
}

/// Tests that need programs of hundreds of megabytes.
mod big_peers {
    use super::*;

    #[test]
    fn the_package_installs_serves_upgrades_and_leaves_nothing() {
        let suite = match suite() {
            Ok(suite) => suite,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        let directory = tempfile::tempdir().unwrap();
        let package = build_package(directory.path());
        let next = next_version(directory.path(), &package);
        let machine = match Machine::boot(&bare_debian(&suite)) {
            Ok(machine) => machine,
            Err(said) => {
                return eprintln!("skipped: systemd-nspawn cannot start a system here: {said}");
            }
        };
        machine.write("/root/meridian.deb", &fs::read(package).unwrap());
        machine.write("/root/next.deb", &fs::read(next).unwrap());

        installs_and_serves_the_example(&machine);
        follows_the_readme(&machine);
        upgrades(&machine);
        leaves_nothing(&machine);
    }

    #[test]
    fn lintian_finds_no_fault_in_the_package() {
        if let Err(why) = suite() {
            return eprintln!("skipped: {why}");
        }
        let directory = tempfile::tempdir().unwrap();
        let package = build_package(directory.path());
        let mut lintian = Command::new("lintian");
        lintian.args(["--allow-root", "--fail-on", "error,warning"]);
        run(lintian.arg(package));
    }

    #[test]
    fn the_image_serves_without_root_and_knows_its_health() {
        let suite = match suite() {
            Ok(suite) => suite,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        // On the disk of the target directory: the layers are large.
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let context = directory.path().join("context");
        fs::create_dir(&context).unwrap();
        run(Command::new("cp")
            .arg("-r")
            .arg(root().join("package"))
            .arg(&context));
        let program = context.join("program");
        fs::copy(env!("CARGO_BIN_EXE_meridian"), &program).unwrap();
        run(Command::new("strip").arg(&program));
        let containerfile = fs::read_to_string(root().join("Containerfile")).unwrap();
        fs::write(context.join("Containerfile"), &containerfile).unwrap();

        let mut build = alone(IMAGE);
        build
            .arg(bare_debian(&suite))
            .arg(&context)
            .arg(health_check(&containerfile));
        // Images of their own, apart from those of this host.
        let storage = directory.path().join("storage.conf");
        let at = directory.path().display();
        let settings = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{at}/images\"\nrunroot = \"{at}/run\"\n"
        );
        fs::write(&storage, settings).unwrap();
        let output = build
            .env("CONTAINERS_STORAGE_CONF", &storage)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let [said, log] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert_eq!(said, "user 5353\nhealthy\n192.0.2.10\n", "{log}");
        assert!(log.contains("stopped"), "{log}");
    }

    /// As in the build of an image, where no systemd runs.
    #[test]
    fn the_package_installs_where_systemd_does_not_run() {
        let suite = match suite() {
            Ok(suite) => suite,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        let directory = tempfile::tempdir().unwrap();
        let layers = directory.path().join("layers");
        fs::create_dir(&layers).unwrap();
        let mut install = alone(&[MOUNT, CHROOT].concat());
        install
            .arg(bare_debian(&suite))
            .arg(&layers)
            .arg(build_package(directory.path()));
        assert_eq!(run(&mut install), "answered 192.0.2.10\nno user is left\n");
    }
}
