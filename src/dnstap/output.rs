//! Frame Streams: to a unix socket with a handshake, or to a file.
//!
//! A data frame is its length in four octets, big-endian, and its payload. A control frame begins
//! with the length 0, then has a length of its own, a type and fields. On a socket both sides agree
//! first (READY, ACCEPT, START), and at the end (STOP, FINISH); a file has START and STOP alone.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::WriterCounters;
use crate::config::DnstapPlace;

/// The type of all frames' payload.
const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";

const ACCEPT: u32 = 1;
const START: u32 = 2;
const STOP: u32 = 3;
const READY: u32 = 4;
const FINISH: u32 = 5;
/// The field that has a content type.
const FIELD_CONTENT_TYPE: u32 = 1;
/// The longest control frame (the specification's limit), in octets.
const LONGEST_CONTROL: usize = 512;

/// A reader that takes nothing for so long has stopped.
const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// An output that held for so long was sound: the next pause is the first again.
const SOUND: Duration = Duration::from_secs(60);
/// The time between two looks whether the file is still at its path.
const LOOK: Duration = Duration::from_secs(1);
/// The most files that are kept beside the one that is written.
const KEPT: u32 = 1000;

/// The place that frames go to, open or not.
pub(super) struct Output {
    place: DnstapPlace,
    sink: Option<Sink>,
    /// The time of the next attempt, where the last one failed.
    retry: Option<Instant>,
    pause: Duration,
    /// The time since when frames are taken.
    since: Instant,
    /// A failure was logged, and no success since.
    failing: bool,
    /// Samples lost since then.
    lost: u64,
    counters: Arc<WriterCounters>,
}

/// An open stream.
enum Sink {
    Socket(Socket),
    File(Recording),
}

/// A file that frames are written to.
struct Recording {
    file: File,
    /// The octets of whole frames.
    length: u64,
    identity: (u64, u64),
    looked: Instant,
}

impl Output {
    pub(super) fn new(place: DnstapPlace, counters: Arc<WriterCounters>) -> Output {
        Output {
            place,
            sink: None,
            retry: None,
            pause: FIRST_PAUSE,
            since: Instant::now(),
            failing: false,
            lost: 0,
            counters,
        }
    }

    /// True where frames can be written now; opens what is closed, if it is time for that.
    pub(super) fn is_open(&mut self) -> bool {
        let now = Instant::now();
        if self.retry.is_some_and(|retry| now < retry) {
            return false;
        }
        self.leave_moved_file(now);
        if self.sink.is_none() {
            match Sink::open(&self.place) {
                Ok(sink) => self.sink = Some(sink),
                Err(error) => {
                    self.fail(&error);
                    return false;
                }
            }
            self.succeed(match &self.place {
                DnstapPlace::Socket(_) => "connected",
                DnstapPlace::File(_) => "begun",
            });
        }
        true
    }

    /// Writes the `count` frames in `frames`, each behind its length.
    pub(super) fn write(&mut self, frames: &[u8], count: u64) {
        let Some(sink) = &mut self.sink else {
            return self.lose(count);
        };
        match sink.write(frames) {
            Ok(()) => {
                self.counters.frames.add(count);
                if self.failing {
                    self.succeed("written again");
                }
            }
            Err(error) => {
                if matches!(self.sink, Some(Sink::Socket(_))) {
                    // Where it broke off in a frame, nothing behind that can be read.
                    self.sink = None;
                }
                self.lose(count);
                self.fail(&error);
            }
        }
    }

    /// Counts samples that are not written.
    pub(super) fn lose(&mut self, count: u64) {
        self.counters.lost.add(count);
        self.lost += count;
    }

    /// Ends the stream.
    pub(super) fn finish(&mut self) {
        if let Some(sink) = self.sink.take()
            && let Err(error) = sink.finish()
        {
            tracing::warn!("dnstap {} not ended in order: {error}", self.name());
        }
    }

    fn name(&self) -> String {
        match &self.place {
            DnstapPlace::Socket(path) => format!("socket {}", path.display()),
            DnstapPlace::File(path) => format!("file {}", path.display()),
        }
    }

