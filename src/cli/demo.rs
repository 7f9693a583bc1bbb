//! `meridian demo`: three toy regions on loopback, a server, and keys to fail and heal them.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::routing::get;
use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::error::{Error, Reason};
use super::progress::Waiting;
use crate::answer::explain;
use crate::changes::{Change, Event};
use crate::clock::Clock;
use crate::daemon::{self, Hooks};
use crate::dataset::Snapshot;
use crate::dns::{Name, Prefix};
use crate::server::{BindError, Transport};

/// Options of `meridian demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Address and port of the DNS server.
    #[arg(long, default_value = "127.0.0.1:5300", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
}

/// HTTP port of the toy regions.
const PORT: u16 = 18080;

/// A toy region: its name, its address, and the documentation prefix whose clients are near it.
struct Region {
    name: &'static str,
    address: Ipv4Addr,
    client: &'static str,
}

const REGIONS: [Region; 3] = [
    Region {
        name: "dublin",
        address: Ipv4Addr::new(127, 0, 0, 11),
        client: "203.0.113.0/24",
    },
    Region {
        name: "ashburn",
        address: Ipv4Addr::new(127, 0, 0, 12),
        client: "192.0.2.0/24",
    },
    Region {
        name: "tokyo",
        address: Ipv4Addr::new(127, 0, 0, 13),
        client: "198.51.100.0/24",
    },
];

impl Demo {
    /// Runs the demo until `q`, SIGINT or SIGTERM.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let directory = tempfile::Builder::new()
            .prefix("meridian-demo-")
            .tempdir()
            .map_err(|error| Reason::System("create a temporary directory", error))?;
        write_files(directory.path(), self.listen)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| Reason::System("start the toy regions", error))?;
        // The runtime is leaked, since it must not be dropped inside the server's: that drops the
        // hooks, which hold this one, when the server cannot start.
        let runtime: &'static Runtime = Box::leak(Box::new(runtime));
        let mut toys = Vec::new();
        for region in &REGIONS {
            let serving = Some(runtime.block_on(serve(region))?);
            toys.push(Toy { region, serving });
        }
        let zone_file = directory.path().join(ZONE_FILE).display().to_string();
        let waiting = Waiting::begin("probing the toy regions");
        let hooks = hooks(self.listen, zone_file, toys, runtime, waiting);
        let terminal = raw_mode();
        let ended = daemon::run(&directory.path().join("meridian.toml"), false, hooks);
        if let Some(terminal) = terminal {
            let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &terminal);
        }
        ended?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Path of the demo's zone file in its directory.
const ZONE_FILE: &str = "zones/demo.example.toml";

fn write_files(directory: &Path, listen: SocketAddr) -> Result<(), Reason> {
    std::fs::create_dir(directory.join("zones")).map_err(|error| Reason::io(directory, error))?;
    let configuration = CONFIGURATION
        .replace("LISTEN", &listen.to_string())
        .replace("PORT", &PORT.to_string());
    for (name, text) in [("meridian.toml", configuration.as_str()), (ZONE_FILE, ZONE)] {
        let path = directory.join(name);
        std::fs::write(&path, text).map_err(|error| Reason::io(&path, error))?;
    }
    Ok(())
}

/// Hooks that greet, read keys, and print what clients get after each change.
fn hooks(
    listen: SocketAddr,
    zone_file: String,
    toys: Vec<Toy>,
    runtime: &'static Runtime,
    waiting: Waiting,
) -> Hooks {
    let watch = Arc::new(Mutex::new(Watch {
        last: BTreeMap::new(),
        since: Instant::now(),
    }));
    let at_change = watch.clone();
    Hooks {
        started: Some(Box::new(move |snapshot| {
            drop(waiting);
            greet(listen, &zone_file);
            lock(&watch).look(snapshot);
            std::thread::spawn(move || keys(toys, runtime, &watch));
        })),
        published: Some(Box::new(move |snapshot, changes| {
            lock(&at_change).report(snapshot, changes)
        })),
        reloaded: Some(Box::new(|result| match result {
            Ok(summary) => print_line!("reloaded: {summary}"),
            Err(why) => print_line!("not reloaded; the previous files stay in service:\n{why}"),
        })),
    }
}

fn greet(listen: SocketAddr, zone_file: &str) {
    let dig = format!("dig @{} -p {}", listen.ip(), listen.port());
    print_line!("Meridian serves demo.example on {listen}. Ask it from another terminal:\n");
    for Region {
        name,
        address,
        client,
    } in &REGIONS
    {
        let question = format!("{dig} +short www.demo.example +subnet={client}");
        print_line!("  {question:84} # near {name}: {address}");
    }
    for (question, what) in [
        ("weighted.demo.example", "dublin 80 %, ashburn 20 %"),
        ("primary.demo.example", "dublin; ashburn is the standby"),
        (
            "CH TXT www.demo.example +subnet=203.0.113.0/24",
            "why that answer",
        ),
    ] {
        print_line!("  {dig} +short {question:54} # {what}");
    }
    print_line!("\nThe zone file, to edit (then press r): {zone_file}");
    print_line!(
        "Keys: 1, 2 and 3 fail or heal dublin, ashburn and tokyo; r reloads the files; q ends the demo.\n"
    );
}

/// Answers that the clients got last, and the time since a region was last failed or healed.
struct Watch {
    last: BTreeMap<(&'static str, &'static str), String>,
    since: Instant,
}

