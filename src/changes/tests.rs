use super::*;

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn a_change_is_read_back_as_it_was_written() {
    let change = Change {
        number: 17,
        event: Event::Endpoint(EndpointChange {
            target: text("192.0.2.1"),
            check: text("web"),
            change: EndpointEvent::Health {
                old: Verdict::Up,
                new: Verdict::Down,
                cause: Cause::Failed {
                    reason: crate::health::FailReason::ConnectRefused,
                    fails: 3,
                },
                regions: vec![text("dublin")],
                services: 2,
            },
        }),
    };
    let json = serde_json::to_string(&change).unwrap();
    assert!(
        json.contains(r#""number":17,"endpoint":{"target":"192.0.2.1""#),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<Change>(&json).unwrap(), change);
}
