//! The state of one moment, from which documents are built.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Problem;
use crate::clock::Clock;
use crate::config::Config;
use crate::control::Control;
use crate::dataset::Snapshot;
use crate::model::{Moment, WallTime};
use crate::publisher::View;

/// The number of looks at state and snapshot until they are of the same files.
const LOOKS: u32 = 50;
/// The pause between two looks: the loop publishes new files and tells readers in one turn.
const PAUSE: Duration = Duration::from_millis(2);

/// The state of one moment.
#[derive(Debug, Clone)]
pub(in crate::control) struct Present {
    /// The publisher's state.
    pub(in crate::control) view: Arc<View>,
    /// The snapshot that queries are answered from, of the same files.
    pub(in crate::control) snapshot: Arc<Snapshot>,
    /// The moment.
    pub(in crate::control) now: Moment,
    /// The wall clock's reading of moments.
    pub(in crate::control) wall: WallTime,
}

impl Present {
    /// The configuration behind it.
    pub(in crate::control) fn config(&self) -> &Config {
        &self.snapshot.dataset.config
    }

    /// A moment as RFC 3339 has it.
    pub(in crate::control) fn show(&self, moment: Moment) -> String {
        self.wall.show(moment).to_string()
    }

    /// The state of this moment; to be called where waiting is allowed.
    pub(in crate::control) fn read(control: &Control) -> Result<Present, Problem> {
        for look in 0..LOOKS {
            if look > 0 {
                std::thread::sleep(PAUSE);
            }
            let (view, snapshot) = (control.state.read(), control.published.load_full());
            // Ids are indexes into one configuration.
            if Arc::ptr_eq(&view.dataset.config, &snapshot.dataset.config) {
                let wall = Clock.wall();
                return Ok(Present {
                    view,
                    snapshot,
                    now: Clock.now(),
                    wall,
                });
            }
        }
        Err(Problem::unavailable(
            "new files are being published: ask again in a moment",
        ))
    }
}

/// Makes something of the state of this moment, on a thread that may take its time: documents of
/// tens of thousands of endpoints take longer than others on this runtime should wait.
pub(super) async fn look<T: Send + 'static>(
    control: &Control,
    make: impl FnOnce(&Present) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let control = control.clone();
    let made = tokio::task::spawn_blocking(move || make(&Present::read(&control)?));
    match made.await {
        Ok(made) => made,
        Err(why) => match why.try_into_panic() {
            // Caught once more, by the layer that counts these.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Problem::unavailable("stopping")),
        },
    }
}

/// Answers with the document that `make` builds of the state of this moment.
pub(in crate::control) async fn build<T: Serialize>(
    control: &Control,
    make: impl FnOnce(&Present) -> Result<T, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let body = look(control, |present| {
        let document = make(present)?;
        serde_json::to_vec(&document).map_err(|why| Problem::unavailable(why.to_string()))
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], body.await?).into_response())
}