    /// Notes that the output works, and logs its new state.
    fn succeed(&mut self, state: &str) {
        self.retry = None;
        (self.failing, self.since) = (false, Instant::now());
        let name = self.name();
        match std::mem::take(&mut self.lost) {
            0 => tracing::info!("dnstap {name} {state}"),
            lost => tracing::info!("dnstap {name} {state}; samples lost meanwhile: {lost}"),
        }
    }

    /// Puts the next attempt off, and logs the first failure. Every attempt after a short life comes
    /// twice as late as the one before: that bounds the lines, too.
    fn fail(&mut self, error: &io::Error) {
        let now = Instant::now();
        if !self.failing {
            if now.duration_since(self.since) >= SOUND {
                self.pause = FIRST_PAUSE;
            }
            tracing::warn!(
                "dnstap {} not written: {error}; samples are lost until it is",
                self.name()
            );
            self.failing = true;
        }
        self.retry = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Ends a file that was moved away, as programs that rotate files do, so that a new one is begun.
    fn leave_moved_file(&mut self, now: Instant) {
        let (DnstapPlace::File(path), Some(Sink::File(recording))) = (&self.place, &mut self.sink)
        else {
            return;
        };
        if now.duration_since(recording.looked) < LOOK {
            return;
        }
        recording.looked = now;
        let found = std::fs::metadata(path).ok().map(|found| identity(&found));
        if found != Some(recording.identity) {
            self.finish();
        }
    }
}

impl Sink {
    fn open(place: &DnstapPlace) -> io::Result<Sink> {
        match place {
            DnstapPlace::Socket(path) => connect(path).map(Sink::Socket),
            DnstapPlace::File(path) => Recording::begin(path).map(Sink::File),
        }
    }

    fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        match self {
            Sink::Socket(socket) => socket.write_all(frames).map_err(plainly),
            Sink::File(recording) => recording.write(frames),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Sink::Socket(mut socket) => {
                socket.write_all(&control(STOP, false)).map_err(plainly)?;
                expect(&mut socket, FINISH)
            }
            Sink::File(mut recording) => recording.write(&control(STOP, false)),
        }
    }
}

impl Recording {
    /// Makes the file and begins its stream. A file that is there already is kept beside it.
    fn begin(path: &Path) -> io::Result<Recording> {
        if let Ok(found) = std::fs::metadata(path) {
            if !found.is_file() {
                return Err(io::Error::other("it is not a regular file"));
            }
            // A stream has one beginning: frames behind an older end would not be read.
            if found.len() > 0 {
                std::fs::rename(path, aside(path)?)?;
            }
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            // The addresses of clients are not for everybody.
            .mode(0o640)
            .open(path)?;
        let mut recording = Recording {
            identity: identity(&file.metadata()?),
            file,
            length: 0,
            looked: Instant::now(),
        };
        recording.write(&control(START, true))?;
        Ok(recording)
    }

    /// Appends whole frames, or nothing.
    fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        let end = SeekFrom::Start(self.length);
        self.file.seek(end)?;
        if let Err(error) = self.file.write_all(frames) {
            // A full disk takes a part; readers would stop at it.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += frames.len() as u64;
        Ok(())
    }
}

/// The first of `PATH.1`, `PATH.2`, … that is not there.
fn aside(path: &Path) -> io::Result<PathBuf> {
    for number in 1..=KEPT {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        let name = PathBuf::from(name);
        if !name.try_exists()? {
            return Ok(name);
        }
    }
    let message = format!("{KEPT} older files are beside it; remove what is not needed");
    Err(io::Error::other(message))
}

/// The numbers that tell a file from others.
fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Connects to a reader, and agrees with it on the content.
fn connect(path: &Path) -> io::Result<Socket> {
    let mut socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Before the connection: a reader with a full queue would hold that up for ever.
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&SockAddr::unix(path)?).map_err(plainly)?;
    socket.write_all(&control(READY, true)).map_err(plainly)?;
    expect(&mut socket, ACCEPT)?;
    socket.write_all(&control(START, true)).map_err(plainly)?;
    Ok(socket)
}

