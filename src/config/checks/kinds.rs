//! The kind of a check, made of its options.

use std::net::IpAddr;

use super::DEFAULT_EXPIRES;
use super::files::{Files, program, roots, with_secrets};
use super::options::{Options, Type};
use crate::config::document::{Item, Located};
use crate::diag::{At, Diagnostics};
use crate::dns::{Name, Rcode, RrType};
use crate::model::{
    CheckKind, DnsSpec, DnsTransport, ExecSpec, GrpcSpec, HttpSpec, IcmpSpec, LoadSource, PushSpec,
    TcpSpec, TlsSpec,
};

impl Options {
    /// Makes of the options what a probe of type `kind` does.
    pub(super) fn into_kind(
        self,
        kind: Type,
        item: &Item<'_>,
        files: &mut Files<'_>,
        out: &mut Diagnostics,
    ) -> Option<CheckKind> {
        Some(match kind {
            Type::Http => CheckKind::Http(self.into_http(item, files, out)?.0),
            Type::Https => {
                let (http, rest) = self.into_http(item, files, out)?;
                CheckKind::Https(http, rest.into_tls(item, files, out)?)
            }
            Type::Tcp => CheckKind::Tcp(TcpSpec {
                send: value(self.send),
                expect: value(self.expect),
            }),
            Type::Tls => CheckKind::Tls(self.into_tls(item, files, out)?),
            Type::Icmp => CheckKind::Icmp(IcmpSpec {
                size: value(self.size).unwrap_or(56),
            }),
            Type::Dns => self.into_dns(item, out)?,
            Type::Grpc => self.into_grpc(item, files, out)?,
            Type::Exec => CheckKind::Exec(ExecSpec {
                command: program(self.command?, "command", item, files, out)?,
            }),
            Type::Push => CheckKind::Push(PushSpec {
                expires: value(self.expires).unwrap_or(DEFAULT_EXPIRES),
            }),
        })
    }

    /// The exchange, and the options without those that went into it.
    fn into_http(
        mut self,
        item: &Item<'_>,
        files: &mut Files<'_>,
        out: &mut Diagnostics,
    ) -> Option<(HttpSpec, Options)> {
        let headers = self.headers.take().map_or(Some(Vec::new()), |headers| {
            with_secrets(headers.value, item, files, out)
        })?;
        let defaults = HttpSpec::default();
        let load = match (self.load_header.take(), self.load_json.take()) {
            (Some(_), Some(second)) => {
                out.error(
                    "excluding-keys",
                    second.at,
                    format!("{}.load_json", item.path),
                    "`load_json` and `load_header` exclude each other",
                )
                .hint("remove one of them: a load is read from one place");
                return None;
            }
            (Some(header), None) => Some(LoadSource::Header(header.value)),
            (None, pointer) => value(pointer).map(LoadSource::Json),
        };
        let http = HttpSpec {
            version: value(self.http_version.take()).unwrap_or(defaults.version),
            method: value(self.method.take()).unwrap_or(defaults.method),
            path: value(self.path.take()).unwrap_or(defaults.path),
            host: value(self.host.take()),
            headers,
            expect_status: value(self.expect_status.take()).unwrap_or(defaults.expect_status),
            expect_body: value(self.expect_body.take()),
            json: value(self.json.take()).unwrap_or_default(),
            follow_redirects: value(self.follow_redirects.take()).unwrap_or(0),
            load,
        };
        if http.method == "HEAD" && http.reads_body() {
            out.error(
                "head-without-body",
                item.key_at(),
                item.path.clone(),
                "the response to HEAD has no body, but the check looks at one",
            )
            .hint("remove `method`, or the keys about the body");
            return None;
        }
        Some((http, self))
    }

