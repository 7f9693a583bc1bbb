//! `meridian resume`.

use std::process::ExitCode;

use serde_json::json;

use super::error::{Error, Reason};
use super::files::{self, Files};
use super::local::{AdmittanceFiles, look_with, parse_server, read};
use crate::control::api::resume::{self, Resumed};
use crate::control::{Server, post};

/// Options of `meridian resume`.
#[derive(Debug, clap::Args)]
pub(super) struct Resume {
    /// Name of the service, e.g. www.gtm.example.
    service: String,
    /// Region to put back into service [default: every region that is held out].
    region: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Admin address of a running server, e.g. http://127.0.0.1:8053 [default: the one in the
    /// configuration]. May be repeated.
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

impl Resume {
    /// Returns the held regions of the service at the running server, and prints its answer.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let servers = match &*self.servers {
            [] => vec![admin_address(&self.files)?],
            servers => self.admittance.show_to(servers)?,
        };
        let answers = look_with(&servers, |server| self.ask(server))?;
        Ok(answers.print(self.json, |own| json!(own), |own| own.message.clone()))
    }

    /// Has a running server resume.
    fn ask(&self, server: &Server) -> Result<Resumed, Reason> {
        let body = json!(resume::Resume {
            service: self.service.clone(),
            region: self.region.clone(),
        });
        read(&post(server, "/v1/resume", Some(&body))?)
    }
}

/// Address at which a server with these files is reached from its own host.
fn admin_address(files: &Files) -> Result<Server, Reason> {
    let config = files::config(&files.config()?)?;
    let admin = config.admin.ok_or(Reason::NoAdmin)?;
    let mut local = admin
        .listen
        .iter()
        .filter(|address| address.ip().is_loopback());
    let listen = local.next().ok_or(Reason::NoLocalAdmin)?;
    let url = format!("http://{listen}");
    Ok(url.parse().expect("an address and a port make a URL"))
}
