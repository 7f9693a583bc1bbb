//! A DNS query (RFC 1035) to the endpoint itself, over UDP or TCP.
//!
//! The socket is connected, so that the kernel drops what comes from elsewhere; what has another id
//! or another question is ignored for as long as the check's time lasts, as resolvers do. An answer
//! over UDP that is truncated is asked for again over TCP in what is left of the time (RFC 7766 §5):
//! so do the endpoint's clients.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::attempt::Attempt;
use super::report::Report;
use super::{route, tcp};
use crate::dns::Rcode;
use crate::health::{DnsFault, Evidence, FailReason, NotJudged, Phase, Seen};
use crate::model::{DnsSpec, DnsTransport};

/// The longest datagram that is read: without EDNS none is longer than 512 bytes (RFC 1035 §4.2.1).
const MAX_DATAGRAM: usize = 4096;

/// One query, and what passes as its answer.
#[derive(Debug)]
pub struct Question<'a> {
    spec: &'a DnsSpec,
    id: u16,
    query: Query,
}

/// The kinds of messages that come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Not an answer to the query.
    Other,
    /// The answer, but cut short.
    Truncated,
    /// The answer, whether it passes, and the answer in words.
    Answer(Result<(), DnsFault>, String),
}

/// A `dns` check: the answer is the expected one.
pub(super) async fn probe(
    spec: &DnsSpec,
    attempt: &Attempt<'_>,
    report: &mut Report,
) -> Result<(), Seen> {
    let question =
        Question::new(spec, fastrand::u16(..)).ok_or(Seen::NotJudged(NotJudged::Check))?;
    let query = question.to_vec().ok_or(Seen::NotJudged(NotJudged::Check))?;
    let judge = |error: io::Error| route::judge(&error, Phase::Response, attempt.family());
    let mut heard = Heard::Truncated;
    if spec.transport == DnsTransport::Udp {
        heard = over_udp(attempt.address, &question, &query)
            .await
            .map_err(judge)?;
    }
    if heard == Heard::Truncated {
        report.enter(Phase::Connect);
        let stream = tcp::connect(attempt.address).await?;
        report.enter(Phase::Response);
        heard = over_tcp(stream, &question, &query).await.map_err(judge)?;
    }
    let fault = match heard {
        Heard::Answer(Ok(()), _) => return Ok(()),
        Heard::Answer(Err(fault), text) => {
            report.evidence = Evidence::of(text.as_bytes());
            fault
        }
        Heard::Truncated => DnsFault::Truncated,
        Heard::Other => DnsFault::NotDns,
    };
    Err(Seen::Fail(FailReason::Dns(fault)))
}

/// The first datagram that answers.
async fn over_udp(address: SocketAddr, question: &Question<'_>, query: &[u8]) -> io::Result<Heard> {
    let own: IpAddr = if address.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((own, 0)).await?;
    socket.connect(address).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match question.hear(&buffer[..length]) {
            Heard::Other => {}
            heard => return Ok(heard),
        }
    }
}

/// The first message on the connection that answers; two octets of length precede each (RFC 1035 §4.2.2).
async fn over_tcp(
    mut stream: TcpStream,
    question: &Question<'_>,
    query: &[u8],
) -> io::Result<Heard> {
    let length = u16::try_from(query.len()).expect("a query is one name and little more");
    let length = length.to_be_bytes();
    stream.write_all(&[&length, query].concat()).await?;
    loop {
        let mut message = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut message).await?;
        match question.hear(&message) {
            Heard::Other => {}
            heard => return Ok(heard),
        }
    }
}

impl<'a> Question<'a> {
    /// The query of `spec` under `id`; `None` where its name is none for a query.
    pub fn new(spec: &'a DnsSpec, id: u16) -> Option<Question<'a>> {
        let name = Name::from_bytes(spec.name.as_wire()).ok()?;
        Some(Question {
            spec,
            id,
            query: Query::query(name, RecordType::from(spec.rr_type.0)),
        })
    }

    /// The query on the wire. Recursion is desired: that is how a resolver is asked, and others take no notice.
    pub fn to_vec(&self) -> Option<Vec<u8>> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(self.query.clone());
        message.to_vec().ok()
    }

    /// Reads a message that came back.
    pub fn hear(&self, bytes: &[u8]) -> Heard {
        // Id and QR, before anything is spent on what is nobody's.
        if bytes.len() < 12 || bytes[..2] != self.id.to_be_bytes() || bytes[2] & 0x80 == 0 {
            return Heard::Other;
        }
        let Ok(message) = Message::from_vec(bytes) else {
            return Heard::Answer(Err(DnsFault::NotDns), String::new());
        };
        if !self.is_answered_by(&message) {
            return Heard::Other;
        }
        if message.metadata.truncation {
            return Heard::Truncated;
        }
        Heard::Answer(self.judge(&message), describe(&message))
    }

    /// The question comes back with its answer; without it come errors of servers that could not read it.
    fn is_answered_by(&self, message: &Message) -> bool {
        let refused = !matches!(
            message.metadata.response_code,
            ResponseCode::NoError | ResponseCode::NXDomain
        );
        message.metadata.op_code == OpCode::Query
            && match &message.queries[..] {
                [] => refused,
                [query] => {
                    query.name() == self.query.name()
                        && query.query_type() == self.query.query_type()
                        && query.query_class() == DNSClass::IN
                }
                _ => false,
            }
    }

    fn judge(&self, message: &Message) -> Result<(), DnsFault> {
        let rcode = rcode(message);
        if rcode != self.spec.expect_rcode {
            return Err(DnsFault::Rcode(rcode));
        }
        let expected = &self.spec.expect_address;
        let found = addresses(message).any(|address| expected.contains(&address));
        if expected.is_empty() || found {
            Ok(())
        } else {
            Err(DnsFault::Address)
        }
    }
}

fn rcode(message: &Message) -> Rcode {
    Rcode(u16::from(message.metadata.response_code))
}

/// The addresses of the answer, whichever name of a chain of aliases they belong to.
fn addresses(message: &Message) -> impl Iterator<Item = IpAddr> + '_ {
    message
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        })
}

/// `NOERROR, 2 records: A 192.0.2.1, A 192.0.2.2`, as far as it tells anything.
fn describe(message: &Message) -> String {
    const SHOWN: usize = 8;
    let count = message.answers.len();
    let mut text = format!(
        "{}, {count} record{}",
        rcode(message),
        if count == 1 { "" } else { "s" }
    );
    for (index, record) in message.answers.iter().take(SHOWN).enumerate() {
        let separator = if index == 0 { ": " } else { ", " };
        let _ = write!(text, "{separator}{} {}", record.record_type(), record.data);
    }
    text
}