    fn into_dns(self, item: &Item<'_>, out: &mut Diagnostics) -> Option<CheckKind> {
        let rr_type = value(self.query_type).unwrap_or(RrType::A);
        let expect_rcode = value(self.expect_rcode).unwrap_or(Rcode::NOERROR);
        if let Some(Located {
            value: addresses,
            at,
        }) = &self.expect_address
        {
            let has_type = |address: &IpAddr| {
                rr_type
                    == if address.is_ipv4() {
                        RrType::A
                    } else {
                        RrType::AAAA
                    }
            };
            let problem = match addresses.iter().find(|address| !has_type(address)) {
                _ if addresses.is_empty() => {
                    Some("the list is empty, so no probe would ever pass".to_owned())
                }
                _ if expect_rcode != Rcode::NOERROR => {
                    Some(format!("a response with {expect_rcode} has no addresses"))
                }
                Some(address) => Some(format!("a query for {rr_type} never returns {address}")),
                None => None,
            };
            if let Some(problem) = problem {
                out.error("never-passes", at.clone(), format!("{}.expect_address", item.path), problem).hint(
                    "A records hold IPv4 addresses, AAAA records IPv6 ones; without the key any response with the expected code passes",
                );
                return None;
            }
        }
        Some(CheckKind::Dns(DnsSpec {
            name: value(self.query_name).unwrap_or_else(Name::root),
            rr_type,
            transport: value(self.transport).unwrap_or(DnsTransport::Udp),
            expect_rcode,
            expect_address: value(self.expect_address).unwrap_or_default(),
        }))
    }

    fn into_grpc(
        mut self,
        item: &Item<'_>,
        files: &mut Files<'_>,
        out: &mut Diagnostics,
    ) -> Option<CheckKind> {
        let (service, host) = (
            value(self.service.take()).unwrap_or_default(),
            value(self.host.take()),
        );
        let inside = value(self.tls.take()).unwrap_or(false);
        if !inside && let Some((key, at)) = self.tls_key() {
            out.warning(
                "useless-key",
                at,
                format!("{}.{key}", item.path),
                format!("`{key}` does nothing without TLS"),
            )
            .hint("write tls = true, or remove it");
        }
        let tls = self.into_tls(item, files, out)?;
        Some(CheckKind::Grpc(GrpcSpec {
            service,
            host,
            tls: inside.then_some(tls),
        }))
    }

    /// The first key that is about TLS, and where it stands.
    fn tls_key(&self) -> Option<(&'static str, At)> {
        fn at<T>(key: &'static str, option: &Option<Located<T>>) -> Option<(&'static str, At)> {
            option.as_ref().map(|located| (key, located.at.clone()))
        }
        at("server_name", &self.server_name)
            .or_else(|| at("verify_certificate", &self.verify_certificate))
            .or_else(|| at("ca_file", &self.ca_file))
            .or_else(|| at("certificate_min_days", &self.certificate_min_days))
            .or_else(|| at("certificate_warn_days", &self.certificate_warn_days))
    }

    fn into_tls(
        self,
        item: &Item<'_>,
        files: &mut Files<'_>,
        out: &mut Diagnostics,
    ) -> Option<TlsSpec> {
        let defaults = TlsSpec::default();
        let roots = match self.ca_file {
            Some(file) => Some(roots(&file, item, files, out)?),
            None => None,
        };
        let verify_certificate =
            value(self.verify_certificate).unwrap_or(defaults.verify_certificate);
        // Who takes any certificate does not care for its end, unless they say so.
        let warn = if verify_certificate {
            defaults.certificate_warn_days
        } else {
            0
        };
        Some(TlsSpec {
            server_name: value(self.server_name),
            verify_certificate,
            roots,
            certificate_min_days: value(self.certificate_min_days)
                .unwrap_or(defaults.certificate_min_days),
            certificate_warn_days: value(self.certificate_warn_days).unwrap_or(warn),
        })
    }
}

pub(super) fn value<T>(option: Option<Located<T>>) -> Option<T> {
    option.map(|located| located.value)
}
