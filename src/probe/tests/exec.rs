//! `exec` checks, with the shell as the program: it ends, writes, hangs and leaves things behind as told.

use std::sync::Arc;

use super::*;
use crate::health::{Evidence, ExecFault, NotJudged};
use crate::model::{ExecSpec, TargetId, TcpSpec};
use crate::probe::exec::MAX_OUTPUT;
use crate::probe::{Job, ProbeLimit, Scheduler};

fn program(words: &[&str]) -> CheckSpec {
    check(
        CheckKind::Exec(ExecSpec {
            command: words.iter().map(|word| word.to_string()).collect(),
        }),
        0,
    )
}

fn shell(script: &str) -> CheckSpec {
    program(&["/bin/sh", "-c", script])
}

async fn run(check: &CheckSpec) -> Outcome {
    probe(&Prober::new(Clock), check, &loopback()).await
}

/// Returns what the program wrote, as the outcome keeps it.
fn written(outcome: &Outcome) -> String {
    outcome
        .evidence
        .as_ref()
        .map(Evidence::to_string)
        .unwrap_or_default()
}

fn fails(fault: ExecFault) -> Seen {
    Seen::Fail(FailReason::Exec(fault))
}

/// True while the process runs; one that was killed may be kept, dead, by a parent that takes no notice.
fn runs(process: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

#[tokio::test]
async fn the_exit_code_decides() {
    let passed = run(&shell("echo all is well")).await;
    assert_eq!((passed.seen, passed.evidence.as_ref()), (Seen::Pass, None));
    assert_eq!(
        passed
            .phases
            .iter()
            .map(|(phase, _)| phase)
            .collect::<Vec<_>>(),
        [Phase::Run]
    );
    let failed = run(&shell("echo replication lags; echo by 7 s >&2; exit 3")).await;
    assert_eq!(failed.seen, fails(ExecFault::Exit(3)));
    assert_eq!(written(&failed), r"replication lags\nby 7 s");
    assert_eq!(
        run(&shell("kill -TERM $$")).await.seen,
        fails(ExecFault::Signal(15))
    );
}

/// The runtime heard of the program's end before it heard that there was something to read.
#[tokio::test]
async fn last_words_are_not_lost_while_the_runtime_is_busy() {
    let outcome = tokio::spawn(async { run(&shell("sleep 0.1; echo lags by 7 s; exit 2")).await });
    // Time for it to start, and none to hear of anything before it has ended.
    tokio::time::sleep(Duration::from_millis(50)).await;
    std::thread::sleep(Duration::from_millis(200));
    let outcome = outcome.await.unwrap();
    assert_eq!(
        (outcome.seen, written(&outcome).as_str()),
        (fails(ExecFault::Exit(2)), "lags by 7 s")
    );
}

#[tokio::test]
async fn a_program_that_cannot_be_started_judges_nothing() {
    let missing = Seen::NotJudged(NotJudged::Program(nix::libc::ENOENT));
    assert_eq!(run(&program(&["/no/such/program"])).await.seen, missing);
    let forbidden = Seen::NotJudged(NotJudged::Program(nix::libc::EACCES));
    assert_eq!(run(&program(&["/etc/passwd"])).await.seen, forbidden);
}

#[tokio::test]
async fn endless_output_is_cut_off() {
    let outcome = run(&shell("while :; do echo 0123456789; done")).await;
    assert_eq!(outcome.seen, fails(ExecFault::TooMuchOutput));
    assert!(outcome.evidence.is_some_and(|evidence| {
        evidence
            .to_string()
            .starts_with(r"0123456789\n0123456789\n")
    }));
    let just_enough = format!("head -c {MAX_OUTPUT} /dev/zero; exit 1");
    assert_eq!(
        run(&shell(&just_enough)).await.seen,
        fails(ExecFault::Exit(1))
    );
}

#[tokio::test]
async fn the_timeout_ends_the_program_and_all_it_started() {
    let check = CheckSpec {
        timeout: Duration::from_millis(500),
        ..shell("sleep 1000 & echo $$ $!; wait")
    };
    let outcome = run(&check).await;
    assert_eq!(outcome.seen, Seen::Fail(FailReason::Timeout(Phase::Run)));
    let written = written(&outcome);
    let processes: Vec<&str> = written.split(' ').collect();
    assert_eq!(processes.len(), 2, "{written}");
    ends(&processes).await;
    // The program itself is our child: it is reaped, too.
    let end = Instant::now() + TIMEOUT;
    while std::path::Path::new("/proc").join(processes[0]).exists() {
        assert!(Instant::now() < end, "{written} is left, dead");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn ends(processes: &[&str]) {
    let end = Instant::now() + TIMEOUT;
    while processes.iter().any(|process| runs(process)) {
        assert!(Instant::now() < end, "{processes:?} still run");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_left_in_the_background_ends_with_the_program() {
    let outcome = run(&shell("sleep 1000 & echo $!; exit 1")).await;
    assert_eq!(outcome.seen, fails(ExecFault::Exit(1)));
    ends(&[written(&outcome).as_str()]).await;
}

#[tokio::test]
async fn who_leaves_the_group_delays_nobody() {
    let begun = Instant::now();
    // It holds the pipe for some seconds more, out of reach.
    assert_eq!(
        run(&shell("setsid sleep 4 & sleep 0.1")).await.seen,
        Seen::Pass
    );
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn the_environment_is_what_the_manual_says() {
    let about = |check: CheckSpec| async move { written(&run(&check).await) };
    let ours = shell("env | grep ^MERIDIAN_ | sort; exit 1");
    let text = about(ours.clone()).await;
    let (fixed, timeout) = text.split_once(r"\nMERIDIAN_TIMEOUT=").unwrap();
    assert_eq!(
        fixed,
        r"MERIDIAN_ADDRESS=127.0.0.1\nMERIDIAN_CHECK=test\nMERIDIAN_TARGET=127.0.0.1"
    );
    let timeout: f64 = timeout.parse().unwrap();
    assert!((4.0..=5.0).contains(&timeout), "{timeout} s are left of 5");
    let with_port = CheckSpec { port: 5432, ..ours };
    assert!(about(with_port).await.contains(r"\nMERIDIAN_PORT=5432\n"));
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert_eq!(
        run(&shell(
            r#"test -z "$CARGO_MANIFEST_DIR" && test -n "$PATH" && test "$(pwd)" = /"#
        ))
        .await
        .seen,
        Seen::Pass
    );
    assert_eq!(
        run(&shell("! read line")).await.seen,
        Seen::Pass,
        "standard input is empty"
    );
}

#[tokio::test]
async fn no_descriptor_is_handed_down() {
    let _ours: Vec<_> = (0..8)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    // What whoever started the tests left open is none of the prober's; of ours the kinds tell.
    let outcome = run(&shell(
        "ls -l /proc/self/fd | grep -e socket: -e eventpoll -e eventfd; exit 1",
    ))
    .await;
    assert_eq!(written(&outcome), "");
}

#[tokio::test]
async fn only_so_many_run_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    let check = shell(&format!(
        "touch {path}/$$; ls {path} | wc -l; sleep 0.1; rm {path}/$$; exit 1"
    ));
    let prober = Arc::new(Prober::new(Clock).with_exec_processes(2));
    let probes: Vec<_> = (0..8)
        .map(|_| {
            let (prober, check) = (prober.clone(), check.clone());
            tokio::spawn(
                async move { prober.probe(&Check::from(check.clone()), &loopback()).await },
            )
        })
        .collect();
    for probe in probes {
        let outcome = probe.await.unwrap();
        assert_eq!(
            outcome.seen,
            fails(ExecFault::Exit(1)),
            "waiting takes none of the check's time"
        );
        assert!(
            ["1", "2"].contains(&written(&outcome).as_str()),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn programs_in_line_delay_no_other_checks() {
    let address = super::server::start(|_| async {}).await;
    let (slow, quick) = (
        shell("sleep 0.3"),
        check(CheckKind::Tcp(TcpSpec::default()), address.port()),
    );
    let job = |id, check: &CheckSpec| Job {
        id: TargetId(id),
        check: Arc::new(Check::from(check.clone())),
        target: loopback(),
    };
    // More programs than there are permits for probes.
    let jobs = (0..20)
        .map(|id| job(id, &slow))
        .chain((20..22).map(|id| job(id, &quick)))
        .collect();
    let (sender, mut outcomes) = tokio::sync::mpsc::channel(64);
    let prober = Arc::new(Prober::new(Clock).with_exec_processes(1));
    let _scheduler = Scheduler::spawn(
        prober,
        ProbeLimit {
            descriptors: 1024,
            probes: 8,
            watches: 64,
        },
        0,
        jobs,
        sender,
    )
    .unwrap();
    let (mut programs, mut others) = (0, 0);
    let end = tokio::time::Instant::now() + Duration::from_secs(2);
    while let Ok(Some(batch)) = tokio::time::timeout_at(end, outcomes.recv()).await {
        let of_programs = batch
            .iter()
            .filter(|observed| observed.target.0 < 20)
            .count();
        (programs, others) = (programs + of_programs, others + batch.len() - of_programs);
    }
    assert!(
        (1..=7).contains(&programs),
        "one after the other: {programs}"
    );
    assert!(others >= 10, "about 20 for each of two: {others}");
}
