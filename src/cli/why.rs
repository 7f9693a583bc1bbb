//! `meridian why`.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value;

use super::error::{Error, Reason};
use super::files::Files;
use super::local::{AdmittanceFiles, look_with, parse_server, read};
use super::names::absolute;
use crate::answer::explain;
use crate::control::{Server, get, percent_encode};
use crate::dns::{Prefix, RrType};
use crate::model::WallTime;
use crate::simulate::{part, what_if};

/// Options of `meridian why`.
#[derive(Debug, clap::Args)]
pub(super) struct Why {
    /// Name to ask for, e.g. www.gtm.example.
    name: String,
    /// Record type to ask for [default: the address family that the service has].
    #[arg(value_parser = parse_type)]
    rtype: Option<RrType>,
    /// Address or prefix of the client, e.g. 203.0.113.0/24.
    #[arg(long, value_name = "IP[/LEN]")]
    client: Prefix,
    /// Regions, metros, labels (KEY:VALUE) and endpoints to assume down, separated by commas;
    /// everything else is assumed up.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    down: Vec<String>,
    /// Regions, metros and labels (KEY:VALUE) to assume drained, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    drained: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Ask a running server at its admin address, e.g. http://127.0.0.1:8053: it knows the current
    /// health. May be repeated.
    #[arg(
        long = "server",
        value_name = "URL|unix:PATH",
        value_parser = parse_server,
        conflicts_with = "config"
    )]
    servers: Vec<Server>,
    #[command(flatten)]
    admittance: AdmittanceFiles,
    #[command(flatten)]
    files: Files,
}

impl Why {
    /// Explains the answer from the files, or has a running server explain it.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        if self.servers.is_empty() {
            self.explain_files()?;
            return Ok(ExitCode::SUCCESS);
        }
        let servers = self.admittance.show_to(&self.servers)?;
        let answers = look_with(&servers, |server| self.ask(server))?;
        Ok(answers.print(self.json, Clone::clone, in_lines))
    }

    /// Explains from the files, with everything up but what `--down` and `--drained` name.
    fn explain_files(&self) -> Result<(), Reason> {
        let dataset = self.files.dataset()?;
        let name = absolute(&self.name)?;
        let down = part(&dataset.config, &self.down)
            .map_err(|unknown| Reason::from(unknown).of_option("--down"))?;
        let drained = part(&dataset.config, &self.drained)
            .map_err(|unknown| Reason::from(unknown).of_option("--drained"))?;
        if !drained.endpoints.is_empty() {
            return Err(Reason::DrainedEndpoint.of_option("--drained"));
        }
        let explanation = explain(
            &what_if(&Arc::new(dataset), &down, &drained.regions),
            &name,
            self.rtype,
            self.client,
            0,
            WallTime::default(),
        );
        if self.json {
            print_line!("{:#}", explanation.json());
        } else {
            print_line!("{}", explanation.lines().join("\n"));
        }
        Ok(())
    }

    /// Has a running server explain.
    fn ask(&self, server: &Server) -> Result<Value, Reason> {
        let rtype = match self.rtype {
            Some(rtype) => format!("&type={rtype}"),
            None => String::new(),
        };
        let path = format!(
            "/v1/why?name={}&client={}{rtype}&down={}&drained={}",
            percent_encode(&self.name),
            self.client,
            percent_encode(&self.down.join(",")),
            percent_encode(&self.drained.join(","))
        );
        read(&get(server, &path)?)
    }
}

/// The lines of an explanation.
fn in_lines(explanation: &Value) -> String {
    let lines = explanation["lines"].as_array().into_iter().flatten();
    lines
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join("\n")
}

fn parse_type(text: &str) -> Result<RrType, &'static str> {
    text.parse().map_err(|()| "not a DNS record type")
}
