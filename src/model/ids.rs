//! Dense ids: an index into the table of its kind, valid for one dataset.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The id of the `index`th entry; panics above the id's range, which config refuses.
            pub fn from_index(index: usize) -> $name {
                $name(<$inner>::try_from(index).expect("the configuration limits how many there are"))
            }

            /// The index into the table.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )+};
}

ids! {
    /// A region, in the order of their names.
    RegionId(u16);
    /// A map, in the order of their names.
    MapId(u16);
    /// A check, in the order of their names.
    CheckId(u16);
    /// A zone, in the order of their origins.
    ZoneId(u32);
    /// A service, over all zones.
    ServiceId(u32);
    /// An endpoint, over all services.
    EndpointId(u32);
    /// A (check, address) pair: what health is kept for.
    TargetId(u32);
}
