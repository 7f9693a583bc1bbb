//! Families of queries and answers: the workers' and the transports' counters, summed.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::atomic::Ordering;

use super::family::{Distribution, Families, families};
use crate::answer::{AnswerSize, AskedType, Counters, QueryTraits, Transport};
use crate::control::{Control, PANICS};
use crate::dns::Rcode;
use crate::metrics::Counter;
use crate::model::Family as AddressFamily;

families! { "Queries and answers"
    QUERIES: Counter "meridian_queries" ["transport"]
        "Messages received, by transport", "2", "`udp` and `tcp`";
    FAMILIES: Counter "meridian_query_families" ["family"]
        "Messages received, by the family of the sender's address", "2", "`ipv4` and `ipv6`";
    TYPES: Counter "meridian_query_types" ["type"]
        "Messages received, by the type asked", "16",
        "Types of their own are A, AAAA, CNAME, NS, SOA, PTR, MX, TXT, SRV, DS, DNSKEY, SVCB, HTTPS and ANY; all others share `other`, and messages without a readable question have `none`";
    OPTIONS: Counter "meridian_query_options" ["option"]
        "Messages received with EDNS and what it carries", "3",
        "`edns`: with an OPT record; `do`: of those, with DNSSEC OK; `client_subnet`: of those, with a valid Client Subnet";
    RESPONSES: Counter "meridian_responses" ["rcode"]
        "Answers, by response code", "17", "Only codes that were sent";
    SIZES: Histogram "meridian_response_size_bytes" []
        "Size of answers", "13", "Without the length prefix of TCP; `sum` over `count` is the mean";
    LATENCY: Histogram "meridian_answer_latency_seconds" ["transport"]
        "Time from taking a query to handing over its answer, sampled", "40",
        "For `udp`, of one batch of datagrams in 64, from the call that received it to the end of the call that sent its answers, counted for each of its answers; for `tcp`, of one answer in 64, until it is ready to be written. The rate of `count` is that of samples: count answers by `meridian_responses_total`";
    TRUNCATED: Counter "meridian_truncated" []
        "Answers with TC set", "1", "";
    DROPPED: Counter "meridian_dropped" ["reason"]
        "Messages without an answer, by reason", "6",
        "`short`, `not_a_query`; `too_long`, datagrams longer than any query; `port_0`; `send_failed`, answers that the kernel did not accept; and `overflow`, queries for which a [socket had no room](running.md#overflow)";
    ACCEPTED: Counter "meridian_tcp_connections_accepted" []
        "TCP connections accepted", "1", "";
    REFUSED: Counter "meridian_tcp_connections_refused" []
        "TCP connections over a limit", "1", "";
    TIMED_OUT: Counter "meridian_tcp_connections_timed_out" []
        "TCP connections idle or too slow", "1", "";
    PANICS_BY_PLACE: Counter "meridian_panics" ["where"]
        "Requests that failed because of a bug in Meridian, by place", "3",
        "The log shows it; please report it. `query`: answered with SERVFAIL; `admin`: answered with status 500; `udp`: the rest of a batch of queries was lost";
}

/// Writes the families of this subject.
pub(super) fn write(control: &Control, out: &mut Families<'_, '_>) -> Result<(), Error> {
    let workers: Vec<&Counters> = control.counters.iter().map(|own| &**own).collect();
    queries(&workers, out)?;
    answers(&workers, out)?;
    latency(control, out)?;
    out.counter(&TRUNCATED, sum(&workers, |c| &c.truncated))?;
    dropped(control, &workers, out)?;
    let tcp = &control.server.tcp;
    out.counter(&ACCEPTED, tcp.accepted.get())?;
    out.counter(&REFUSED, tcp.refused.get())?;
    out.counter(&TIMED_OUT, tcp.timed_out.get())?;
    out.counters(
        &PANICS_BY_PLACE,
        [
            (["udp"], control.server.sum_udp(|c| &c.panics)),
            (["query"], sum(&workers, |c| &c.panics)),
            (["admin"], PANICS.load(Ordering::Relaxed)),
        ],
    )
}

