//! The fields of a page's address.

use url::form_urlencoded;

/// The fields behind the question mark, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads the query of an address. Browsers send every field of a form, so empty ones count as
    /// left out.
    pub(super) fn new(query: Option<&str>) -> Fields {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned();
        Fields(
            pairs
                .filter(|(_, value)| !value.trim().is_empty())
                .collect(),
        )
    }

    /// The first value of a field, without the blanks around it.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// Every value of a field.
    pub(super) fn all<'f>(&'f self, key: &str) -> impl Iterator<Item = &'f str> {
        let own = self.0.iter().filter(move |(name, _)| name == key);
        own.map(|(_, value)| value.trim())
    }

    /// The address `path` with these fields, but with `key` as `value`, or without it.
    pub(super) fn with(&self, path: &str, key: &str, value: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.0.iter().filter(|(name, _)| name != key) {
            query.append_pair(name, value);
        }
        if let Some(value) = value {
            query.append_pair(key, value);
        }
        match query.finish().as_str() {
            "" => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_written() {
        let fields = Fields::new(Some("q=+www&down=a&down=b&state=&page=2"));
        assert_eq!(fields.get("q"), Some("www"));
        assert_eq!(fields.get("state"), None);
        assert_eq!(fields.all("down").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(
            fields.with("/x", "page", Some("3")),
            "/x?q=+www&down=a&down=b&page=3"
        );
        assert_eq!(Fields::default().with("/x", "page", None), "/x");
    }
}
