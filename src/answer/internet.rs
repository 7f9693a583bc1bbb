//! Class IN: static records, services, referrals and negative answers.

use super::prefetch::Prefetched;
use super::{Query, Worker, refuse};
use crate::acme::Over;
use crate::dataset::Snapshot;
use crate::dns::{
    ExtendedError, HEADER, MAX_NAME, Prefix, QNAME, Rcode, Request, RrType, Section, Ttl, Writer,
};
use crate::geo::{GeoMap, Located, hashed_prefix};
use crate::model::{Family, RegionOrder, RegionSet, Route, ServiceId, SvcbSet, ZoneId};
use crate::steer::{Asked, Plan, Selection, Trace, client_hash, select};
use crate::zone::{Lookup, NameTable, RR_FIXED, Rrset, rrs, target_offset};

/// CNAMEs and DNAMEs followed for one query.
const MAX_CHASE: usize = 8;
/// Offset of the TTL in an RR of a block.
const TTL_AT: usize = 6;
/// Compression pointers reach no further (RFC 1035 §4.1.4: 14 bits).
const MAX_POINTER: usize = 0x3fff;

/// Answers a class IN query.
pub(super) fn answer(
    snapshot: &Snapshot,
    worker: &mut Worker,
    prefetched: &Prefetched<'_>,
    query: &Query<'_>,
    writer: &mut Writer<'_>,
) {
    let names = &snapshot.dataset.names;
    let request = &prefetched.request;
    let Some((zone, lookup)) = prefetched.found else {
        return refuse(writer, ExtendedError::NOT_AUTHORITATIVE);
    };
    // Every name of the zone ends in its origin, the question's too.
    let origin_len = usize::from(names.apex(zone).origin_len);
    let origin = offset(HEADER + request.qname().len() - origin_len);
    Answer {
        snapshot,
        names,
        worker,
        request,
        query,
        writer: &mut *writer,
        zone,
        origin,
        owner: QNAME,
        located: prefetched.located,
    }
    .resolve(lookup);
    if snapshot.dataset.last_good {
        writer.extended_error = stale(writer.rcode);
    }
}

/// The Extended DNS Errors of answers from files that are not the newest (RFC 8914 §4.4, §4.20).
fn stale(rcode: Rcode) -> Option<ExtendedError> {
    match rcode {
        Rcode::NOERROR => Some(ExtendedError::STALE_ANSWER),
        Rcode::NXDOMAIN => Some(ExtendedError::STALE_NXDOMAIN_ANSWER),
        _ => None,
    }
}

/// Runs the selection that answers for a service with this `plan` and its `map`, for a client at
/// `client` (`located` where that is known already), with a trace.
///
/// `None` where the service has no records of that type, whoever asks, and for a unit that nobody
/// owns; a selection of no RRs where the client has none. With the selection comes the ECS scope.
pub fn steer<'p>(
    plan: &'p Plan,
    map: Option<&GeoMap>,
    qtype: RrType,
    client: Prefix,
    located: Option<Located>,
    rng: &mut fastrand::Rng,
    trace: &mut impl Trace,
) -> Option<(Selection<'p>, u8)> {
    let svcb = if SvcbSet::TYPES.contains(&qtype) {
        plan.svcb(qtype)
    } else {
        None
    };
    let family = family_of(plan, qtype, svcb.is_some())?;
    let (order, border, mut scope) = route_of(plan, map, client, located);
    let mut hash = 0;
    // For every answer of the service, whichever way the hash fell: a scope that depended on the
    // outcome would let a resolver reuse an answer for clients with another one.
    if plan.by_client {
        let hash_scope;
        (hash, hash_scope) = hashed(client);
        scope = scope.max(hash_scope);
    }
    let asked = Asked {
        family,
        order,
        border,
        hash,
        svcb,
    };
    let mut selection = select(plan, &asked, rng, trace)?;
    // A name is one for every type; addresses are not.
    if plan.names && Family::of(qtype).is_none() && !selection.is_name() {
        (selection.count, selection.rrs) = (0, &[]);
    }
    Some((selection, scope))
}

/// The family whose regions decide about an answer of type `qtype`; `None` where the service has no
/// records of that type. `has_svcb`: the type follows the steering.
// Inlined, as is `route_of`: every steered query comes through here.
#[inline(always)]
fn family_of(plan: &Plan, qtype: RrType, has_svcb: bool) -> Option<Family> {
    match Family::of(qtype) {
        Some(family) if plan.families.contains(family) => Some(family),
        // A name is one for every type, and its target counts for both families.
        None if plan.names => Some(Family::V4),
        // All families go one way; where they do not, one has to be followed.
        None if has_svcb && plan.families.v4 => Some(Family::V4),
        None if has_svcb => Some(Family::V6),
        _ => None,
    }
}

