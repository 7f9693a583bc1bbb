use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::commit::{self, Collection, End, Outcome, Put, Revision, Write};
use crate::dns::{Name, Ttl};
use crate::health::{Key, Record};
use crate::model::{Moment, Target, WallTime};
use crate::overrides::{Action, Override, Overrides, Scope};
use crate::publisher::{Commit, History};
use crate::recovery::{Phase, PoolRecord, PoolRecovery};
use crate::units::{MAX_EPOCH, UnitRecord, UnitRecords};

const HOUR: Duration = Duration::from_secs(3600);

fn time() -> SystemTime {
    SystemTime::UNIX_EPOCH + 500_000 * HOUR
}

fn key(check: &str, definition: u8, target: &str) -> Key {
    let target = match target.parse() {
        Ok(address) => Target::Address(address),
        Err(_) => Target::Name(Name::from_text(target, None).unwrap()),
    };
    Key {
        check: check.into(),
        definition: format!("{definition:032x}").parse().unwrap(),
        target,
    }
}

fn history() -> History {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let keys = [
        key("web", 1, "192.0.2.1"),
        key("web", 1, "2001:db8::1"),
        key("mail", 2, "mx.example.net."),
    ];
    let records = vec![
        Record {
            up: true,
            settled: true,
            judged: true,
            load: Some(0.25),
            ..Record::default()
        },
        Record {
            changed: Some(minutes(90)),
            judged: true,
            settled: true,
            ..Record::default()
        },
        Record {
            changes: vec![minutes(3), minutes(1)],
            hold: Some(minutes(4)),
            ..Record::default()
        },
    ];
    let held = PoolRecovery {
        down: false,
        phase: Phase::Held,
    };
    let ramping = PoolRecovery {
        down: true,
        phase: Phase::Ramping(minutes(2)),
    };
    let pool = PoolRecord {
        service: "www.gtm.example.".into(),
        region: "dublin".into(),
        families: [held, ramping],
    };
    History {
        keys: keys.into(),
        records,
        pools: vec![pool],
    }
}

/// Writes `content` as the history, loads it, and returns why it is refused.
fn refusal(content: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(HISTORY_FILE), content).unwrap();
    let why = load_history(directory.path(), time())
        .expect_err("it is refused")
        .to_string();
    assert!(
        !directory.path().join(HISTORY_FILE).exists(),
        "it is set aside: {why}"
    );
    assert_eq!(
        fs::read(directory.path().join(HISTORY_SET_ASIDE)).unwrap(),
        content
    );
    assert!(
        why.ends_with("; it is set aside as health.json.bad") && !why.contains('\n'),
        "{why}"
    );
    assert_eq!(
        load_history(directory.path(), time()),
        Ok(None),
        "and not met again"
    );
    why
}

#[test]
fn what_is_written_is_read_back_with_its_age() {
    let text = encode_history(&history(), time());
    assert_eq!(decode_history(&text, time() + HOUR), Ok((history(), HOUR)));
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains(r#""target":"mx.example.net.""#) && !text.contains("null"),
        "{text}"
    );
}

