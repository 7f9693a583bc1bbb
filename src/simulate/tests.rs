//! What-if snapshots, losses, populations and changes over small worlds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::config::{self, Source, Unreadable};
use crate::diag::Sources;
use crate::dns::{Name, Prefix};
use crate::geo::{EMBEDDED, Locations};

/// Two files of text: `meridian.toml` and one zone.
struct Files<'t>(&'t str, &'t str);

impl Source for Files<'_> {
    fn text(&mut self, path: &Path) -> Result<Arc<str>, Unreadable> {
        Ok(if path.ends_with("meridian.toml") { self.0 } else { self.1 }.into())
    }

    fn database(&mut self, _: &Path) -> Result<(), Unreadable> {
        Ok(())
    }

    fn zone_files(&mut self, directory: &Path) -> Result<Vec<PathBuf>, Unreadable> {
        Ok(vec![directory.join("z.toml")])
    }
}

/// The dataset of a `meridian.toml` that begins with `[server]` and of the services of a zone `gtm.example`.
fn dataset(main: &str, services: &str) -> Arc<Dataset> {
    let main = format!("[server]\nnode = \"n\"\nsole = true\n{main}");
    let zone = format!(
        "zone = \"gtm.example\"\nrecords = '''\n@ 60 SOA ns1 h 1 3600 600 86400 60\n@ 60 NS ns1\nns1 60 A 192.0.2.53\n'''\n{services}"
    );
    let (mut sources, mut diagnostics) = (Sources::new(), Diagnostics::default());
    let config = config::load(&mut Files(&main, &zone), Path::new("meridian.toml"), &mut sources, &mut diagnostics);
    let config = config.unwrap_or_else(|| panic!("{diagnostics:?}"));
    Arc::new(Dataset::compile(config, Arc::new(Locations::read(Some(EMBEDDED), None).unwrap())))
}

const THREE: &str = "[regions]\na = {}\nb = {}\nc = {}\n";

fn region_of(dataset: &Arc<Dataset>, down: &[&str], drained: &[&str]) -> (Option<String>, Option<u64>) {
    let named = |names: &[&str]| part(&dataset.config, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    let snapshot = what_if(dataset, &named(down), &named(drained).regions);
    let name = Name::from_text("u.gtm.example.", None).unwrap();
    let client: Prefix = "203.0.113.0/24".parse().unwrap();
    let explanation = explain(&snapshot, &name, None, client, 0);
    (explanation.region, explanation.unit.map(|unit| unit.epoch))
}

fn unit(takeover: &str) -> Arc<Dataset> {
    dataset(
        THREE,
        &format!(
            "[services.u]\nroute = \"unit\"\nowners = \"a\"\ntakeover = \"{takeover}\"\n[services.u.pools]\n\
             a = {{ endpoints = [\"192.0.2.1\"] }}\nb = {{ priority = 2, endpoints = [\"192.0.2.2\"] }}\n\
             c = {{ endpoints = [\"192.0.2.3\"] }}\n"
        ),
    )
}

#[test]
fn a_unit_that_moves_by_itself_goes_to_the_lowest_priority_that_is_up() {
    let auto = unit("auto");
    let at = |region: &str, epoch| (Some(region.to_owned()), Some(epoch));
    assert_eq!(region_of(&auto, &[], &[]), at("a", 1));
    assert_eq!(region_of(&auto, &["a"], &[]), at("c", 2));
    assert_eq!(region_of(&auto, &["a", "c"], &[]), at("b", 2));
    assert_eq!(region_of(&auto, &["a"], &["c"]), at("b", 2));
    assert_eq!(region_of(&auto, &[], &["a"]), at("c", 2), "drained is as good as down");
    assert_eq!(region_of(&auto, &["192.0.2.1"], &[]), at("c", 2));
    assert_eq!(region_of(&auto, &["b", "c"], &[]), at("a", 1));
    assert_eq!(region_of(&auto, &["a", "b", "c"], &[]), at("a", 1), "nobody could take it over");
    assert_eq!(region_of(&unit("manual"), &["a"], &[]), at("a", 1), "an operator has to say so");
}
