//! Whom `simulate` and `diff` are about: the clients of a file, and the services named.

use std::path::Path;

use super::terminal::has_color;
use crate::config::Config;
use crate::diag::{Diagnostics, Sources, render_text, suggestion};
use crate::dns::Name;
use crate::model::Service;
use crate::simulate::{Sampled, read_clients};

/// The clients of the file at `path`, or everything wrong with it, rendered for standard error.
pub(super) fn read(path: &Path) -> Result<Vec<Sampled>, String> {
    let render = |diagnostics: &Diagnostics, sources: &Sources| {
        render_text(diagnostics, sources, has_color(&std::io::stderr()))
    };
    let (name, text) = super::geoip::read_text(path)
        .map_err(|diagnostics| render(&diagnostics, &Sources::new()))?;
    let mut diagnostics = Diagnostics::default();
    let clients = read_clients(&name, &text, &mut diagnostics);
    if diagnostics.has_errors() {
        Err(render(&diagnostics, &[(name, text.into())].into()))
    } else {
        Ok(clients)
    }
}

/// The services that are asked for: by their own name, or as units by that of what they are part of.
pub(super) struct Wanted(Vec<Name>);

impl Wanted {
    /// Those named, which `configs` have between them; every service where none is named. The error is a sentence about the
    /// first that there is not.
    pub(super) fn new(named: &[String], configs: &[&Config]) -> Result<Wanted, String> {
        let mut names = Vec::new();
        for text in named {
            let name = Name::from_text(text, Some(&Name::root()))
                .map_err(|why| format!("--service {text}: {why}"))?
                .to_lowercase();
            let mut services = configs.iter().flat_map(|config| &config.services);
            if !services.any(|service| is_called(service, &name)) {
                let known: Vec<String> = configs
                    .iter()
                    .flat_map(|c| &c.services)
                    .map(|service| service.name.to_string())
                    .collect();
                let hint = suggestion(&name.to_string(), known.iter().map(String::as_str));
                return Err(format!("--service: there is no service {name}{hint}"));
            }
            names.push(name);
        }
        Ok(Wanted(names))
    }

    pub(super) fn has(&self, service: &Service) -> bool {
        self.0.is_empty() || self.0.iter().any(|name| is_called(service, name))
    }
}

fn is_called(service: &Service, name: &Name) -> bool {
    service.name.to_lowercase() == *name
        || service
            .unit
            .as_ref()
            .is_some_and(|unit| unit.rules.service.to_lowercase() == *name)
}
