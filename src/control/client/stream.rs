//! Streams of events as a client reads them (HTML, "Server-sent events", §9.2.6).

/// The octets that one event may have; what is longer is dropped.
const LONGEST: usize = 1 << 20;

/// An event of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamEvent {
    /// Its id, where it has one.
    pub id: Option<String>,
    /// Its type; `message` where none is written.
    pub name: String,
    /// Its data, lines joined by line feeds.
    pub data: String,
}

/// The part of a stream that has been read, and does not end an event yet.
#[derive(Debug, Default)]
pub struct EventStream {
    /// The line under way.
    line: Vec<u8>,
    /// The last octet was a carriage return: a line feed after it belongs to the same line end.
    after_return: bool,
    event: StreamEvent,
    has_data: bool,
}

impl EventStream {
    /// Takes in a piece of the stream, cut anywhere, and returns the events that it completes.
    pub fn take(&mut self, piece: &[u8]) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        for octet in piece {
            let follows_return = std::mem::replace(&mut self.after_return, *octet == b'\r');
            match octet {
                b'\n' if follows_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                // Without its end a longer line is nothing that a server of ours sends.
                _ if self.line.len() < LONGEST => self.line.push(*octet),
                _ => {}
            }
        }
        events
    }

    /// Ends a line; an empty one ends the event.
    fn end_line(&mut self) -> Option<StreamEvent> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            // "If the data buffer is an empty string, set [both] to the empty string and return."
            if !std::mem::take(&mut self.has_data) {
                return None;
            }
            let name = match event.name.is_empty() {
                true => "message".to_owned(),
                false => event.name,
            };
            return Some(StreamEvent { name, ..event });
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            "event" => self.event.name = value.to_owned(),
            "data" if self.event.data.len() + value.len() < LONGEST => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            // Comments have an empty field, and `retry` is ours to choose.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = ": hello\nretry: 1000\n\nid: a-1\nevent: change\ndata: {\ndata:  }\n\n:\n\r\n\rdata:x\r\nid\r\n\r\nevent: gap\n\n";

    fn all(pieces: &[&[u8]]) -> Vec<StreamEvent> {
        let mut stream = EventStream::default();
        pieces.iter().flat_map(|piece| stream.take(piece)).collect()
    }

    #[test]
    fn events_are_read_as_the_specification_has_them() {
        let event = |id: &str, name: &str, data: &str| StreamEvent {
            id: Some(id.to_owned()),
            name: name.to_owned(),
            data: data.to_owned(),
        };
        assert_eq!(
            all(&[STREAM.as_bytes()]),
            [event("a-1", "change", "{\n }"), event("", "message", "x")]
        );
    }

    proptest! {
        #[test]
        fn the_cuts_between_pieces_do_not_matter(cuts in prop::collection::vec(0usize..110, 0..8)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(STREAM.len())).collect();
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts
                .windows(2)
                .map(|cut| &STREAM.as_bytes()[cut[0]..cut[1]])
                .collect();
            prop_assert_eq!(all(&pieces), all(&[STREAM.as_bytes()]));
        }

        #[test]
        fn no_octets_make_the_reader_fail(octets in prop::collection::vec(any::<u8>(), 0..256)) {
            all(&[&octets]);
        }
    }
}
