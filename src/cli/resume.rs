//! `meridian resume`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use super::terminal::has_color;
use crate::control::{percent_encode, post};
use crate::diag::render_text;
use crate::loader;

/// Takes back what the running server at `url` holds of `service`, in `region` or in all regions.
pub(super) fn run(service: &str, region: Option<&str>, json: bool, url: &str) -> ExitCode {
    let region = region.map_or_else(String::new, |region| {
        format!("&region={}", percent_encode(region))
    });
    let format = if json { "json" } else { "text" };
    match post(
        url,
        &format!(
            "/resume?service={}{region}&format={format}",
            percent_encode(service)
        ),
    ) {
        Ok(said) => {
            say!("{}", said.trim_end());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("meridian resume: {}", why.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Where the server of this configuration is asked from its own host.
pub(super) fn admin_url(config: &Path) -> Result<String, String> {
    let outcome = loader::load(config);
    let Some(loaded) = outcome.loaded else {
        return Err(render_text(
            &outcome.diagnostics,
            &outcome.sources,
            has_color(&std::io::stderr()),
        ));
    };
    let admin = loaded
        .config
        .admin
        .ok_or("the configuration has no [admin] listen: name the server with --server URL")?;
    let host = match admin.listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    Ok(format!(
        "http://{}",
        SocketAddr::new(host, admin.listen.port())
    ))
}
