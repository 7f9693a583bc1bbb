//! The audit log, written and read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn small() -> AuditSpec {
    AuditSpec { size: 700, keep: 2 }
}

fn audit(directory: &Path, spec: AuditSpec) -> Audit {
    let audit = Audit::start().unwrap();
    audit.place("fra1", Some(directory.to_owned()), spec);
    audit
}

fn page(directory: &Path, before: Option<u64>, limit: usize) -> AuditPage {
    let query = AuditQuery {
        before,
        limit,
        since: None,
    };
    read_audit(directory, &query).unwrap()
}

fn numbers(page: &AuditPage) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.number).collect()
}

#[test]
fn entries_are_lines_that_only_the_owner_reads_and_come_back_newest_first() {
    let directory = tempfile::tempdir().unwrap();
    let log = audit(directory.path(), AuditSpec::default());
    let mut entry = Entry::new("anna", "override", "drain region dublin");
    (entry.reason, entry.after) = (Some("INC-1\nx".to_owned()), json!({"id": "7"}));
    entry.from = Some("192.0.2.1".to_owned());
    log.record(entry);
    log.record(Entry::new("anna", "release", "7").ended(AuditResult::Refused, "no such override"));
    log.flush(PATIENCE);
    assert_eq!((log.written(), log.lost()), (2, 0));
    let path = directory.path().join(AUDIT_FILE);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);

    let read = page(directory.path(), None, 10);
    assert_eq!((numbers(&read), read.next), (vec![2, 1], None));
    let [second, first] = &read.entries[..] else {
        panic!("{read:?}");
    };
    assert_eq!((&*first.by, &*first.node), ("anna", "fra1"));
    assert_eq!(first.reason.as_deref(), Some("INC-1\nx"));
    assert_eq!(first.after["id"], "7");
    assert_eq!(second.result, AuditResult::Refused);
    assert_eq!(second.why.as_deref(), Some("no such override"));
    let first_page = page(directory.path(), None, 1);
    assert_eq!((numbers(&first_page), first_page.next), (vec![2], Some(2)));
    assert_eq!(numbers(&page(directory.path(), first_page.next, 1)), [1]);
}

#[test]
fn full_files_are_kept_by_number_and_numbers_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let log = audit(directory.path(), small());
    for _ in 0..9 {
        log.record(Entry::new("anna", "override", "x".repeat(100)));
    }
    log.flush(PATIENCE);
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["audit.log", "audit.log.1", "audit.log.2"]);
    let kept = numbers(&page(directory.path(), None, 100));
    assert_eq!(kept[0], 9);
    assert!(
        kept.len() < 9 && kept.windows(2).all(|pair| pair[0] == pair[1] + 1),
        "{kept:?}"
    );

    // Another process goes on with the number, and with fewer files.
    let log = audit(directory.path(), AuditSpec { size: 700, keep: 1 });
    for _ in 0..3 {
        log.record(Entry::new("ben", "override", "x".repeat(100)));
    }
    log.flush(PATIENCE);
    assert_eq!(page(directory.path(), None, 1).entries[0].number, 12);
    assert!(!directory.path().join("audit.log.2").exists());
}

#[test]
fn what_is_lost_is_counted_and_told_by_the_next_entry() {
    let directory = tempfile::tempdir().unwrap();
    let log = Audit::start().unwrap();
    log.place("fra1", None, AuditSpec::default());
    log.record(Entry::new("anna", "override", "nowhere"));
    log.flush(PATIENCE);
    assert_eq!((log.written(), log.lost()), (0, 1));
    log.place(
        "fra1",
        Some(directory.path().to_owned()),
        AuditSpec::default(),
    );
    log.record(Entry::new("anna", "override", "somewhere"));
    log.flush(PATIENCE);
    let read = page(directory.path(), None, 10);
    assert_eq!(read.entries[0].what, "somewhere");
    assert_eq!(read.entries[1].what, "1 entries before this one");
}

#[test]
fn a_piece_of_a_line_costs_no_entry_but_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(AUDIT_FILE);
    let log = audit(directory.path(), AuditSpec::default());
    log.record(Entry::new("anna", "override", "one"));
    log.flush(PATIENCE);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], &whole[..20]].concat()).unwrap();
    log.record(Entry::new("anna", "override", "two"));
    log.flush(PATIENCE);
    let read = page(directory.path(), None, 10);
    assert_eq!((numbers(&read), read.unreadable), (vec![2, 1], 1));
}

#[test]
fn an_entry_without_end_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let log = audit(directory.path(), AuditSpec::default());
    let mut entry = Entry::new("anna", "reload", "files");
    (entry.after, entry.why) = (json!("x".repeat(1 << 20)), Some("y".repeat(1 << 20)));
    log.record(entry);
    log.flush(PATIENCE);
    let read = page(directory.path(), None, 10);
    assert_eq!(read.entries[0].why.as_ref().unwrap().len(), 4096);
    assert!(read.entries[0].after.is_null());
}

#[test]
fn since_is_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let entry = |number: u64| {
        format!(
            "{{\"number\":{number},\"time\":\"2026-01-0{number}T00:00:00.000Z\",\"by\":\"a\",\"node\":\"n\",\"from\":null,\
             \"action\":\"x\",\"what\":\"y\",\"reason\":null,\"result\":\"accepted\",\"why\":null,\"request\":null}}\n"
        )
    };
    fs::write(
        directory.path().join(AUDIT_FILE),
        (1..=5).map(entry).collect::<String>(),
    )
    .unwrap();
    let query = AuditQuery {
        since: Some(Duration::from_secs(1_767_398_400)),
        limit: 10,
        before: None,
    };
    let read = read_audit(directory.path(), &query).unwrap();
    assert_eq!((numbers(&read), read.next), (vec![5, 4, 3], None));
    assert!(read_audit(&directory.path().join("none"), &query).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_entry_is_found_once_by_pages_of_any_size(
        sizes in prop::collection::vec(0usize..200_000, 0..12),
        limit in 1usize..5,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut text = Vec::new();
        for (i, size) in sizes.iter().enumerate() {
            let entry = AuditEntry {
                number: i as u64 + 1,
                time: "2026-01-01T00:00:00.000Z".to_owned(),
                by: "a".to_owned(),
                node: "n".to_owned(),
                from: None,
                action: "x".to_owned(),
                what: "w".repeat(*size),
                reason: None,
                before: Value::Null,
                after: Value::Null,
                result: AuditResult::Accepted,
                why: None,
                request: None,
            };
            text.extend(json!(entry).to_string().into_bytes());
            text.push(b'\n');
        }
        let (old, new) = text.split_at(text.len() / 2);
        let end = old.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
        fs::write(directory.path().join("audit.log.1"), &old[..end]).unwrap();
        fs::write(directory.path().join(AUDIT_FILE), [&old[end..], new].concat()).unwrap();
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let read = page(directory.path(), before, limit);
            prop_assert_eq!(read.unreadable, 0);
            found.extend(numbers(&read));
            match read.next {
                Some(next) => before = Some(next),
                None => break,
            }
        }
        prop_assert_eq!(found, (1..=sizes.len() as u64).rev().collect::<Vec<_>>());
    }
}
