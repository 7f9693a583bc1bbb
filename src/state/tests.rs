use std::os::unix::fs::symlink;
use std::sync::mpsc;

use proptest::prelude::*;

use super::*;
use crate::dns::Name;
use crate::health::{Key, Record};
use crate::model::Target;
use crate::publisher::PoolRecord;
use crate::steer::{Phase, Return};

const HOUR: Duration = Duration::from_secs(3600);

fn time() -> SystemTime {
    SystemTime::UNIX_EPOCH + 500_000 * HOUR
}

fn key(check: &str, definition: u8, target: &str) -> Key {
    let target = match target.parse() {
        Ok(address) => Target::Address(address),
        Err(_) => Target::Name(Name::from_text(target, None).unwrap()),
    };
    Key { check: check.into(), definition: format!("{definition:032x}").parse().unwrap(), target }
}

fn history() -> History {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let keys = [key("web", 1, "192.0.2.1"), key("web", 1, "2001:db8::1"), key("mail", 2, "mx.example.net.")];
    let records = vec![
        Record { up: true, settled: true, judged: true, load: Some(0.25), ..Record::default() },
        Record { changed: Some(minutes(90)), judged: true, settled: true, ..Record::default() },
        Record { changes: vec![minutes(3), minutes(1)], hold: Some(minutes(4)), ..Record::default() },
    ];
    let held = Return { down: false, phase: Phase::Held };
    let ramping = Return { down: true, phase: Phase::Ramping(minutes(2)) };
    let pool = PoolRecord { service: "www.gtm.example.".into(), region: "dublin".into(), families: [held, ramping] };
    History { keys: keys.into(), records, pools: vec![pool] }
}

/// Writes `content` as the history, loads it, and returns why it is refused.
fn refusal(content: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(FILE), content).unwrap();
    let why = load(directory.path(), time()).expect_err("it is refused");
    assert!(!directory.path().join(FILE).exists(), "it is set aside: {why}");
    assert_eq!(fs::read(directory.path().join(SET_ASIDE)).unwrap(), content);
    assert!(why.ends_with("; it is set aside as health.json.bad") && !why.contains('\n'), "{why}");
    assert_eq!(load(directory.path(), time()), Ok(None), "and not met again");
    why
}

#[test]
fn what_is_written_is_read_back_with_its_age() {
    let text = encode(&history(), time());
    assert_eq!(decode(&text, time() + HOUR), Ok((history(), HOUR)));
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(r#""target":"mx.example.net.""#) && !text.contains("null"), "{text}");
}

#[test]
fn damaged_files_are_said_and_set_aside() {
    let good = String::from_utf8(encode(&history(), time())).unwrap();
    for (bad, said) in [
        (String::new(), "is damaged: EOF"),
        ("\0".repeat(4096), "is damaged"),
        (good[..good.len() / 2].to_owned(), "is damaged: EOF"),
        (good.clone() + &good, "is damaged: trailing"),
        (good.replacen("\"up\":true", "\"up\":1", 1), "is damaged: invalid type"),
        (good.replacen("192.0.2.1", "192.0.2.1 ", 1), "is neither an address nor a name"),
        (good.replacen("0000000001", "000000000x", 1), "is no check's fingerprint"),
        (good.replacen("\"written\":\"2", "\"written\":\"x", 1), "is no time"),
        (good.replacen("\"held\"", "\"hold\"", 1), "is damaged: unknown variant"),
        (good.replacen("\"format\":1", "\"format\":2", 1), "has format 2, written by Meridian"),
        ("[".repeat(1 << 20), "is damaged"),
        ("{}".to_owned(), "is damaged: missing field"),
    ] {
        let why = refusal(bad.as_bytes());
        assert!(why.contains(said), "{said}: {why}");
    }
    refusal(b"\xff\xfe{}");
}

#[test]
fn the_future_is_not_believed() {
    let soon = encode(&history(), time() + Duration::from_secs(59));
    assert_eq!(decode(&soon, time()), Ok((history(), Duration::ZERO)), "the clock was set back a little");
    let why = refusal(&encode(&history(), time() + HOUR));
    assert!(why.contains("since it is from the future: it was written at 2027-01-15"), "{why}");
}

#[test]
fn what_is_no_file_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    assert_eq!(load(&directory.path().join("nowhere"), time()), Ok(None));
    fs::create_dir(&path).unwrap();
    assert!(load(directory.path(), time()).unwrap_err().contains("is no regular file; it is set aside"));
    // The next one cannot take the place of a directory.
    symlink("/dev/zero", &path).unwrap();
    let why = load(directory.path(), time()).unwrap_err();
    assert!(why.contains("is no regular file; it cannot be set aside: "), "{why}");
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(load(directory.path(), time()).unwrap_err().contains("is no regular file"));
    fs::remove_file(&path).unwrap();
    // Sparse, so that the test costs no disk.
    File::create(&path).unwrap().set_len(MAX_SIZE + 1).unwrap();
    assert!(load(directory.path(), time()).unwrap_err().contains("is larger than 256 MiB"));
}