#[test]
fn damaged_files_are_said_and_set_aside() {
    let good = String::from_utf8(encode_history(&history(), time())).unwrap();
    for (bad, said) in [
        (String::new(), "is damaged: EOF"),
        ("\0".repeat(4096), "is damaged"),
        (good[..good.len() / 2].to_owned(), "is damaged: EOF"),
        (good.clone() + &good, "is damaged: trailing"),
        (
            good.replacen("\"up\":true", "\"up\":1", 1),
            "is damaged: invalid type",
        ),
        (
            good.replacen("192.0.2.1", "192.0.2.1 ", 1),
            "is neither an address nor a name",
        ),
        (
            good.replacen("0000000001", "000000000x", 1),
            "is no check's fingerprint",
        ),
        (
            good.replacen("\"written\":\"2", "\"written\":\"x", 1),
            "is not a time",
        ),
        (
            good.replacen("\"held\"", "\"hold\"", 1),
            "is damaged: unknown variant",
        ),
        (
            good.replacen("\"format\":1", "\"format\":2", 1),
            "has format 2, written by Meridian",
        ),
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
    let soon = encode_history(&history(), time() + Duration::from_secs(59));
    assert_eq!(
        decode_history(&soon, time()),
        Ok((history(), Duration::ZERO)),
        "the clock was set back a little"
    );
    let why = refusal(&encode_history(&history(), time() + HOUR));
    assert!(
        why.contains("is from the future: it was written at 2027-01-15"),
        "{why}"
    );
}

#[test]
fn what_is_no_file_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(HISTORY_FILE);
    assert_eq!(
        load_history(&directory.path().join("nowhere"), time()),
        Ok(None)
    );
    fs::create_dir(&path).unwrap();
    assert!(
        load_history(directory.path(), time())
            .unwrap_err()
            .to_string()
            .contains("is not a regular file; it is set aside")
    );
    // The next one cannot take the place of a directory.
    symlink("/dev/zero", &path).unwrap();
    let why = load_history(directory.path(), time())
        .unwrap_err()
        .to_string();
    assert!(
        why.contains("is not a regular file; it cannot be set aside as health.json.bad: "),
        "{why}"
    );
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(
        load_history(directory.path(), time())
            .unwrap_err()
            .to_string()
            .contains("is not a regular file")
    );
    fs::remove_file(&path).unwrap();
    // Sparse, so that the test costs no disk.
    File::create(&path)
        .unwrap()
        .set_len(MAX_HISTORY_SIZE + 1)
        .unwrap();
    assert!(
        load_history(directory.path(), time())
            .unwrap_err()
            .to_string()
            .contains("is larger than 256 MiB")
    );
}

#[test]
fn the_writer_writes_in_turn_and_says_how_it_went() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let (sender, ended) = mpsc::channel();
    let writer = StateWriter::start(state.clone(), UnitRecords::new(), move |end| {
        sender.send(ended_as(end)).unwrap()
    })
    .unwrap();
    let empty = History {
        records: vec![],
        keys: [].into(),
        pools: vec![],
    };
    let wall = WallTime::default();
    writer.write(write_of_history(1, empty), wall);
    writer.write(write_of_units(1, units()), wall);
    writer.write(write_of_history(2, history()), wall);
    assert!(writer.finish(HOUR));
    let ended: Vec<_> = ended.iter().collect();
    assert_eq!(
        ended,
        [
            (HISTORY_FILE, 1, Ok(())),
            (UNITS_FILE, 1, Ok(())),
            (HISTORY_FILE, 2, Ok(()))
        ]
    );
    assert_eq!(load_units(&state), Ok(units()));
    let (kept, age) = load_history(&state, SystemTime::now()).unwrap().unwrap();
    assert_eq!(kept, history());
    assert!(age < HOUR);
    assert_eq!(
        fs::read_dir(&state).unwrap().count(),
        2,
        "nothing is left beside it"
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    fs::write(&state, "a file").unwrap();
    let (sender, ended) = mpsc::channel();
    let writer = StateWriter::start(state.clone(), UnitRecords::new(), move |end| {
        sender.send(ended_as(end)).unwrap()
    })
    .unwrap();
    writer.write(write_of_history(1, history()), WallTime::default());
    let (_, _, result) = ended.recv().unwrap();
    let why = result.unwrap_err();
    assert!(
        why.starts_with(&format!("{}: ", state.join(HISTORY_FILE).display())),
        "{why}"
    );
    fs::remove_file(&state).unwrap();
    writer.write(write_of_history(2, history()), WallTime::default());
    assert_eq!(
        ended.recv().unwrap(),
        (HISTORY_FILE, 2, Ok(())),
        "it tries again"
    );
    assert_eq!(
        load_history(&state, SystemTime::now()).map(|kept| kept.is_some()),
        Ok(true)
    );
}

/// The file that was written, the write's number, and how it went.
fn ended_as(end: End) -> (&'static str, u64, Result<(), String>) {
    let file = match end.collection {
        Collection::Health => HISTORY_FILE,
        Collection::Units => UNITS_FILE,
        Collection::Overrides => OVERRIDES_FILE,
        Collection::Acme => ACME_FILE,
    };
    let result = match end.outcome {
        Outcome::Committed(_) => Ok(()),
        Outcome::Conflict { key, .. } => Err(format!("conflict: {key}")),
        Outcome::Failed(failure) => Err(failure.to_string()),
    };
    (file, end.id, result)
}

fn put<V>(collection: Collection, name: &str, value: V, expected: Option<Revision>) -> Put<V> {
    Put {
        key: commit::Key {
            collection,
            name: name.to_owned(),
        },
        value,
        expected,
        lease: None,
    }
}

