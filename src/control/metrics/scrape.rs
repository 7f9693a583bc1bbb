//! One scrape: what it reads, and the order in which its subjects are written.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::family::Families;
use super::{access, dnstap, node, notify, operators, queries, services, targets};
use crate::control::Control;
use crate::model::WallTime;
use crate::publisher::View;

/// The inputs of a scrape.
pub(super) struct Scrape {
    pub(super) control: Control,
    /// The state of the moment.
    pub(super) view: View,
    /// Reads the times of the state.
    pub(super) wall: WallTime,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Scrape {
            control,
            view,
            wall,
        } = self;
        let out = &mut Families(&mut encoder);
        queries::write(control, out)?;
        services::write(control, out)?;
        targets::write(control, view, *wall, out)?;
        operators::write(control, view, *wall, out)?;
        notify::write(control, out)?;
        dnstap::write(control, out)?;
        access::write(control, out)?;
        node::write(control, view, *wall, out)
    }
}
