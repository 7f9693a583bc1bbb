//! `/v1/resume`: pools that wait for an operator after they were down are used again.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Concern, Deed, Problem, Refusals, Routes, Write, carry_out};
use crate::control::access::Scope;
use crate::control::{Control, Request, ask_about};
use crate::recovery::{self, NotResumed};

/// A pool, or all of a service, to be used again.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Owner name of the service.
    pub service: String,
    /// The region; every one that is held where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// The pools that are used again.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Resumed {
    /// The deed in words.
    pub message: String,
    /// The service, as it was asked for.
    pub service: String,
    /// The regions.
    pub regions: Vec<String>,
}

async fn resume_pools(control: Control, body: Resume) -> Result<Resumed, Problem> {
    let Resume { service, region } = body;
    let regions = ask_about(
        &control,
        |config| recovery::resolve(config, &service, region.as_deref()),
        |config, (service, region), reply| Request::Resume {
            config,
            service,
            region,
            reply,
        },
    )
    .await?
    .map_err(|why| match why {
        NotResumed::NotHeld { .. } => Problem::refused(why.to_string()).breaking("not-held"),
        why => Problem::not_found("service", why.to_string()),
    })?;
    Ok(Resumed {
        message: format!("resumed {service} in {}", regions.join(", ")),
        service,
        regions,
    })
}

/// Resume held pools.
#[utoipa::path(
    post, path = "/v1/resume", tag = "operations", request_body = Resume,
    responses((status = 200, description = "The pools that are used again", body = Resumed), Refusals)
)]
async fn resume(Write { writer, body }: Write<Resume>) -> Result<Response, Problem> {
    let deed = Deed {
        action: "resume",
        subject: match &body.region {
            Some(region) => format!("{}/{region}", body.service),
            None => body.service.clone(),
        },
        reason: None,
        concern: Concern::Returning(body.service.clone()),
        scope: Scope::Operate,
    };
    let control = writer.control.clone();
    carry_out(&writer, deed, resume_pools(control, body)).await
}

/// The routes of this subject.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(resume))
}
