//! Names and values that may be, and those that may not.

use super::*;

#[test]
fn values_are_base64url_of_one_string() {
    let longest = "a".repeat(255);
    for good in ["A-Z_a-z0-9", longest.as_str()] {
        assert_eq!(Value::try_from(good.to_owned()).unwrap().as_str(), good);
    }
    let too_long = "a".repeat(256);
    for (bad, why) in [
        ("", BadValue::Empty),
        ("a b", BadValue::Character(' ')),
        ("a=", BadValue::Character('=')),
        ("a\"b", BadValue::Character('"')),
        ("ä", BadValue::Character('ä')),
        (too_long.as_str(), BadValue::TooLong(256)),
    ] {
        assert_eq!(Value::try_from(bad.to_owned()), Err(why));
    }
}

#[test]
fn a_wildcard_has_its_challenges_at_its_base() {
    for (text, name) in [
        ("www.gtm.example", "www.gtm.example."),
        ("WWW.gtm.example.", "www.gtm.example."),
        ("*.www.gtm.example", "www.gtm.example."),
    ] {
        let subject = Subject::parse(text).unwrap();
        assert_eq!(subject.to_string(), name);
        let owner = format!("_acme-challenge.{name}");
        assert_eq!(subject.owner().to_string(), owner);
        assert_eq!(
            Subject::try_from(String::from(subject.clone())),
            Ok(subject)
        );
    }
    let label = "a".repeat(60);
    let long = [label.as_str(); 4].join(".");
    for (text, why) in [
        ("", BadSubject::NotAName(NameError::Empty)),
        ("a..b", BadSubject::NotAName(NameError::EmptyLabel)),
        ("_ACME-challenge.gtm.example", BadSubject::HasLabel),
        (long.as_str(), BadSubject::TooLong),
    ] {
        assert_eq!(Subject::parse(text), Err(why), "{text}");
    }
}