fn write_of_history(id: u64, history: History) -> Commit {
    let collection = Collection::Health;
    let puts = vec![put(collection, "", history, None)];
    Commit::History(Write {
        collection,
        id,
        puts,
    })
}

/// A write of units that are not there yet.
fn write_of_units(id: u64, records: UnitRecords) -> Commit {
    let collection = Collection::Units;
    let puts = records
        .into_iter()
        .map(|(name, record)| put(collection, &name, record, Some(Revision::ABSENT)))
        .collect();
    Commit::Units(Write {
        collection,
        id,
        puts,
    })
}

#[test]
fn a_write_of_one_unit_leaves_the_others_of_the_directory_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, ended) = mpsc::channel();
    let writer = StateWriter::start(
        directory.path().to_owned(),
        UnitRecords::new(),
        move |end| sender.send(ended_as(end)).unwrap(),
    )
    .unwrap();
    let wall = WallTime::default();
    let mut all = units();
    writer.adopt(all.clone());
    let unit = all.first_entry().unwrap().remove_entry();
    let one =
        |record: &UnitRecord| UnitRecords::from([("new.example.".to_owned(), record.clone())]);
    writer.write(write_of_units(1, one(&unit.1)), wall);
    assert_eq!(ended.recv().unwrap(), (UNITS_FILE, 1, Ok(())));
    let mut expected = units();
    expected.extend(one(&unit.1));
    assert_eq!(load_units(directory.path()), Ok(expected.clone()));
    // Written again as if it were not there.
    writer.write(write_of_units(2, one(&unit.1)), wall);
    let (_, _, result) = ended.recv().unwrap();
    assert_eq!(result, Err("conflict: units/new.example.".to_owned()));
    // A file that was lost meanwhile is made whole by the next write.
    fs::remove_file(directory.path().join(UNITS_FILE)).unwrap();
    let other = UnitRecords::from([("other.example.".to_owned(), unit.1.clone())]);
    writer.write(write_of_units(3, other.clone()), wall);
    assert!(writer.finish(HOUR));
    expected.extend(other);
    assert_eq!(load_units(directory.path()), Ok(expected));
}

fn units() -> UnitRecords {
    let ttl = |seconds| Ttl::from_secs(seconds).unwrap();
    let (dublin, tokyo) = ("dublin".to_owned(), "tokyo".to_owned());
    let owned = UnitRecord::Owned {
        owner: dublin.clone(),
        epoch: 5,
        ttl: ttl(20),
    };
    let fenced = UnitRecord::Fenced {
        last: Some(dublin.clone()),
        next: tokyo,
        epoch: MAX_EPOCH,
        ttl: ttl(60),
    };
    let begun = UnitRecord::Fenced {
        last: None,
        next: dublin,
        epoch: 0,
        ttl: ttl(0),
    };
    [
        ("00.orders.example.", owned),
        ("01.orders.example.", fenced),
        ("writer.example.", begun),
    ]
    .map(|(name, record)| (name.to_owned(), record))
    .into()
}

#[test]
fn units_that_are_written_are_read_back() {
    let text = encode_units(&units());
    assert_eq!(decode_units(&text), Ok(units()));
    assert!(!String::from_utf8(text).unwrap().contains("null"));
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(load_units(directory.path()), Ok(UnitRecords::new()));
    write_units(directory.path(), &units()).unwrap();
    assert_eq!(load_units(directory.path()), Ok(units()));
}

