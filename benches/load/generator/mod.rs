//! Asks a server many questions and checks every answer.
//!
//! ```text
//! Workload ─ Pool (questions, what is right) ─▶ run ─ Lane (a socket, its slots) ─ Batch (one system call) ─▶ server
//!                                                └▶ Report (counts, latency, the server's CPU time)
//! ```
//! One thread. *Closed loop*: a window of questions is outstanding, and each answer is followed by
//! the next question; that finds the most a server answers. *Fixed rate*: each question has its
//! time, and latency is measured from that time on, sent late or not.

pub(crate) mod batch;
pub(crate) mod check;
mod cpu;
mod histogram;
mod lane;
mod pool;
pub(crate) mod report;
mod run;

pub(crate) use check::Check;
pub(crate) use pool::{Pool, Workload};
pub(crate) use run::{Settings, run};