/// Says it in words where a limit of time was met.
fn plainly(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        return io::Error::other(format!("its reader did nothing for {PATIENCE:?}"));
    }
    error
}

/// A control frame.
fn control(kind: u32, has_content_type: bool) -> Vec<u8> {
    let mut payload = kind.to_be_bytes().to_vec();
    if has_content_type {
        payload.extend(FIELD_CONTENT_TYPE.to_be_bytes());
        payload.extend((CONTENT_TYPE.len() as u32).to_be_bytes());
        payload.extend(CONTENT_TYPE);
    }
    let mut frame = 0_u32.to_be_bytes().to_vec();
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame
}

/// Reads a control frame of this type. An ACCEPT that names content types names ours.
fn expect(reader: &mut impl Read, kind: u32) -> io::Result<()> {
    let mut head = [0; 8];
    reader.read_exact(&mut head).map_err(plainly)?;
    let (escape, length) = head.split_at(4);
    let length = u32::from_be_bytes(length.try_into().expect("four octets")) as usize;
    if escape != [0; 4] || !(4..=LONGEST_CONTROL).contains(&length) {
        return Err(io::Error::other(
            "its reader does not speak Frame Streams in both directions",
        ));
    }
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).map_err(plainly)?;
    let (found, fields) = payload.split_at(4);
    if found != kind.to_be_bytes() {
        let message = "its reader answered with another control frame than is its turn";
        return Err(io::Error::other(message));
    }
    if kind == ACCEPT && !takes_our_content(fields) {
        return Err(io::Error::other("its reader takes no dnstap"));
    }
    Ok(())
}

/// True where no field names a content type, or one names ours.
fn takes_our_content(mut fields: &[u8]) -> bool {
    let mut is_named = false;
    while let Some((head, rest)) = fields.split_first_chunk::<8>() {
        let [a, b, c, d, length @ ..] = *head;
        let kind = u32::from_be_bytes([a, b, c, d]);
        let Some(value) = rest.get(..u32::from_be_bytes(length) as usize) else {
            return false;
        };
        if kind == FIELD_CONTENT_TYPE {
            if value == CONTENT_TYPE {
                return true;
            }
            is_named = true;
        }
        fields = &rest[value.len()..];
    }
    !is_named
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ACCEPT with these content types.
    fn accept(types: &[&[u8]]) -> Vec<u8> {
        let mut payload = ACCEPT.to_be_bytes().to_vec();
        for content in types {
            payload.extend(FIELD_CONTENT_TYPE.to_be_bytes());
            payload.extend((content.len() as u32).to_be_bytes());
            payload.extend(*content);
        }
        let length = (payload.len() as u32).to_be_bytes();
        [&[0; 4], &length[..], &payload].concat()
    }

    #[test]
    fn control_frames_are_those_of_the_specification() {
        assert_eq!(control(STOP, false), [0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 3]);
        let head = [0, 0, 0, 0, 0, 0, 0, 34, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 22];
        assert_eq!(control(READY, true), [&head, CONTENT_TYPE].concat());
    }

    #[test]
    fn readers_of_other_content_and_of_other_protocols_are_refused() {
        let why = |octets: &[u8]| {
            let result = expect(&mut &*octets, ACCEPT);
            result.err().map(|error| error.to_string())
        };
        assert_eq!(why(&accept(&[])), None);
        assert_eq!(why(&accept(&[b"other", CONTENT_TYPE])), None);
        assert!(
            why(&accept(&[b"other"]))
                .unwrap()
                .contains("takes no dnstap")
        );
        let mut cut = accept(&[CONTENT_TYPE]);
        cut[19] = 200;
        assert!(why(&cut).unwrap().contains("takes no dnstap"));
        assert!(
            why(&control(FINISH, false))
                .unwrap()
                .contains("another control")
        );
        assert!(why(b"220 mail.example").unwrap().contains("Frame Streams"));
        let long = [&[0; 4][..], &[0xff; 4], &[0; 600]].concat();
        assert!(why(&long).unwrap().contains("Frame Streams"));
        assert!(why(&[]).is_some());
    }
}
