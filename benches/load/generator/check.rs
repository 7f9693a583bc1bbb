//! Is this answer right?

/// Depth of the check of an answer; its id is always checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Check {
    /// It is a response: for the echo.
    Reply,
    /// Question, response code and number of answers: for servers without steering.
    Shape,
    /// The addresses and the client subnet too.
    Full,
}

/// The right answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) rcode: u8,
    /// Number of A records, all different.
    pub(crate) count: u16,
    /// Their addresses are from this to `last`.
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// The client subnet to be echoed.
    pub(crate) subnet: Option<Subnet>,
}

/// A client subnet as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet {
    pub(crate) v6: bool,
    /// SOURCE PREFIX-LENGTH (RFC 7871 §6).
    pub(crate) length: u8,
    /// The least SCOPE PREFIX-LENGTH that is right: a smaller one would give this answer to clients
    /// of another region.
    pub(crate) scope: u8,
}

/// Fault of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is no response, is cut short, does not repeat the question, or cannot be read.
    Message,
    /// The response code.
    Rcode,
    /// The number of records.
    Count,
    /// An address.
    Address,
    /// The client subnet, or its scope.
    Subnet,
}

/// Checks `answer` to `question`, whose id it has.
pub(crate) fn check(
    answer: &[u8],
    question: &[u8],
    expected: &Expected,
    check: Check,
) -> Result<(), Wrong> {
    let (header, qr, tc) = (
        answer.get(..12).ok_or(Wrong::Message)?,
        answer[2] & 0x80 != 0,
        answer[2] & 0x02 != 0,
    );
    if !qr || tc {
        return Err(Wrong::Message);
    }
    if check == Check::Reply {
        return Ok(());
    }
    let end = name_end(question, 12).ok_or(Wrong::Message)? + 4;
    if answer.get(12..end) != question.get(12..end) || header[4..6] != [0, 1] {
        return Err(Wrong::Message);
    }
    if header[3] & 15 != expected.rcode {
        return Err(Wrong::Rcode);
    }
    let count = u16::from_be_bytes([header[6], header[7]]);
    if count != expected.count {
        return Err(Wrong::Count);
    }
    if check == Check::Shape {
        return Ok(());
    }
    let mut records = Records {
        message: answer,
        at: end,
    };
    let mut before = None;
    for _ in 0..count {
        let (rtype, rdata) = records.next().ok_or(Wrong::Message)?;
        let address = u32::from_be_bytes(rdata.try_into().map_err(|_| Wrong::Message)?);
        if rtype != 1
            || !(expected.first..=expected.last).contains(&address)
            || before == Some(address)
        {
            return Err(Wrong::Address);
        }
        before = Some(address);
    }
    match expected.subnet {
        Some(subnet) => check_subnet(records, &question[end..], subnet),
        None => Ok(()),
    }
}

/// "FAMILY, SOURCE PREFIX-LENGTH, and ADDRESS in the response MUST match those in the query" (RFC
/// 7871 §7.3).
fn check_subnet(mut records: Records<'_>, opt: &[u8], subnet: Subnet) -> Result<(), Wrong> {
    let rdata = loop {
        match records.next() {
            Some((41, rdata)) => break rdata,
            Some(_) => {}
            None => return Err(Wrong::Subnet),
        }
    };
    // The only option of the question: code, length, family, SOURCE PREFIX-LENGTH, scope 0,
    // address.
    let sent = &opt[11..];
    let mut options = rdata;
    while options.len() >= 4 {
        let length = 4 + usize::from(u16::from_be_bytes([options[2], options[3]]));
        let (option, rest) = options.split_at_checked(length).ok_or(Wrong::Message)?;
        if option[..2] == [0, 8] {
            let same =
                option.len() == sent.len() && option[..7] == sent[..7] && option[8..] == sent[8..];
            let right =
                same && (subnet.scope..=if subnet.v6 { 128 } else { 32 }).contains(&option[7]);
            return if right { Ok(()) } else { Err(Wrong::Subnet) };
        }
        options = rest;
    }
    Err(Wrong::Subnet)
}

/// The records of a message, from `at` on.
struct Records<'m> {
    message: &'m [u8],
    at: usize,
}

impl<'m> Iterator for Records<'m> {
    /// Type and rdata.
    type Item = (u16, &'m [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let fixed = name_end(self.message, self.at)?;
        let number = |at: usize| {
            Some(u16::from_be_bytes([
                *self.message.get(at)?,
                *self.message.get(at + 1)?,
            ]))
        };
        let (rtype, length) = (number(fixed)?, usize::from(number(fixed + 8)?));
        let rdata = self.message.get(fixed + 10..fixed + 10 + length)?;
        self.at = fixed + 10 + length;
        Some((rtype, rdata))
    }
}

/// End of the name at `at`: behind its root label, or behind a compression pointer.
pub(crate) fn name_end(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}