/// The client's region order and border, as far as the route goes by them, and the scope in which
/// they are the same.
#[inline(always)]
fn route_of<'m>(
    plan: &Plan,
    map: Option<&'m GeoMap>,
    client: Prefix,
    located: Option<Located>,
) -> (Option<&'m RegionOrder>, Option<&'m RegionSet>, u8) {
    match (plan.route, map) {
        (Route::Unit, _) | (_, None) => (None, None, 0),
        (Route::Nearest | Route::Sticky, Some(map)) => {
            let located = located.unwrap_or_else(|| map.lookup(client));
            let order = map.order(located.order);
            (Some(order), order.border.as_ref(), located.scope)
        }
        (Route::Weighted | Route::Priority, Some(map)) => {
            let (border, scope) = map.border(client);
            (None, border, scope)
        }
    }
}

/// The client's hash, and the scope in which that is the same.
#[inline(never)]
fn hashed(client: Prefix) -> (u64, u8) {
    let (prefix, scope) = hashed_prefix(client);
    (client_hash(prefix), scope)
}

struct Answer<'a, 'o> {
    snapshot: &'a Snapshot,
    names: &'a NameTable,
    worker: &'a mut Worker,
    request: &'a Request<'a>,
    query: &'a Query<'a>,
    writer: &'a mut Writer<'o>,
    zone: ZoneId,
    /// Offset of the zone's origin in the message.
    origin: u16,
    /// Offset of the name being resolved in the message: the question's, then the targets of
    /// CNAMEs.
    owner: u16,
    /// Place of the client, if that was looked up.
    located: Option<Located>,
}

impl Answer<'_, '_> {
    fn resolve(&mut self, found: Lookup) {
        self.writer.aa = true;
        let Some(lookup) = self
            .challenged(self.request.qname(), found)
            .and_then(|found| self.chase(found))
        else {
            return;
        };
        match lookup {
            Lookup::Hit(set) => self.hit(&set),
            Lookup::Cname(set) if self.request.qtype == RrType::ANY => self.hit(&set),
            // A chain longer than we follow, or a DNAME at its end: the resolver asks again.
            Lookup::Cname(_) | Lookup::Dname(..) => {}
            Lookup::Service(service) => self.serve(service),
            Lookup::Epoch(unit) => self.epoch(unit),
            Lookup::NoData => self.no_data(None),
            Lookup::NxDomain => {
                self.writer.rcode = Rcode::NXDOMAIN;
                self.negative(None);
            }
            Lookup::Referral(cut, length) => self.refer(&cut, usize::from(length)),
        }
    }

    /// Follows aliases to what is at their end; `None` where that ends the answer.
    fn chase(&mut self, mut lookup: Lookup) -> Option<Lookup> {
        for _ in 0..MAX_CHASE {
            let name = match lookup {
                Lookup::Cname(set) if self.request.qtype != RrType::ANY => {
                    self.follow_cname(&set)?
                }
                Lookup::Dname(set, length) if self.owner == QNAME => {
                    let name = self.follow_dname(&set, usize::from(length))?;
                    // The CNAME that it makes of the name is what was asked for: "the CNAME RR … matches" (RFC 1034 §4.3.2 step 3a).
                    if matches!(self.request.qtype, RrType::CNAME | RrType::ANY) {
                        return None;
                    }
                    name
                }
                _ => break,
            };
            // Chased inside the zone only, since a resolver believes nothing else of us; at a cut, a
            // DNAME and a service it asks again (RFC 7871 §7.2.1).
            match self.names.lookup(name.as_wire(), self.request.qtype) {
                Some((
                    zone,
                    Lookup::Hit(_) | Lookup::Cname(_) | Lookup::NoData | Lookup::NxDomain,
                )) if zone != self.zone => {
                    return None;
                }
                None
                | Some((
                    _,
                    Lookup::Referral(..)
                    | Lookup::Dname(..)
                    | Lookup::Service(_)
                    | Lookup::Epoch(_),
                )) => {
                    return None;
                }
                Some((_, next)) => lookup = self.challenged(name.as_wire(), next)?,
            }
        }
        Some(lookup)
    }

    /// Lays the ACME challenges in force over what was `found` at `name` in the zone; `None` where a
    /// challenge answers.
    #[inline]
    fn challenged(&mut self, name: &[u8], found: Lookup) -> Option<Lookup> {
        let Some(challenges) = &self.snapshot.challenges else {
            return Some(found);
        };
        match challenges.over(name, self.request.qtype, &found) {
            None => Some(found),
            Some(Over::NoData) => Some(Lookup::NoData),
            Some(Over::Txt(count, block)) => {
                let (owner, none) = (self.owner, (&[][..], 0));
                let fits = self
                    .writer
                    .rrset(Section::Answer, count, block, owner, None, none);
                self.writer.tc |= !fits;
                None
            }
        }
    }

