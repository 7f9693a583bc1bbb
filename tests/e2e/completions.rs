//! The completions in `completions/`, in real shells on a terminal: bash, zsh and fish.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::pty::openpty;

use crate::support::{PATIENCE, Site, command};

const COMPLETIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/completions");

/// A label that only the server knows: the files no longer have it.
const LABEL: &str = "[regions.tokyo]\nlabels = { provider = \"cloud-a\" }";

fn site() -> Site {
    let site = Site::new();
    site.edit("meridian.toml", "[regions.tokyo]", LABEL);
    fs::create_dir(site.path("bin")).unwrap();
    // The command as shells find it: by its name.
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_meridian"), site.path("bin/meridian")).unwrap();
    site
}

/// Lines of `meridian complete` for the words of `typed`, the last of which is being typed.
#[track_caller]
fn candidates(site: &Site, typed: &str) -> Vec<String> {
    let mut complete = command(env!("CARGO_BIN_EXE_meridian"));
    complete
        .args(["complete", "--"])
        .args(typed.split(' '))
        .current_dir(site.directory())
        .stdin(Stdio::null());
    let output = complete.output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{typed}: {output:?}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn names_come_from_the_server_and_else_from_the_files() {
    let site = site();
    let (regions, files) = (["ashburn", "dublin", "tokyo"], "--config meridian.toml");
    let service = "www.gtm.example";
    let from_files = candidates(&site, &format!("meridian drain {files} "));
    assert_eq!(
        from_files,
        [&regions[..], &["provider:cloud-a", service]].concat()
    );

    let server = site.start();
    // The files change and the server is not told: it goes on with what it has, and says so.
    site.edit("meridian.toml", LABEL, "[regions.tokyo]");
    assert_eq!(
        candidates(&site, &format!("meridian drain {files} ")),
        from_files
    );
    let socket = site.path("state/control.sock").display().to_string();
    for place in [
        format!("--server unix:{socket}"),
        format!("--state={}", site.path("state").display()),
    ] {
        let pools = candidates(&site, &format!("meridian drain {place} {service}/t"));
        assert_eq!(pools, ["www.gtm.example/tokyo"], "{place}");
    }
    // A command that reads files completes from the files that it will read.
    assert_eq!(
        candidates(&site, &format!("meridian why {files} --down ")),
        regions
    );
    assert_eq!(
        candidates(&site, &format!("meridian why {files} --down tokyo,d")),
        ["tokyo,dublin"]
    );
    assert_eq!(
        candidates(&site, &format!("meridian drain {files} 2001:")),
        ["2001:db8::10", "2001:db8::20", "2001:db8::30"]
    );
    let drained = site.run(&["drain", "tokyo", "--reason", "INC-1", "--for", "1h"]);
    assert_eq!(drained.code, Some(0), "{drained:?}");
    assert_eq!(
        candidates(&site, &format!("meridian release {files} ")),
        ["1\tdrain of region tokyo: INC-1"]
    );
    server.stop();

    assert_eq!(
        candidates(&site, &format!("meridian drain {files} ")),
        [&regions[..], &[service]].concat(),
        "the server has stopped"
    );
}

#[test]
fn broken_and_hung_neighbours_cost_a_second_and_say_nothing() {
    let site = site();
    assert_eq!(
        candidates(&site, "meridian ver"),
        candidates(&site, "meridian veri")
    );
    assert_eq!(candidates(&site, "meridian verify --config "), [":files"]);
    assert_eq!(candidates(&site, "meridian verify --config=me"), [":files"]);
    assert_eq!(
        candidates(&site, "meridian compl"),
        [""; 0],
        "not for people"
    );

    // A server that takes the connection and never answers.
    fs::create_dir(site.path("state")).unwrap();
    let hung = UnixListener::bind(site.path("state/control.sock")).unwrap();
    let began = Instant::now();
    let names = candidates(&site, "meridian drain --config meridian.toml to");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert!(names.is_empty() || names == ["tokyo"], "{names:?}");
    drop(hung);

    // A file that never ends: a pipe that nobody writes to.
    let pipe = site.path("pipe.toml");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let began = Instant::now();
    assert_eq!(
        candidates(&site, "meridian drain --config pipe.toml t"),
        [""; 0]
    );
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());

    site.write("meridian.toml", "[server\n");
    assert_eq!(
        candidates(&site, "meridian drain --config meridian.toml t"),
        [""; 0]
    );
}

