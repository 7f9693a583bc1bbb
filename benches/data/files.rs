//! The files of the world: what Meridian serves, and what the servers beside it are given.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::networks::{networks, write_plan};
use super::{
    ATLAS, CONTINENTS, COUNTRIES, GEO_NAMES, MILLION_ZONE, PAIR_NAMES, REGIONS, STATIC_NAMES,
    WEIGHTED_NAMES, WEIGHTS, ZONE, order, region_address, static_address,
};

/// Sizes of the files' parts; 0 leaves a part out.
pub(crate) struct Sizes {
    /// Networks of `locations.csv`.
    pub(crate) networks: usize,
    /// Networks of `locations-large.csv`.
    pub(crate) large: usize,
    /// Names of `million.zone`.
    pub(crate) names: usize,
}

/// Writes everything into `directory`, which is made.
///
/// | file | |
/// |---|---|
/// | `world.toml` | regions and map, to go after the `[server]` and `[geo]` of a `meridian.toml` |
/// | `zones/`, `million/` | Meridian's zone files of either zone; their records are in the two below |
/// | `bench.zone`, `million.zone` | static records |
/// | `plain.zone` | `bench.zone` and a fixed address for every steered name, for servers without steering |
/// | `locations.csv`, `locations-large.csv` | address plans |
/// | `facts.json` | the same facts, for other servers' configuration |
pub(crate) fn write(directory: &Path, sizes: &Sizes) -> io::Result<()> {
    fs::create_dir_all(directory.join("zones"))?;
    fs::create_dir_all(directory.join("million"))?;
    let file = |name: &str, text: &str| fs::write(directory.join(name), text);
    file("world.toml", &world())?;
    file("bench.zone", &records())?;
    file("plain.zone", &plain_records())?;
    file("facts.json", &facts().to_string())?;
    file(&format!("zones/{ZONE}.toml"), &services())?;
    for (name, count) in [
        ("locations.csv", sizes.networks),
        ("locations-large.csv", sizes.large),
    ] {
        if count > 0 {
            let mut out = BufWriter::new(File::create(directory.join(name))?);
            write_plan(&networks(count), &mut out)?;
            out.flush()?;
        }
    }
    if sizes.names > 0 {
        file(
            &format!("million/{MILLION_ZONE}.toml"),
            &format!("zone = \"{MILLION_ZONE}\"\nrecords_file = \"../million.zone\"\n"),
        )?;
        file("million.zone", &many_records(sizes.names))?;
    }
    Ok(())
}

/// `[maps.default]` and `[regions]`.
pub(crate) fn world() -> String {
    let list = |names: &[&str]| {
        format!(
            "[{}]",
            names
                .iter()
                .map(|name| format!("\"{name}\""))
                .collect::<Vec<_>>()
                .join(", ")
        )
    };
    let entries = |entries: &[(&str, usize)]| {
        let entry = |(code, region): &(&str, usize)| format!("{code} = {}", list(&order(*region)));
        format!(
            "{{ {} }}",
            entries.iter().map(entry).collect::<Vec<_>>().join(", ")
        )
    };
    let mut text = format!(
        "[maps.default]\nby_distance = false\ncountries = {}\ncontinents = {}\nrest = {}\n",
        entries(&COUNTRIES),
        entries(&CONTINENTS),
        list(&REGIONS.each_ref().map(|region| region.name)),
    );
    for region in &REGIONS {
        let _ = writeln!(
            text,
            "[regions.{}]\nlatitude = {}\nlongitude = {}",
            region.name, region.latitude, region.longitude
        );
    }
    text
}

const HEAD: &str =
    "$TTL 60\n@ SOA ns1 hostmaster 1 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.53\n";

/// The static records of [`ZONE`].
fn records() -> String {
    (0..STATIC_NAMES).fold(HEAD.to_owned(), |mut text, number| {
        let _ = writeln!(text, "s{number:03} A {}", static_address(number));
        text
    })
}

fn plain_records() -> String {
    let mut text = records();
    for (letter, width, count) in [
        ("g", 4, GEO_NAMES),
        ("w", 3, WEIGHTED_NAMES),
        ("p", 3, PAIR_NAMES),
    ] {
        for number in 0..count {
            let _ = writeln!(text, "{letter}{number:0width$} A {}", region_address(0));
        }
    }
    text
}

/// A zone of `count` names, one record each.
pub(crate) fn many_records(count: usize) -> String {
    let mut text = String::with_capacity(HEAD.len() + count * 30);
    text.push_str(HEAD);
    for number in 0..count {
        let _ = writeln!(text, "n{number:07} A {}", static_address(number));
    }
    text
}

/// Meridian's zone file of [`ZONE`].
fn services() -> String {
    let mut text = format!("zone = \"{ZONE}\"\nttl = 30\nrecords_file = \"../bench.zone\"\n");
    let pools: String = REGIONS
        .iter()
        .enumerate()
        .map(|(index, region)| {
            format!(
                "{} = {{ endpoints = [\"{}\"] }}\n",
                region.name,
                region_address(index)
            )
        })
        .collect();
    let first = REGIONS[0].name;
    let weighted: Vec<String> = WEIGHTS
        .iter()
        .enumerate()
        .map(|(index, weight)| {
            format!(
                "{{ address = \"{}\", weight = {weight} }}",
                region_address(index)
            )
        })
        .collect();
    let weighted = weighted.join(", ");
    let pair = format!("\"{}\", \"{}\"", region_address(0), region_address(1));
    for number in 0..GEO_NAMES {
        let _ = write!(
            text,
            "[services.g{number:04}]\nroute = \"nearest\"\n[services.g{number:04}.pools]\n{pools}"
        );
    }
    for number in 0..WEIGHTED_NAMES {
        let _ = writeln!(
            text,
            "[services.w{number:03}]\nroute = \"weighted\"\n[services.w{number:03}.pools]\n{first} = {{ endpoints = [{weighted}] }}"
        );
    }
    for number in 0..PAIR_NAMES {
        let _ = writeln!(
            text,
            "[services.p{number:03}]\nroute = \"weighted\"\nanswers = 2\n[services.p{number:03}.pools]\n{first} = {{ endpoints = [{pair}] }}"
        );
    }
    text
}

fn facts() -> serde_json::Value {
    let regions: Vec<_> = REGIONS
        .iter()
        .enumerate()
        .map(|(index, region)| serde_json::json!([region.name, region_address(index)]))
        .collect();
    let continents: Vec<_> = CONTINENTS
        .iter()
        .map(|(code, region)| serde_json::json!([code, order(*region)]))
        .collect();
    let continent_of = |code: &str| {
        ATLAS
            .iter()
            .find(|country| country.code == code)
            .expect("the map names countries of the atlas")
            .continent
    };
    let countries: Vec<_> = COUNTRIES
        .iter()
        .map(|(code, region)| serde_json::json!([continent_of(code), code, order(*region)]))
        .collect();
    serde_json::json!({
        "zone": ZONE,
        "million_zone": MILLION_ZONE,
        "regions": regions,
        "continents": continents,
        "countries": countries,
        "names": { "static": STATIC_NAMES, "geo": GEO_NAMES, "weighted": WEIGHTED_NAMES, "pair": PAIR_NAMES },
        "weights": WEIGHTS,
    })
}
