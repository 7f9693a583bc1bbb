//! The frame around every page, and the small parts that pages have in common.

use std::time::Duration;

use maud::{DOCTYPE, Markup, html};

use super::assets::path;
use super::facts::State;
use crate::model::{Moment, RegionId, WallTime};

/// A page of the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    /// The map.
    World,
    /// The services.
    Services,
    /// Explanations of answers.
    Why,
    /// Changes as they happen.
    Events,
    /// Overrides.
    Overrides,
    /// Losses.
    Simulate,
}

impl Tab {
    const ALL: [Tab; 6] = [
        Tab::World,
        Tab::Services,
        Tab::Why,
        Tab::Events,
        Tab::Overrides,
        Tab::Simulate,
    ];

    /// Its address and its name.
    pub(super) fn link(self) -> (&'static str, &'static str) {
        match self {
            Tab::World => ("/", "World"),
            Tab::Services => ("/ui/services", "Services"),
            Tab::Why => ("/ui/why", "Why"),
            Tab::Events => ("/ui/events", "Events"),
            Tab::Overrides => ("/ui/overrides", "Overrides"),
            Tab::Simulate => ("/ui/simulate", "Simulate"),
        }
    }
}

/// A page: its title, and what stands between the frame's head and foot.
pub(super) struct Page<'p> {
    /// The page among the others.
    pub(super) tab: Tab,
    /// The title, without the name of the product.
    pub(super) title: &'p str,
    /// The name of the node.
    pub(super) node: &'p str,
    /// True where the page is loaded again after each change.
    pub(super) is_live: bool,
    /// The content.
    pub(super) body: Markup,
}

/// Settings of htmx: no style of its own, which the policy forbids, and open details stay open.
const HTMX: &str =
    r#"{"includeIndicatorCSS":false,"history":true,"morphIgnore":["data-htmx-powered","open"]}"#;

impl Page<'_> {
    /// The document.
    pub(super) fn render(&self) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="htmx-config" content=(HTMX);
                    title { (self.title) " · " (self.node) " · Meridian" }
                    link rel="icon" href=(path("icon.svg")) type="image/svg+xml";
                    link rel="stylesheet" href=(path("style.css"));
                    script src=(path("theme.js")) {}
                    script src=(path("htmx.js")) defer {}
                    script src=(path("dashboard.js")) defer {}
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    (self.top())
                    main id="main" tabindex="-1" {
                        div id="page" data-live[self.is_live] { (self.body) }
                    }
                    (token_dialog())
                }
            }
        }
    }

    fn top(&self) -> Markup {
        html! {
            header.top {
                a.brand href="/" { img src=(path("icon.svg")) alt=""; "Meridian" }
                span.mono.soft { (self.node) }
                nav aria-label="Pages" {
                    @for tab in Tab::ALL {
                        @let (href, name) = tab.link();
                        a href=(href) aria-current=[(tab == self.tab).then_some("page")] { (name) }
                    }
                }
                div.tools {
                    span.live id="live" role="status" data-state="off" { "loaded once" }
                    button.quiet.small id="token-button" type="button" { "Token" }
                    button.quiet.small id="theme-button" type="button" aria-label="Colour theme" {
                        "Theme"
                    }
                }
            }
        }
    }
}

/// The dialog for a token, which stays in this tab of the browser.
fn token_dialog() -> Markup {
    html! {
        dialog id="token-dialog" aria-labelledby="token-title" {
            form method="dialog" {
                h2 id="token-title" { "Token" }
                p.soft {
                    "Needed beyond this host's loopback. It is sent with every request of this tab, "
                    "is kept until the tab is closed, and goes nowhere else."
                }
                label.field { "Token" input id="token-field" type="password" autocomplete="off"; }
                div.row {
                    button.main value="use" { "Use it" }
                    button value="forget" { "Forget it" }
                    button value="cancel" { "Cancel" }
                }
            }
        }
    }
}