    fn hit(&mut self, set: &Rrset) {
        let start = self.writer.position();
        if self.put(Section::Answer, set, self.owner) {
            self.additional(set, start);
        }
    }

    fn serve(&mut self, service: ServiceId) {
        let client = self.query.client(self.request);
        let rng = &mut self.worker.rng;
        let plan = &self.snapshot.plans[service.index()];
        let map = self.snapshot.dataset.map_of(plan);
        let steered = steer(
            plan,
            map,
            self.request.qtype,
            client,
            self.located,
            rng,
            &mut (),
        );
        let Some((selection, scope)) = steered else {
            // A unit between two owners has no address to give; the short TTL lets resolvers ask
            // again soon after it has one.
            let fenced = plan
                .unit_state()
                .is_some_and(|unit_state| unit_state.owner().is_none())
                && plan.offers(self.request.qtype);
            self.writer.extended_error = fenced.then_some(ExtendedError::NOT_READY);
            return self.no_data(fenced.then_some(plan.ttl_min));
        };
        self.worker.counters.rungs[selection.rung as usize].add(1);
        if let Some(counters) = self.snapshot.pool_counters.get(self.worker.number) {
            counters.count(selection.counter);
        }
        // "a SCOPE PREFIX-LENGTH of 0" for a client that asks not to be located (RFC 7871 §7.2.1).
        if self.request.client_subnet().is_some() {
            self.writer.scope = scope;
        }
        if selection.count == 0 {
            return self.no_data(Some(selection.ttl));
        }
        // RRsets are built with the plan's TTL, so that only a lowered one costs a patch.
        let ttl = (selection.ttl != plan.ttl).then_some(selection.ttl.secs());
        let fits = self.writer.rrset(
            Section::Answer,
            selection.count,
            selection.rrs,
            QNAME,
            ttl,
            (&[], 0),
        );
        self.writer.tc |= !fits;
    }

    /// The name exists without the type asked: for `most` at most where that follows the steering.
    fn no_data(&mut self, most: Option<Ttl>) {
        if self.request.qtype == RrType::ANY {
            let ttl = most.map(|most| most.secs().min(RFC8482_TTL));
            let fits = self
                .writer
                .rrset(Section::Answer, 1, RFC8482, self.owner, ttl, (&[], 0));
            self.writer.tc |= !fits;
        } else {
            self.negative(most);
        }
    }

    /// Answers who owns a unit.
    #[inline(never)]
    fn epoch(&mut self, unit: ServiceId) {
        if self.request.qtype != RrType::TXT {
            return self.no_data(None);
        }
        let fits = self.writer.rrset(
            Section::Answer,
            1,
            self.snapshot.plans[unit.index()].epoch(),
            self.owner,
            None,
            (&[], 0),
        );
        self.writer.tc |= !fits;
    }

    fn negative(&mut self, most: Option<Ttl>) {
        let soa = self.names.apex(self.zone).negative_soa;
        let own = || {
            self.names.block(&soa)[TTL_AT..]
                .first_chunk()
                .map_or(0, |ttl| u32::from_be_bytes(*ttl))
        };
        let ttl = most.map(|most| own().min(most.secs()));
        self.put_with(Section::Authority, &soa, self.origin, ttl);
    }

    /// A delegation: NS, then the addresses of its servers. "If an authoritative server is unable to
    /// fit all in-domain glue ... it MUST set the TC flag" (RFC 9471 §3.1).
    fn refer(&mut self, cut: &Rrset, length: usize) {
        // Below a cut another server is the authority.
        self.writer.aa = false;
        let start = self.writer.position();
        let owner = offset(HEADER + self.request.qname().len() - length);
        if self.put(Section::Authority, cut, owner) {
            self.additional(cut, start);
        }
    }

    /// The addresses of the in-zone targets of an NS, MX or SRV RRset written at `start`. Only
    /// in-domain glue is worth a truncated answer; the rest is left out silently.
    fn additional(&mut self, set: &Rrset, start: usize) {
        let Some(skip) = target_offset(set.rtype) else {
            return;
        };
        // In-domain glue of all targets first: without it a referral cannot be followed, so it must
        // not lose its room to the rest.
        for in_domain in [true, false] {
            for (index, (rr, _)) in rrs(self.names.block(set)).enumerate() {
                let owner = start + rr + RR_FIXED + skip;
                for (addresses, _) in self
                    .names
                    .target_addresses(set, index)
                    .filter(|(_, glue)| *glue == in_domain)
                {
                    let block = self.names.block(&addresses);
                    let fits = owner <= MAX_POINTER
                        && self.writer.rrset(
                            Section::Additional,
                            addresses.count,
                            block,
                            offset(owner),
                            None,
                            (&[], 0),
                        );
                    if !fits {
                        self.writer.tc |= in_domain;
                        return;
                    }
                }
            }
        }
    }