/// A shell with its arguments, and the command with which it reads the completions and shows `$ ` as its prompt.
type Shell = (&'static str, &'static [&'static str], &'static str);

const SHELLS: [Shell; 3] = [
    (
        "bash",
        &["--norc", "--noprofile", "-i"],
        "PS1='ready$ '; bind 'set enable-bracketed-paste off'; source DIR/meridian.bash",
    ),
    (
        "zsh",
        &["-f", "-i"],
        "PS1='ready$ '; unsetopt zle_bracketed_paste; fpath=(DIR $fpath); autoload -Uz compinit; \
         compinit -u -D; bindkey -e; bindkey '^I' complete-word",
    ),
    (
        "fish",
        &["--no-config", "--interactive"],
        "function fish_prompt; echo -n 'ready$ '; end; source DIR/meridian.fish",
    ),
];

/// The words of a command line after `typed` and the key that completes, as the shell itself takes them.
#[track_caller]
fn complete_in(site: &Site, (shell, arguments, setup): Shell, typed: &str) -> String {
    let terminal = openpty(None, None).unwrap();
    let (mut master, slave) = (File::from(terminal.master), File::from(terminal.slave));
    // fish works on the terminal that controls its session, and on no other.
    let mut process = command("setsid");
    process
        .args(["--ctty", shell])
        .args(arguments)
        .current_dir(site.directory())
        .env(
            "PATH",
            format!("{}:{}", site.path("bin").display(), env!("PATH")),
        )
        .env("HOME", site.directory())
        .env("TERM", "dumb")
        .env("LC_ALL", "C.UTF-8")
        .stdin(slave.try_clone().unwrap())
        .stdout(slave.try_clone().unwrap())
        .stderr(slave);
    let mut process = process
        .spawn()
        .unwrap_or_else(|error| panic!("{shell}: {error}"));

    let flags = nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_GETFL).unwrap();
    let flags = nix::fcntl::OFlag::from_bits_retain(flags) | nix::fcntl::OFlag::O_NONBLOCK;
    nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_SETFL(flags)).unwrap();

    let mut shown = String::new();
    let mut wait = |master: &mut File, what: &str, times: usize| {
        let end = Instant::now() + PATIENCE;
        while shown.matches(what).count() < times {
            let mut buffer = [0; 4096];
            match master.read(&mut buffer) {
                Ok(length) => shown += &String::from_utf8_lossy(&buffer[..length]),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
            assert!(Instant::now() < end, "{shell} shows no {what:?}:\n{shown}");
        }
        shown.clone()
    };
    let setup = setup.replace("DIR", COMPLETIONS);
    // Put together by the shell, so that what it echoes of the command is not taken for the result.
    writeln!(master, "{setup}; printf 'set%s\\n' up").unwrap();
    wait(&mut master, "setup", 1);
    // The key is read after the completion, for which the shell makes it wait.
    write!(master, "{typed}\t\x01printf '<%s>' \x05 '' \r").unwrap();
    let shown = wait(&mut master, "<>", 1);
    process.kill().unwrap();
    process.wait().unwrap();
    let begin = shown
        .find("<meridian>")
        .unwrap_or_else(|| panic!("{shell}: {shown}"));
    shown[begin..].split("<>").next().unwrap().to_owned()
}

#[test]
fn bash_completes_commands_options_labels_lists_and_files() {
    completes(SHELLS[0]);
}

#[test]
fn zsh_completes_commands_options_labels_lists_and_files() {
    completes(SHELLS[1]);
}

#[test]
fn fish_completes_commands_options_labels_lists_and_files() {
    completes(SHELLS[2]);
}

#[track_caller]
fn completes(shell: Shell) {
    let site = site();
    let _server = site.start();
    site.edit("meridian.toml", LABEL, "[regions.tokyo]");
    for (typed, words) in [
        ("meridian verif", "<meridian><verify>"),
        ("meridian drain --conf", "<meridian><drain><--config>"),
        // The server's label, with a colon at which bash splits words.
        (
            "meridian drain --config meridian.toml provider:cl",
            "<meridian><drain><--config><meridian.toml><provider:cloud-a>",
        ),
        (
            "meridian drain --config=meridian.toml 2001:db8::2",
            "<meridian><drain><--config=meridian.toml><2001:db8::20>",
        ),
        (
            "meridian why --config meridian.toml --down tokyo,dub",
            "<meridian><why><--config><meridian.toml><--down><tokyo,dublin>",
        ),
        (
            "meridian drain --config meridian.toml www.gtm.example/tok",
            "<meridian><drain><--config><meridian.toml><www.gtm.example/tokyo>",
        ),
        (
            "meridian verify --config merid",
            "<meridian><verify><--config><meridian.toml>",
        ),
        (
            "meridian verify --config zon",
            // zsh takes the slash away again before a blank.
            "<meridian><verify><--config><zones",
        ),
    ] {
        let completed = complete_in(&site, shell, typed);
        assert!(completed.starts_with(words), "{typed}: {completed}");
    }
}