/// A state as a word with its sign.
pub(super) fn state(state: State) -> Markup {
    worded(state, state.word())
}

/// A state with its sign and a word of its own.
pub(super) fn worded(state: State, word: &str) -> Markup {
    html! { span class={ "state chip " (state.class()) } { (word) } }
}

/// The classes of a region's colour, and of its pattern where there are more regions than colours.
pub(super) fn colour(region: RegionId) -> String {
    let index = region.index();
    match index / COLOURS % PATTERNS {
        0 => format!("c{}", index % COLOURS),
        pattern => format!("c{} p{pattern}", index % COLOURS),
    }
}

/// The class of a bar in the region's colour.
pub(super) fn own(region: RegionId) -> String {
    format!("own {}", colour(region))
}

/// The number of colours that can be told apart.
pub(super) const COLOURS: usize = 8;
/// The number of patterns, of which the first is none.
pub(super) const PATTERNS: usize = 3;

/// A region's name with its colour.
pub(super) fn region(id: RegionId, name: &str) -> Markup {
    html! { span.nowrap { span class={ "swatch " (colour(id)) } {} (name) } }
}

/// A share as a bar in the region's colour and a number; a mark stands where it should be.
pub(super) fn share(share: Option<f64>, mark: Option<f64>, class: &str) -> Markup {
    html! {
        @match share {
            Some(share) => div.share { (bar(share, mark, class)) span.number { (percent(share)) } },
            None => span.soft { "none yet" },
        }
    }
}

/// A bar of a share, 0 … 1.
pub(super) fn bar(share: f64, mark: Option<f64>, class: &str) -> Markup {
    html! {
        svg.bar aria-hidden="true" {
            rect class=(class) width=(css_percent(share)) height="100%" {}
            @if let Some(mark) = mark {
                @let x = css_percent(mark);
                line.mark x1=(x) x2=(x) y1="0" y2="100%" {}
            }
        }
    }
}

fn css_percent(share: f64) -> String {
    format!("{:.1}%", share.clamp(0.0, 1.0) * 100.0)
}

/// A share in words: `41 %`, `0.4 %`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || percent >= 9.95 {
        format!("{percent:.0} %")
    } else if percent < 0.1 {
        "< 0.1 %".to_owned()
    } else {
        format!("{percent:.1} %")
    }
}

/// A moment as the time that has passed since it, with the time of day behind it.
pub(super) fn ago(at: Moment, now: Moment, wall: WallTime) -> Markup {
    let shown = wall.show(at).to_string();
    html! { time datetime=(shown) title=(shown) { (span(now.since(at))) " ago" } }
}

/// A moment to come as the time that is left.
pub(super) fn ahead(at: Moment, now: Moment, wall: WallTime) -> Markup {
    let shown = wall.show(at).to_string();
    html! { time datetime=(shown) title=(shown) { "in " (span(at.since(now))) } }
}

/// A duration in its two largest units: `2 h 5 min`.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) if minutes < 10 => format!("{minutes} min {} s", seconds % 60),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// A name as people write it, without the final dot.
pub(super) fn bare(name: &impl ToString) -> String {
    let name = name.to_string();
    name.strip_suffix('.').unwrap_or(&name).to_owned()
}

/// A number of things: `1 region`, `3 regions`.
pub(super) fn count(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_true() {
        for (share, text) in [
            (0.0, "0 %"),
            (0.0004, "< 0.1 %"),
            (0.004, "0.4 %"),
            (0.0995, "10 %"),
            (0.414, "41 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(share), text);
        }
        for (seconds, text) in [
            (0, "0 s"),
            (65, "1 min 5 s"),
            (3599, "59 min"),
            (7500, "2 h 5 min"),
            (200_000, "2 d 7 h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(
            (count(1, "pool"), count(0, "pool")),
            ("1 pool".to_owned(), "0 pools".to_owned())
        );
    }
}
