//! Time of `meridian simulate` and `meridian diff`: `cargo bench --bench simulate [-- SERVICES
//! REGIONS NETWORKS]`, by default 1000 services in 20 regions over 400 000 networks.
//!
//! Every service has a pool in every region, every tenth of them another route; regions have metros
//! and labels. The binary runs as operators run it, from reading the files to the last line; its
//! address plan becomes an MMDB first.

#![allow(clippy::print_stdout, reason = "it is a program that prints a table")]

mod data;

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let (services, regions) = (numbers.next().unwrap_or(1000), numbers.next().unwrap_or(20));
    let networks = numbers.next().unwrap_or(data::networks::NETWORKS);
    let directory = tempfile::tempdir().expect("a directory for the files");
    write_files(directory.path(), services, regions, networks);
    println!("{services} services in {regions} regions, {networks} networks");
    let clients = directory.path().join("clients.csv");
    let sample: String = (0..100_000u32)
        .map(|client| {
            format!(
                "{}.{}.{}.0/24,{}\n",
                1 + client % 126,
                client >> 8 & 255,
                client & 255,
                1 + client % 9
            )
        })
        .collect();
    std::fs::write(&clients, sample).expect("room on the disk");
    let clients = clients.display().to_string();
    for (label, arguments) in [
        (
            "verify, which reads and compiles the same files",
            vec!["verify"],
        ),
        ("simulate --single", vec!["simulate", "--single"]),
        ("simulate: every loss and every pair", vec!["simulate"]),
        ("simulate --json", vec!["simulate", "--json"]),
        (
            "simulate --clients, 100 000 of them",
            vec!["simulate", "--clients", &clients],
        ),
    ] {
        println!(
            "{label:<52} {:>7.2} s",
            run(directory.path(), &arguments, true)
        );
    }
    println!(
        "{:<52} {:>7.2} s",
        "diff, a region nearer to everybody",
        run(
            directory.path(),
            &["diff", "meridian.toml", "new.toml"],
            false
        )
    );
}

/// Seconds that the command takes.
fn run(directory: &Path, arguments: &[&str], config: bool) -> f64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
    command
        .args(arguments)
        .current_dir(directory)
        .stdout(Stdio::null());
    if config {
        command.args(["--config", "meridian.toml"]);
    }
    let start = Instant::now();
    let status = command.status().expect("the binary is there");
    assert!(status.success(), "{arguments:?}: {status}");
    start.elapsed().as_secs_f64()
}

fn write_files(directory: &Path, services: usize, regions: usize, networks: usize) {
    let write = |name: &str, content: &[u8]| {
        std::fs::write(directory.join(name), content).expect("room on the disk")
    };
    let mut plan = Vec::new();
    data::networks::write_plan(&data::networks::networks(networks), &mut plan)
        .expect("a vector takes all");
    let plan = String::from_utf8(plan).expect("text");
    write(
        "city.mmdb",
        &meridian::geo::build::build("plan", &plan).expect("a good plan"),
    );
    let mut main = "[server]\nnode = \"bench\"\nlisten = [\"127.0.0.1:5300\"]\nzones = \"zones\"\n[geo]\ncity = \"city.mmdb\"\n\
        [maps.default]\nby_distance = true\n[checks.web]\ntype = \"tcp\"\nport = 80\n"
        .to_owned();
    for region in 0..regions {
        let (latitude, longitude) = (
            (region * 37 % 110) as f64 - 45.0,
            region as f64 * 360.0 / regions as f64 - 180.0,
        );
        let (metro, provider) = (region / 2, region % 3);
        writeln!(
            main,
            "[regions.r{region}]\nlatitude = {latitude}\nlongitude = {longitude}\ncapacity = 50\nlabels = {{ provider = \"p{provider}\" }}"
        )
        .expect("a string takes all");
        if region < 8 {
            writeln!(main, "metro = \"m{metro}\"").expect("a string takes all");
        }
    }
    let mut zone =
        "zone = \"bench.example\"\nrecords = '''\n$TTL 60\n@ SOA ns1 h 1 3600 600 604800 30\n@ NS ns1\nns1 A 192.0.2.53\n'''\n"
            .to_owned();
    for service in 0..services {
        let route = ["nearest", "weighted", "sticky"][if service % 10 == 0 {
            1 + service / 10 % 2
        } else {
            0
        }];
        write!(zone, "[services.s{service}]\nroute = \"{route}\"\nchecks = [\"web\"]\n[services.s{service}.pools]\n")
            .expect("a string takes all");
        for region in 0..regions {
            writeln!(
                zone,
                "r{region} = {{ endpoints = [\"10.{region}.0.1\", \"10.{region}.0.2\"] }}"
            )
            .expect("a string takes all");
        }
    }
    std::fs::create_dir(directory.join("zones")).expect("an empty directory");
    write("zones/bench.toml", zone.as_bytes());
    write("meridian.toml", main.as_bytes());
    write(
        "new.toml",
        main.replacen("capacity = 50\n", "capacity = 50\nbias = 40\n", 1)
            .as_bytes(),
    );
}