#[test]
fn damaged_units_are_said_and_set_aside() {
    let good = String::from_utf8(encode_units(&units())).unwrap();
    for (bad, said) in [
        (String::new(), "is damaged: EOF"),
        (good[..good.len() / 2].to_owned(), "is damaged: EOF"),
        (good.clone() + &good, "is damaged: trailing"),
        (
            good.replacen("\"epoch\": 5", "\"epoch\": 0", 1),
            "has the epoch 0, and epochs go from 1 to",
        ),
        (
            good.replacen("\"epoch\": 5", "\"epoch\": -5", 1),
            "is damaged: invalid value",
        ),
        (
            good.replacen("\"ttl\": 20", "\"ttl\": 4000000000", 1),
            "has the TTL 4000000000",
        ),
        (
            good.replacen("\"owned\"", "\"had\"", 1),
            "is damaged: unknown variant",
        ),
        (
            good.replacen("\"owner\"", "\"region\"", 1),
            "is damaged: unknown field",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(UNITS_FILE), &bad).unwrap();
        assert!(
            peek_units(directory.path()).is_err_and(|why| why.to_string().contains(said)),
            "{said}"
        );
        let why = load_units(directory.path()).unwrap_err().to_string();
        assert!(
            why.contains(said)
                && why.ends_with("; it is set aside as units.json.bad")
                && !why.contains('\n'),
            "{why}"
        );
        assert_eq!(
            fs::read(directory.path().join(UNITS_SET_ASIDE)).unwrap(),
            bad.as_bytes()
        );
        assert_eq!(
            load_units(directory.path()),
            Ok(UnitRecords::new()),
            "and not met again"
        );
        assert!(
            were_units_lost(directory.path()),
            "although the next start knows of it"
        );
        write_units(directory.path(), &units()).unwrap();
        assert!(!were_units_lost(directory.path()));
    }
    // That of a later version is not touched, at whatever start.
    let directory = tempfile::tempdir().unwrap();
    let later = good.replacen("\"format\": 1", "\"format\": 9", 1);
    fs::write(directory.path().join(UNITS_FILE), &later).unwrap();
    for _ in 0..2 {
        let why = load_units(directory.path()).unwrap_err().to_string();
        assert!(
            why.contains("has format 9, written by Meridian")
                && why.contains("it is kept for that version"),
            "{why}"
        );
        assert_eq!(
            fs::read(directory.path().join(UNITS_FILE)).unwrap(),
            later.as_bytes()
        );
    }
}

#[test]
fn one_process_has_a_state_directory() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let lock = Lock::take(&state).unwrap();
    assert!(matches!(Lock::take(&state), Err(NotLocked::Taken)));
    drop(lock);
    let _lock = Lock::take(&state).unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    let why = Lock::take(&directory.path().join("file"))
        .unwrap_err()
        .to_string();
    assert!(
        why.starts_with("the state directory cannot be locked: "),
        "{why}"
    );
}

fn unit() -> impl Strategy<Value = UnitRecord> {
    let ttl = (0..=Ttl::MAX.secs()).prop_map(|seconds| Ttl::from_secs(seconds).unwrap());
    let owned = (".{0,9}", 1..=MAX_EPOCH, ttl.clone())
        .prop_map(|(owner, epoch, ttl)| UnitRecord::Owned { owner, epoch, ttl });
    let fenced = (prop::option::of(".{0,9}"), ".{0,9}", 0..=MAX_EPOCH, ttl).prop_map(
        |(last, next, epoch, ttl)| UnitRecord::Fenced {
            last,
            next,
            epoch,
            ttl,
        },
    );
    prop_oneof![owned, fenced]
}

fn duration() -> impl Strategy<Value = Duration> {
    (0u64..1 << 40).prop_map(Duration::from_millis)
}

fn record() -> impl Strategy<Value = Record> {
    let flags = any::<(bool, bool, bool)>();
    let times = (
        prop::option::of(duration()),
        prop::collection::vec(duration(), 0..5),
        prop::option::of(duration()),
    );
    (flags, times, prop::option::of(0u16..=10_000)).prop_map(
        |((up, settled, judged), (changed, changes, hold), load)| Record {
            up,
            settled,
            judged,
            changed,
            changes,
            hold,
            load: load.map(|load| f64::from(load) / 10_000.0),
        },
    )
}

