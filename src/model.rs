//! The words of the design as types: regions, services, pools, endpoints, checks, maps.
//!
//! Everything here is checked already (parse, don't validate): ids are dense indexes into the
//! tables of [`crate::config::Config`], weights and durations are in range, names are absolute.

mod check;
mod geography;
mod ids;
mod moment;
mod notify;
mod schedule;
mod service;
mod share;

pub use crate::dns::{Prefix, PrefixError};
pub use check::{
    CheckKind, CheckSpec, DnsSpec, DnsTransport, ExecSpec, FlapRule, GrpcSpec, HeaderText,
    HttpSpec, HttpVersion, IcmpSpec, JsonPointer, JsonRule, JsonTest, Load, LoadSource, Pattern,
    ProbeTarget, PushSpec, Roots, Scalar, Secret, SecretPlace, StatusRange, TcpSpec, TlsSpec,
};
pub use geography::{
    Coordinates, Entry, MapSpec, Region, RegionOrder, RegionSet, place_names, regions_named,
};
pub use ids::{CheckId, EndpointId, MapId, RegionId, ServiceId, TargetId, ZoneId};
pub use moment::{Moment, WallTime};
pub use notify::{
    CHANGE_KINDS, Channel, NotifyFilter, NotifySpec, Severity, Template, TemplateError,
    WebhookBody, WebhookSpec,
};
pub use schedule::{BadSchedule, DrillSpec, Schedule};
pub use service::{
    AnswerTest, Endpoint, Expect, FailoverTest, Families, Family, FamilyRule, Need, Part, Pool,
    Resume, Route, RoutingTest, Service, SvcbSet, Takeover, Target, Unit, UnitRules, Weight,
    WeightTooLarge,
};
pub use share::{Share, ShareError};
