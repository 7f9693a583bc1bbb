//! Pages of small worlds.

use super::*;
use crate::control::Events;
use crate::health::{FailReason, Outcome, Seen};
use crate::model::{Moment, RegionId, TargetId, WallTime};
use crate::publisher::{ProbeEvent, Publisher, View};
use std::time::Duration;

/// The world of the repository's own `meridian.toml`.
struct World {
    publisher: Publisher,
    view: Option<View>,
    now: Moment,
}

impl World {
    fn new() -> World {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let built = crate::loader::build(&root.join("meridian.toml"));
        let dataset = built.dataset.expect("the examples are good");
        let publisher = Publisher::new(Arc::new(dataset));
        let now = Moment(Duration::from_secs(1_800_000_000));
        let mut world = World {
            publisher,
            view: None,
            now,
        };
        let all = 0..world.config().targets.len();
        let all: Vec<TargetId> = all.map(TargetId::from_index).collect();
        world.probe(&all, Seen::Pass);
        world
            .publisher
            .handle(ProbeEvent::FirstRoundEnded, world.now);
        world
    }

    fn config(&self) -> Arc<crate::config::Config> {
        self.publisher.snapshot().dataset.config.clone()
    }

    /// Has every target of a region fail until it is down.
    fn lose(&mut self, region: RegionId) {
        let config = self.config();
        let pools = config.services.iter().flat_map(|service| &service.pools);
        let own = pools.filter(|pool| pool.region == region);
        let endpoints = own.flat_map(|pool| &pool.endpoints);
        let targets: Vec<TargetId> = endpoints.flat_map(|own| own.probes.clone()).collect();
        self.probe(&targets, Seen::Fail(FailReason::ConnectRefused));
    }

    /// Ten probes of each target, all with one outcome.
    fn probe(&mut self, targets: &[TargetId], seen: Seen) {
        for _ in 0..10 {
            self.now = self.now + Duration::from_secs(1);
            for target in targets {
                let outcome = ProbeEvent::Outcome {
                    generation: self.publisher.generation(),
                    target: *target,
                    outcome: Outcome::new(self.now, seen),
                };
                self.publisher.handle(outcome, self.now);
            }
        }
    }

    fn show(&mut self, page: impl Fn(Facts<'_>) -> Markup) -> String {
        let update = self.publisher.view_update(self.now);
        match &mut self.view {
            Some(view) => view.apply(update),
            None => self.view = View::first(update),
        }
        let view = self
            .view
            .clone()
            .expect("the first update tells everything");
        let present = Present {
            view: Arc::new(view),
            snapshot: self.publisher.snapshot(),
            now: self.now,
            wall: WallTime::default(),
        };
        let traffic = Readings::default().lately(&present.snapshot, self.now);
        page(Facts::new(&present, &traffic)).into_string()
    }
}

fn world_page(facts: Facts<'_>) -> Markup {
    let node = Node {
        not_ready: None,
        refused: None,
    };
    let shared = Shared::default();
    let service = world::busiest(facts).expect("a service by location");
    let painted = shared.painted(facts.snapshot, service);
    world::page(facts, &node, Some(&painted), &Events::default())
}

#[test]
fn the_world_page_tells_what_is_down_and_why() {
    let mut world = World::new();
    let before = world.show(world_page);
    assert!(!before.contains(" endpoints up"));
    let region = RegionId::from_index(0);
    let name = world.config().region_name(region).to_owned();
    assert!(before.contains(&format!("data-region=\"{name}\"")));
    world.lose(region);
    let after = world.show(world_page);
    assert!(
        after.contains(" endpoints up; the connection was refused"),
        "{after}"
    );
    assert!(after.contains("class=\"dot is-d"), "the map shows it too");
    assert!(after.contains("class=\"catch"), "catchments are painted");
}

#[test]
fn services_are_filtered_and_those_in_trouble_come_first() {
    let mut world = World::new();
    let all = world.show(|facts| services::page(facts, &Fields::default()));
    let count = |page: &str| page.matches("href=\"/ui/services/").count();
    assert_eq!(count(&all), world.config().services.len().min(50));
    world.lose(RegionId::from_index(0));
    let trouble = Fields::new(Some("state=trouble"));
    let page = world.show(|facts| services::page(facts, &trouble));
    assert!(count(&page) > 0 && count(&page) < count(&all));
    assert!(page.contains("partly up"));
    let none = Fields::new(Some("q=%3Cscript%3E"));
    let page = world.show(|facts| services::page(facts, &none));
    assert!(page.contains("No service is like that."));
    assert!(page.contains("value=\"&lt;script&gt;\""), "{page}");
    assert!(!page.contains("<script>"));
}

#[test]
fn the_page_of_a_service_has_its_endpoints_and_their_last_probes() {
    let mut world = World::new();
    let services = world.config();
    let mut services = services.services.iter();
    let checked = services.position(|own| !own.pools[0].endpoints[0].probes.is_empty());
    let id = ServiceId::from_index(checked.expect("a service with a check"));
    world.lose(RegionId::from_index(0));
    let page = world.show(|facts| services::one(facts, id));
    for pool in &world.config().services[id.index()].pools {
        for endpoint in &pool.endpoints {
            assert!(page.contains(&format!("data-endpoint=\"{}\"", endpoint.target)));
        }
    }
    assert!(page.contains("the connection was refused"), "{page}");
}

#[test]
fn why_tells_what_is_wrong_with_a_question_and_takes_assumptions() {
    let mut world = World::new();
    let name = world.config().services[0].name.to_string();
    let region = world
        .config()
        .region_name(RegionId::from_index(0))
        .to_owned();
    let ask = |world: &mut World, query: String| {
        world.show(|facts| why::page(facts, &Fields::new(Some(&query)), 1))
    };
    let page = ask(&mut world, format!("name={name}"));
    assert!(page.contains("Client: give an address"), "{page}");
    let page = ask(&mut world, format!("name={name}&client=x.y"));
    assert!(page.contains("role=\"alert\">Client: x.y"), "{page}");
    let page = ask(
        &mut world,
        format!("name={name}&client=192.0.2.1&down=nowhere"),
    );
    assert!(page.contains("role=\"alert\">Down: "), "{page}");
    let page = ask(
        &mut world,
        format!("name={name}&client=192.0.2.1&down={region}"),
    );
    assert!(page.contains("Assumed: "), "{page}");
    assert!(page.contains("class=\"taken\""), "{page}");
}

#[test]
fn a_loss_tells_who_moves() {
    let mut world = World::new();
    let region = world
        .config()
        .region_name(RegionId::from_index(0))
        .to_owned();
    let page = world.show(|facts| {
        let population = Population::of_addresses(&facts.snapshot.dataset);
        let fields = Fields::new(Some(&format!("loss={region}&demand=100")));
        losses::page(facts, &population, &fields)
    });
    assert!(page.contains(&format!("Without {region}: ")), "{page}");
    assert!(page.contains(">lost</span>"), "{page}");
}

/// Addresses change with the content, so that browsers may keep what they have.
#[test]
fn assets_have_addresses_that_change_with_their_content() {
    for name in [
        "style.css",
        "theme.js",
        "htmx.js",
        "dashboard.js",
        "icon.svg",
    ] {
        let path = assets::path(name);
        assert!(path.starts_with(&format!("/ui/assets/{name}?v=")));
        assert!(!path.ends_with("0000000000000000"), "{path}");
    }
}
