//! `meridian resume`.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use crate::control::{percent_encode, post};
use crate::diag::render_text;
use crate::loader;

/// Takes back what a running server holds of `service`, in `region` or in all regions. Its admin
/// address is `url`, or what the configuration says.
pub(super) fn run(service: &str, region: Option<&str>, url: Option<String>, config: &Path) -> ExitCode {
    let resumed = url.map_or_else(|| admin_url(config), Ok).and_then(|url| {
        let region = region.map_or_else(String::new, |region| format!("&region={}", percent_encode(region)));
        post(&url, &format!("/resume?service={}{region}", percent_encode(service)))
    });
    match resumed {
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
fn admin_url(config: &Path) -> Result<String, String> {
    let outcome = loader::load(config);
    let Some(loaded) = outcome.loaded else {
        return Err(render_text(&outcome.diagnostics, &outcome.sources, std::io::stderr().is_terminal()));
    };
    let admin = loaded.config.admin.ok_or("the configuration has no [admin] listen: name the server with --server URL")?;
    let host = match admin.listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    Ok(format!("http://{}", SocketAddr::new(host, admin.listen.port())))
}