fn pool() -> impl Strategy<Value = PoolRecord> {
    let phase = prop_oneof![
        Just(Phase::InUse),
        duration().prop_map(Phase::Ramping),
        Just(Phase::Held)
    ];
    let own = (any::<bool>(), phase).prop_map(|(down, phase)| PoolRecovery { down, phase });
    (".{0,9}", ".{0,9}", [own.clone(), own]).prop_map(|(service, region, families)| PoolRecord {
        service,
        region,
        families,
    })
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
        prop_assert_eq!(decode_history(&encode_history(&history, time()), time()), Ok((history, Duration::ZERO)));
    }

    #[test]
    fn any_units_are_read_back_as_they_were_written(records in prop::collection::btree_map(".{0,9}", unit(), 0..20)) {
        prop_assert_eq!(decode_units(&encode_units(&records)), Ok(records));
    }

    #[test]
    fn other_units_are_refused_without_a_panic(
        at in any::<prop::sample::Index>(),
        octet in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut text = encode_units(&units());
        let at = at.index(text.len());
        text[at] = octet;
        if let Ok(records) = decode_units(&text) {
            prop_assert_eq!(decode_units(&encode_units(&records)), Ok(records));
        }
        // The last two are a closing brace and a line break.
        prop_assert!(decode_units(&text[..cut.index(text.len() - 2)]).is_err());
    }

    #[test]
    fn anything_else_is_refused_without_a_panic(
        at in any::<prop::sample::Index>(),
        octet in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut text = encode_history(&history(), time());
        let at = at.index(text.len());
        text[at] = octet;
        let _ = decode_history(&text, time());
        prop_assert!(decode_history(&text[..cut.index(text.len() - 1)], time()).is_err());
    }
}

fn overrides(numbers: &[u64]) -> Overrides {
    let at = Moment(Duration::from_secs(1));
    let own = |id: &u64| Override {
        id: *id,
        action: Action::Drain,
        scope: Scope::Region(format!("region{id}")),
        by: "anna".into(),
        reason: "work".into(),
        made: at,
        starts: at,
        until: None,
        forced: false,
        ramp: None,
        drill: None,
    };
    Overrides(numbers.iter().map(own).collect())
}

#[test]
fn overrides_that_are_damaged_are_lost_until_they_are_written_again_and_the_last_good_copy_stands_in()
 {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (
        directory.path().join(OVERRIDES_FILE),
        directory.path().join("overrides.json.last"),
    );
    let found = || load_overrides(directory.path(), WallTime::default());
    assert_eq!(found(), FoundOverrides::default());
    write_overrides(
        directory.path(),
        &overrides(&[1, 2]),
        5,
        WallTime::default(),
    )
    .unwrap();
    let good = FoundOverrides {
        overrides: overrides(&[1, 2]),
        last: 5,
        ..FoundOverrides::default()
    };
    assert_eq!(found(), good);
    let later = fs::read_to_string(&path)
        .unwrap()
        .replace("\"format\": 1", "\"format\": 9");
    for (bad, said) in [
        ("{}", ".json is damaged"),
        ("", ".json is damaged"),
        (&later[..], ".json has format 9"),
    ] {
        fs::write(&path, bad).unwrap();
        for _ in 0..2 {
            let found = found();
            assert_eq!((&found.overrides, found.last), (&overrides(&[1, 2]), 5));
            let why = found.lost.unwrap();
            let expected =
                "; the 2 overrides of the last good copy, overrides.json.last, are in force";
            assert!(why.contains(said) && why.ends_with(expected), "{why}");
            assert_eq!(
                fs::read_to_string(&path).unwrap(),
                bad,
                "it is left as it is, at every start"
            );
        }
    }
    write_overrides(directory.path(), &overrides(&[2]), 6, WallTime::default()).unwrap();
    assert_eq!(
        found(),
        FoundOverrides {
            overrides: overrides(&[2]),
            last: 6,
            ..FoundOverrides::default()
        }
    );
    assert_eq!(
        fs::read_to_string(directory.path().join("overrides.json.bad")).unwrap(),
        later
    );

    fs::remove_file(&path).unwrap();
    assert!(found().lost.unwrap().contains(
        ".json is missing, although its copy overrides.json.last exists; the one override"
    ));
    fs::write(&path, "{}").unwrap();
    fs::write(&copy, "{}").unwrap();
    let both = found();
    assert!(both.overrides.0.is_empty() && both.lost.unwrap().ends_with("no override is in force"));
    // A copy that lags, since the process ended between the two writes, is not looked at.
    write_overrides(directory.path(), &overrides(&[7]), 7, WallTime::default()).unwrap();
    fs::write(&copy, "{}").unwrap();
    assert_eq!(
        found(),
        FoundOverrides {
            overrides: overrides(&[7]),
            last: 7,
            ..FoundOverrides::default()
        }
    );
    // A link leads to what is not ours.
    fs::rename(&path, &copy).unwrap();
    std::os::unix::fs::symlink(&copy, &path).unwrap();
    assert!(
        found()
            .lost
            .unwrap()
            .contains(".json is not a regular file")
    );
}
