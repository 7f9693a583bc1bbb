//! Clients and services that `simulate` and `diff` cover.

use std::path::PathBuf;

use super::error::Reason;
use super::geoip::read_text;
use super::names::absolute;
use crate::config::Config;
use crate::diag::{Diagnostics, UnknownName};
use crate::dns::Name;
use crate::model::Service;
use crate::simulate::{Sampled, read_clients};

/// Options for the clients and services that a command covers, and for its output.
#[derive(Debug, clap::Args)]
pub(super) struct Scope {
    /// Count the clients in this file, one prefix,weight per line, instead of all IPv4 addresses.
    #[arg(long, value_name = "FILE")]
    pub(super) clients: Option<PathBuf>,
    /// Cover this service only, e.g. www.gtm.example. May be repeated.
    #[arg(long = "service", value_name = "NAME")]
    pub(super) services: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

impl Scope {
    /// The clients of the file, where one is named.
    pub(super) fn sample(&self) -> Result<Option<Vec<Sampled>>, Reason> {
        let Some(path) = &self.clients else {
            return Ok(None);
        };
        let (name, text) = read_text(path)
            .map_err(|diagnostics| Reason::Files(diagnostics, Default::default()))?;
        let mut diagnostics = Diagnostics::default();
        let clients = read_clients(&name, &text, &mut diagnostics);
        if diagnostics.has_errors() {
            return Err(Reason::Files(diagnostics, [(name, text.into())].into()));
        }
        Ok(Some(clients))
    }

    /// The services named, which must be in one of `configs`.
    pub(super) fn wanted(&self, configs: &[&Config]) -> Result<Wanted, Reason> {
        let mut wanted = Wanted(Vec::new());
        for text in &self.services {
            let name = find(text, configs).map_err(|reason| reason.of_option("--service"))?;
            wanted.0.push(name);
        }
        Ok(wanted)
    }
}

/// Services to cover, by their own name, or as units by the name of their service.
pub(super) struct Wanted(Vec<Name>);

impl Wanted {
    /// True when `service` is covered: it is named, or no service is.
    pub(super) fn has(&self, service: &Service) -> bool {
        self.0.is_empty() || self.0.iter().any(|name| is_called(service, name))
    }
}

fn find(text: &str, configs: &[&Config]) -> Result<Name, Reason> {
    let name = absolute(text)?.to_lowercase();
    let mut known = Vec::new();
    for service in configs.iter().flat_map(|config| &config.services) {
        if is_called(service, &name) {
            return Ok(name);
        }
        known.push(service.name.to_string());
    }
    let known = known.iter().map(String::as_str);
    Err(UnknownName::new("service", name.to_string(), known).into())
}

fn is_called(service: &Service, name: &Name) -> bool {
    service.name.to_lowercase() == *name
        || service
            .unit
            .as_ref()
            .is_some_and(|unit| unit.rules.service.to_lowercase() == *name)
}