    /// Writes a CNAME and returns its target; `None` where that ends the answer.
    fn follow_cname(&mut self, set: &Rrset) -> Option<NameBuffer> {
        let start = self.writer.position();
        if !self.put(Section::Answer, set, self.owner) {
            return None;
        }
        self.owner = offset(start + RR_FIXED);
        let target = &self.names.block(set)[RR_FIXED..];
        // The last two octets point at the origin in the message; a name to look up has its octets
        // instead.
        if set.has_pointers() {
            NameBuffer::joined(&[&target[..target.len() - 2], self.names.origin(self.zone)])
        } else {
            NameBuffer::joined(&[target])
        }
    }

    /// Writes a DNAME whose owner has `length` octets, and the CNAME it makes of the name (RFC 6672
    /// §3.1); returns that one's target, `None` where that ends the answer.
    fn follow_dname(&mut self, set: &Rrset, length: usize) -> Option<NameBuffer> {
        let owner = offset(HEADER + self.request.qname().len() - length);
        if !self.put(Section::Answer, set, owner) {
            return None;
        }
        let dname = self.names.block(set);
        let (asked, target) = (self.request.qname(), &dname[RR_FIXED..]);
        let kept = &asked[..asked.len() - length];
        let Some(name) = NameBuffer::joined(&[kept, target]) else {
            self.writer.rcode = Rcode::YXDOMAIN;
            return None;
        };
        let mut cname = [0; RR_FIXED + MAX_NAME];
        cname[..RR_FIXED].copy_from_slice(&dname[..RR_FIXED]);
        cname[2..4].copy_from_slice(&RrType::CNAME.0.to_be_bytes());
        let end = RR_FIXED + kept.len() + target.len();
        // Rdata of one name: `joined` has made sure of 255 octets at most.
        let length = offset(end - RR_FIXED);
        cname[10..RR_FIXED].copy_from_slice(&length.to_be_bytes());
        cname[RR_FIXED..RR_FIXED + kept.len()].copy_from_slice(kept);
        cname[RR_FIXED + kept.len()..end].copy_from_slice(target);
        let start = self.writer.position();
        self.owner = offset(start + RR_FIXED);
        let fits = self
            .writer
            .rrset(Section::Answer, 1, &cname[..end], QNAME, None, (&[], 0));
        self.writer.tc |= !fits;
        fits.then_some(name)
    }

    /// Writes an RRset; where it does not fit, the answer is truncated.
    fn put(&mut self, section: Section, set: &Rrset, owner: u16) -> bool {
        self.put_with(section, set, owner, None)
    }

    /// The same with another TTL.
    fn put_with(&mut self, section: Section, set: &Rrset, owner: u16, ttl: Option<u32>) -> bool {
        let pointers = (self.names.pointers(set), self.origin);
        let fits = self.writer.rrset(
            section,
            set.count,
            self.names.block(set),
            owner,
            ttl,
            pointers,
        );
        self.writer.tc |= !fits;
        fits
    }
}

/// An offset in a message as compression pointers have it.
#[inline]
fn offset(at: usize) -> u16 {
    // No message is longer than 65535 octets, and neither is the buffer that it is written into.
    debug_assert!(at <= usize::from(u16::MAX));
    at as u16
}

/// Seconds that [`RFC8482`] is kept.
const RFC8482_TTL: u32 = 3600;
/// HINFO "RFC8482" "", an hour long: the answer to ANY (RFC 8482 §4.2).
const RFC8482: &[u8] = b"\xc0\x0c\0\x0d\0\x01\0\0\x0e\x10\0\x09\x07RFC8482\0";

/// A name in wire format.
struct NameBuffer {
    octets: [u8; MAX_NAME],
    len: usize,
}

impl NameBuffer {
    /// `parts` joined; `None` above 255 octets.
    fn joined(parts: &[&[u8]]) -> Option<NameBuffer> {
        let mut name = NameBuffer {
            octets: [0; MAX_NAME],
            len: 0,
        };
        for part in parts {
            name.octets
                .get_mut(name.len..name.len + part.len())?
                .copy_from_slice(part);
            name.len += part.len();
        }
        Some(name)
    }

    fn as_wire(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}