impl Watch {
    /// Answers of this moment that differ from the last look, as lines.
    fn look(&mut self, snapshot: &Snapshot) -> Vec<String> {
        let mut changed = Vec::new();
        for name in ["www.demo.example.", "primary.demo.example."] {
            for region in &REGIONS {
                let (Ok(owner), Ok(client)) =
                    (Name::from_text(name, None), region.client.parse::<Prefix>())
                else {
                    continue;
                };
                let explanation = explain(snapshot, &owner, None, client, 0, Clock.wall());
                let answer = explanation.answers.join(" ");
                let from = explanation.region.unwrap_or_default();
                let new = format!("{answer} ({from})");
                if let Some(old) = self.last.insert((name, region.client), new.clone())
                    && old != new
                {
                    changed.push(format!(
                        "{name} for {} near {}: {old} -> {new}, TTL {}",
                        region.client, region.name, explanation.ttl
                    ));
                }
            }
        }
        changed
    }

    fn report(&mut self, snapshot: &Snapshot, changes: &[Change]) {
        let seconds = self.since.elapsed().as_secs_f64();
        for change in changes {
            if let Event::Endpoint(_) | Event::Node(_) = &change.event {
                print_line!("  +{seconds:.3} s  {}", change.sentence(Clock.wall()));
            }
        }
        for change in self.look(snapshot) {
            print_line!("  +{seconds:.3} s  {change}");
        }
    }
}

fn lock(watch: &Mutex<Watch>) -> std::sync::MutexGuard<'_, Watch> {
    watch
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A toy region's HTTP server; `None` while it is failed.
struct Toy {
    region: &'static Region,
    serving: Option<JoinHandle<()>>,
}

async fn serve(region: &'static Region) -> Result<JoinHandle<()>, Reason> {
    let address = SocketAddr::new(IpAddr::V4(region.address), PORT);
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| {
            Reason::Toy(
                region.name,
                BindError::explain(address, Transport::Tcp, error),
            )
        })?;
    let page = format!("{}\n", region.name);
    let routes = Router::new().fallback(get(move || async move { page }));
    Ok(tokio::spawn(async move {
        let _ = axum::serve(listener, routes).await;
    }))
}

/// Reads keys until `q`; without a keyboard, at the end of input, the demo runs until a signal.
fn keys(mut toys: Vec<Toy>, runtime: &Runtime, watch: &Mutex<Watch>) {
    for key in std::io::stdin().lock().bytes().map_while(Result::ok) {
        match key {
            b'1'..=b'3' => toggle(&mut toys[usize::from(key - b'1')], runtime, watch),
            b'r' => {
                print_line!("reloading the files");
                // The demo reloads as an operator does, by the signal of the server it runs.
                let _ = raise(Signal::SIGHUP);
            }
            b'q' | 4 => {
                let _ = raise(Signal::SIGTERM);
                return;
            }
            _ => {}
        }
    }
    runtime.block_on(std::future::pending())
}

fn toggle(toy: &mut Toy, runtime: &Runtime, watch: &Mutex<Watch>) {
    let Region { name, address, .. } = toy.region;
    lock(watch).since = Instant::now();
    match toy.serving.take() {
        Some(serving) => {
            serving.abort();
            // The port is free only once the task has ended, and the next key may heal the region
            // immediately.
            let _ = runtime.block_on(serving);
            print_line!("{name} ({address}) is failing");
        }
        None => match runtime.block_on(serve(toy.region)) {
            Ok(serving) => {
                toy.serving = Some(serving);
                print_line!("{name} ({address}) is healthy again");
            }
            Err(why) => print_line!("{why}"),
        },
    }
}

/// Lets keys through one by one and unechoed; returns the settings to restore, `None` without a
/// terminal.
fn raw_mode() -> Option<Termios> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let before = termios::tcgetattr(std::io::stdin()).ok()?;
    // Signals stay on, so that Ctrl-C ends the demo as it ends any program.
    let mut raw = before.clone();
    raw.local_flags
        .remove(LocalFlags::ICANON | LocalFlags::ECHO);
    termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw).ok()?;
    Some(before)
}

const CONFIGURATION: &str = r#"# The demo's configuration; meridian.toml in the repository explains every key.
[server]
node   = "demo"
listen = ["LISTEN"]
zones  = "zones"
state  = "state"
why_from = ["127.0.0.0/8", "::1/128"]

[maps.default]
by_distance = true
rest        = ["dublin", "ashburn", "tokyo"]

[regions.dublin]
latitude  = 53.35
longitude = -6.26

[regions.ashburn]
latitude  = 39.04
longitude = -77.49

[regions.tokyo]
latitude  = 35.68
longitude = 139.69

[checks.web]
type     = "http"
port     = PORT
path     = "/"
interval = "1s"
timeout  = "500ms"
fall     = 3
rise     = 2
"#;

const ZONE: &str = r#"zone = "demo.example"
ttl  = 20
records = '''
@    3600 SOA ns1 hostmaster 1 3600 600 604800 20
@    3600 NS  ns1
ns1  3600 A   127.0.0.1
'''

[services.www]                 # each client to the nearest region that is up
route  = "nearest"
checks = ["web"]
[services.www.pools]
dublin  = { endpoints = ["127.0.0.11"] }
ashburn = { endpoints = ["127.0.0.12"] }
tokyo   = { endpoints = ["127.0.0.13"] }

[services.weighted]            # edit the weights and press r
route  = "weighted"
checks = ["web"]
[services.weighted.pools]
dublin  = { weight = 80, endpoints = ["127.0.0.11"] }
ashburn = { weight = 20, endpoints = ["127.0.0.12"] }

[services.primary]             # ashburn only while dublin is down
route  = "priority"
checks = ["web"]
[services.primary.pools]
dublin  = { priority = 1, endpoints = ["127.0.0.11"] }
ashburn = { priority = 2, endpoints = ["127.0.0.12"] }

[[tests]]
client = "203.0.113.0/24"
name   = "www"
down   = ["dublin"]
expect = "ashburn"
"#;