#[test]
fn the_keeper_writes_in_turn_and_says_how_it_went() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let (sender, ended) = mpsc::channel();
    let keeper = Keeper::start(state.clone(), move |id, result| sender.send((id, result)).unwrap()).unwrap();
    keeper.keep(1, History { records: vec![], keys: [].into(), pools: vec![] });
    keeper.keep(2, history());
    assert!(keeper.finish(HOUR));
    assert_eq!(ended.iter().collect::<Vec<_>>(), [(1, Ok(())), (2, Ok(()))]);
    let (kept, age) = load(&state, SystemTime::now()).unwrap().unwrap();
    assert_eq!(kept, history());
    assert!(age < HOUR);
    assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_directory_that_cannot_be_written_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    fs::write(&state, "a file").unwrap();
    let (sender, ended) = mpsc::channel();
    let keeper = Keeper::start(state.clone(), move |id, result| sender.send((id, result)).unwrap()).unwrap();
    keeper.keep(1, history());
    let (_, result) = ended.recv().unwrap();
    let why = result.unwrap_err();
    assert!(why.starts_with(&format!("{}: ", state.join(FILE).display())), "{why}");
    fs::remove_file(&state).unwrap();
    keeper.keep(2, history());
    assert_eq!(ended.recv().unwrap(), (2, Ok(())), "it tries again");
    assert_eq!(load(&state, SystemTime::now()).map(|kept| kept.is_some()), Ok(true));
}

fn duration() -> impl Strategy<Value = Duration> {
    (0u64..1 << 40).prop_map(Duration::from_millis)
}

fn record() -> impl Strategy<Value = Record> {
    let flags = any::<(bool, bool, bool)>();
    let times = (prop::option::of(duration()), prop::collection::vec(duration(), 0..5), prop::option::of(duration()));
    (flags, times, prop::option::of(0u16..=10_000)).prop_map(|((up, settled, judged), (changed, changes, hold), load)| Record {
        up,
        settled,
        judged,
        changed,
        changes,
        hold,
        load: load.map(|load| f64::from(load) / 10_000.0),
    })
}

fn pool() -> impl Strategy<Value = PoolRecord> {
    let phase = prop_oneof![Just(Phase::InUse), duration().prop_map(Phase::Ramping), Just(Phase::Held)];
    let own = (any::<bool>(), phase).prop_map(|(down, phase)| Return { down, phase });
    (".{0,9}", ".{0,9}", [own.clone(), own]).prop_map(|(service, region, families)| PoolRecord { service, region, families })
}

proptest! {
    #[test]
    fn any_history_is_read_back_as_it_was_written(
        rows in prop::collection::vec((".{0,9}", any::<u8>(), any::<std::net::IpAddr>(), record()), 0..20),
        pools in prop::collection::vec(pool(), 0..5),
    ) {
        let rows = rows.into_iter().map(|(check, definition, target, record)| (key(&check, definition, &target.to_string()), record));
        let (keys, records): (Vec<_>, Vec<_>) = rows.unzip();
        let history = History { keys: keys.into(), records, pools };
        prop_assert_eq!(decode(&encode(&history, time()), time()), Ok((history, Duration::ZERO)));
    }

    #[test]
    fn anything_else_is_refused_without_a_panic(
        at in any::<prop::sample::Index>(),
        octet in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut text = encode(&history(), time());
        let at = at.index(text.len());
        text[at] = octet;
        let _ = decode(&text, time());
        prop_assert!(decode(&text[..cut.index(text.len() - 1)], time()).is_err());
    }
}
