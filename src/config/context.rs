//! The context of a zone file: the definitions that it refers to, and the values that it hands on.

use super::checks::Targets;
use super::names::Names;
use crate::dns::Name;
use crate::model::{MapSpec, Region};

/// The definitions that zone files refer to.
pub(super) struct Context<'c> {
    pub(super) regions: &'c Names,
    /// By region; `None` for one that is wrong and has been reported.
    pub(super) region_specs: &'c [Option<Region>],
    pub(super) maps: &'c Names,
    /// By map; `None` for one that is wrong and has been reported.
    pub(super) map_specs: &'c [Option<MapSpec>],
    pub(super) checks: &'c Names,
    pub(super) targets: &'c mut Targets,
    /// `[server] sole`; true where the section is wrong and has been reported.
    pub(super) sole: bool,
    /// `[server] require_end`.
    pub(super) require_end: bool,
}

/// The values that the services of a zone inherit.
pub(super) struct ZoneDefaults {
    pub(super) origin: Name,
    pub(super) ttl: u32,
    pub(super) ttl_min: Option<u32>,
    pub(super) map: Option<usize>,
}
