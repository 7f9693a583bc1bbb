//! The files that pages refer to, which are part of the binary.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A file that pages refer to.
struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

/// All of them. htmx is the unchanged file of the npm package `htmx.org`, of the version in its
/// name; its licence lies beside it.
const ASSETS: [Asset; 5] = [
    Asset {
        name: "style.css",
        kind: "text/css; charset=utf-8",
        text: include_str!("assets/style.css"),
    },
    Asset {
        name: "theme.js",
        kind: SCRIPT,
        text: include_str!("assets/theme.js"),
    },
    Asset {
        name: "dashboard.js",
        kind: SCRIPT,
        text: include_str!("assets/dashboard.js"),
    },
    Asset {
        name: "htmx.js",
        kind: SCRIPT,
        text: include_str!("assets/htmx-4.0.1.min.js"),
    },
    Asset {
        name: "icon.svg",
        kind: "image/svg+xml",
        text: include_str!("assets/icon.svg"),
    },
];

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The address of an asset. It changes with its content, so that browsers keep it for ever.
pub(super) fn path(name: &str) -> String {
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    let version = asset.map_or(0, |asset| fingerprint(asset.text));
    format!("/ui/assets/{name}?v={version:016x}")
}

/// FNV-1a: no secret depends on it.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Serves an asset.
pub(super) async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return (StatusCode::NOT_FOUND, "no such file\n").into_response();
    };
    let tag = format!("\"{:016x}\"", fingerprint(asset.text));
    let head = [
        (header::CONTENT_TYPE, asset.kind.to_owned()),
        (
            header::CACHE_CONTROL,
            "public, max-age=31536000, immutable".to_owned(),
        ),
        (header::ETAG, tag.clone()),
    ];
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, asset.text).into_response()
}
