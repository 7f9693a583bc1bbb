//! A hook: a program of the operator's, told of one notice in its environment and on its standard
//! input.

use std::fs::File;
use std::io::{Seek, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::OwnedSemaphorePermit;

use super::failed::Failed;
use super::message::Message;
use crate::model::Template;
use crate::probe::program::{self, Running};

/// The part of what a program writes that is kept for the log, in octets.
const KEPT: usize = 200;
/// A program that writes more than this many octets is cut off.
const MAX_OUTPUT: usize = 64 << 10;

/// Runs the program; it and what it started in its process group end with its time, and when this is
/// given up.
pub(super) async fn run(
    command: &[String],
    message: &Message<'_>,
    timeout: Duration,
    turn: OwnedSemaphorePermit,
) -> Result<(), Failed> {
    let prepared = prepare(command, message);
    let prepared = prepared.map_err(|error| Failed::once(format!("cannot start it: {error}")))?;
    let (running, pipe) = program::start(prepared, turn)
        .await
        .map_err(|error| Failed::once(format!("cannot start it: {error}")))?;
    match tokio::time::timeout(timeout, finish(running, pipe)).await {
        Ok(ended) => ended,
        Err(_) => {
            let time = humantime::format_duration(timeout);
            Err(Failed::once(format!("it was killed after {time}")))
        }
    }
}

fn prepare(words: &[String], message: &Message<'_>) -> std::io::Result<Command> {
    let mut command = program::command(words);
    // A file and not a pipe: a program that reads nothing must not keep anybody waiting.
    let mut input: File = tempfile::tempfile()?;
    input.write_all(message.json().as_bytes())?;
    input.rewind()?;
    command.stdin(Stdio::from(input));
    for (name, _) in Template::VARIABLES {
        let name_of_variable = format!("MERIDIAN_{}", name.to_ascii_uppercase());
        command.env(name_of_variable, message.variable(name));
    }
    Ok(command)
}

async fn finish(mut running: Running, mut pipe: pipe::Receiver) -> Result<(), Failed> {
    let (mut kept, mut total, mut open) = (Vec::new(), 0, true);
    let mut buffer = [0; 1024];
    let status = loop {
        tokio::select! {
            biased;
            read = pipe.read(&mut buffer), if open => match read {
                Ok(length) if length > 0 => {
                    total += length;
                    let room = KEPT - kept.len();
                    kept.extend_from_slice(&buffer[..length.min(room)]);
                    if total > MAX_OUTPUT {
                        return Err(Failed::once("it wrote more than 64 KiB and was killed"));
                    }
                }
                _ => open = false,
            },
            status = running.ended() => break status,
        }
    };
    let status = status.map_err(|error| Failed::once(format!("cannot wait for it: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Failed::once(describe(status, &kept)))
}

fn describe(status: ExitStatus, written: &[u8]) -> String {
    let text = String::from_utf8_lossy(written);
    let first = text.lines().next().unwrap_or_default().trim();
    let first: String = first.chars().filter(|c| !c.is_control()).collect();
    match first.as_str() {
        "" => format!("it ended with {status}"),
        first => format!("it ended with {status}: {first}"),
    }
}
