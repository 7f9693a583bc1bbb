//! `meridian resume`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use super::error::{Error, Reason};
use super::files::{self, Files};
use crate::control::{percent_encode, post};

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
    /// Admin address of the running server, e.g. http://127.0.0.1:8053 [default: the one in the
    /// configuration].
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    server: Option<String>,
    #[command(flatten)]
    files: Files,
}

impl Resume {
    /// Returns the held regions of the service at the running server, and prints its answer.
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let url = match &self.server {
            Some(url) => url.clone(),
            None => admin_url(&self.files)?,
        };
        let region = match &self.region {
            Some(region) => format!("&region={}", percent_encode(region)),
            None => String::new(),
        };
        let format = if self.json { "json" } else { "text" };
        let service = percent_encode(&self.service);
        let path = format!("/resume?service={service}{region}&format={format}");
        let answer = post(&url, &path)?;
        print_line!("{}", answer.trim_end());
        Ok(ExitCode::SUCCESS)
    }
}

/// URL at which a server with these files is reached from its own host.
fn admin_url(files: &Files) -> Result<String, Reason> {
    let config = files::config(&files.config()?)?;
    let listen = config.admin.ok_or(Reason::NoAdmin)?.listen;
    let host = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    Ok(format!("http://{}", SocketAddr::new(host, listen.port())))
}