/// The sum of one counter over all workers.
pub(super) fn sum(workers: &[&Counters], of: impl Fn(&Counters) -> &Counter) -> u64 {
    let counts = workers.iter().map(|counters| of(counters).get());
    counts.fold(0, u64::wrapping_add)
}

/// The number of queries that have a trait.
fn queries_with(workers: &[&Counters], has: impl Fn(&QueryTraits) -> bool) -> u64 {
    let mut total = 0_u64;
    for counters in workers {
        for (traits, count) in counters.queries() {
            if has(&traits) {
                total = total.wrapping_add(count);
            }
        }
    }
    total
}

fn queries(workers: &[&Counters], out: &mut Families<'_, '_>) -> Result<(), Error> {
    let by_transport = Transport::ALL.map(|transport| {
        let count = queries_with(workers, |query| query.transport == transport);
        ([transport.label()], count)
    });
    out.counters(&QUERIES, by_transport)?;
    let by_family = AddressFamily::BOTH.map(|family| {
        let count = queries_with(workers, |query| query.family == family);
        ([family.as_label()], count)
    });
    out.counters(&FAMILIES, by_family)?;
    let by_type = AskedType::all().map(|asked| {
        let count = queries_with(workers, |query| query.asked == asked);
        ([asked.as_label()], count)
    });
    out.counters(&TYPES, by_type)?;
    out.counters(
        &OPTIONS,
        [
            (["edns"], queries_with(workers, |query| query.edns)),
            (["do"], queries_with(workers, |query| query.dnssec_ok)),
            (
                ["client_subnet"],
                queries_with(workers, |query| query.client_subnet),
            ),
        ],
    )
}

fn answers(workers: &[&Counters], out: &mut Families<'_, '_>) -> Result<(), Error> {
    let mut by_rcode: BTreeMap<u16, u64> = BTreeMap::new();
    let mut by_size = [0_u64; AnswerSize::COUNT];
    for counters in workers {
        for (rcode, size, count) in counters.answers() {
            *by_rcode.entry(rcode.0).or_default() += count;
            by_size[size] += count;
        }
    }
    let rows: Vec<_> = by_rcode
        .into_iter()
        .map(|(rcode, count)| (Rcode(rcode).to_string(), count))
        .collect();
    out.counters(
        &RESPONSES,
        rows.iter().map(|(rcode, count)| ([rcode.as_str()], *count)),
    )?;
    let buckets = by_size.into_iter().enumerate().map(|(index, count)| {
        let most = AnswerSize::most(index).map_or(f64::INFINITY, f64::from);
        (most, count)
    });
    let sizes = Distribution {
        buckets: buckets.collect(),
        // Octets of years of traffic stay below 2^53, up to which a float holds each exactly.
        sum: sum(workers, |c| &c.octets) as f64,
    };
    out.histograms(&SIZES, [([], sizes)])
}

fn latency(control: &Control, out: &mut Families<'_, '_>) -> Result<(), Error> {
    let udp = control.server.udp.iter().map(|own| &own.latency);
    let tcp = [&control.server.tcp.latency];
    out.histograms(
        &LATENCY,
        [
            ([Transport::Udp.label()], Distribution::of(udp)),
            ([Transport::Tcp.label()], Distribution::of(tcp)),
        ],
    )
}

fn dropped(
    control: &Control,
    workers: &[&Counters],
    out: &mut Families<'_, '_>,
) -> Result<(), Error> {
    let udp = &control.server;
    out.counters(
        &DROPPED,
        [
            (["short"], sum(workers, |c| &c.dropped[0])),
            (["not_a_query"], sum(workers, |c| &c.dropped[1])),
            (["too_long"], udp.sum_udp(|c| &c.too_long)),
            (["port_0"], udp.sum_udp(|c| &c.nowhere)),
            (["send_failed"], udp.sum_udp(|c| &c.send_errors)),
            (["overflow"], udp.overflows()),
        ],
    )
}
