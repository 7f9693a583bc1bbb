//! Pages of long lists: so many entries after one that is named.

use serde::{Deserialize, Deserializer, de};

use super::Problem;

/// The number of entries on a page where nothing else is asked for.
const USUAL: u32 = 100;
/// The most entries on a page.
const MOST: u32 = 1000;

/// The number of entries on a page, 1 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit(u32);

impl Limit {
    /// The number.
    pub(super) fn get(self) -> usize {
        // It is a thousand at most.
        self.0 as usize
    }
}

impl Default for Limit {
    fn default() -> Limit {
        Limit(USUAL)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Limit, D::Error> {
        let number = u32::deserialize(deserializer)?;
        if (1..=MOST).contains(&number) {
            Ok(Limit(number))
        } else {
            Err(de::Error::custom(format!(
                "{number} is not a number from 1 to {MOST}"
            )))
        }
    }
}

/// A page of entries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page<T> {
    /// The entries.
    pub(super) entries: Vec<T>,
    /// The number of entries on all pages.
    pub(super) total: usize,
    /// The name of the last entry, where others follow it.
    pub(super) next: Option<String>,
}

/// The page of those of `all` that are to be kept; it begins after the one named `after`, kept or
/// not, or with the first.
///
/// # Errors
/// A problem where nothing has that name.
pub(super) fn page<T>(
    all: impl Iterator<Item = T>,
    after: Option<&str>,
    limit: Limit,
    name: impl Fn(&T) -> String,
    keep: impl Fn(&T) -> bool,
) -> Result<Page<T>, Problem> {
    let (mut entries, mut total) = (Vec::new(), 0);
    let (mut has_begun, mut has_more) = (after.is_none(), false);
    for entry in all {
        let is_after = has_begun;
        has_begun |= after.is_some_and(|after| name(&entry) == after);
        if !keep(&entry) {
            continue;
        }
        total += 1;
        match is_after {
            true if entries.len() < limit.get() => entries.push(entry),
            true => has_more = true,
            false => {}
        }
    }
    if let Some(after) = after.filter(|_| !has_begun) {
        let why = format!("there is no {after} in this list any more: begin anew");
        return Err(Problem::wrong("after", "unknown-name", why));
    }
    let next = entries.last().filter(|_| has_more).map(name);
    Ok(Page {
        entries,
        total,
        next,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another_and_the_last_has_none_behind_it() {
        let turn = |after, limit| {
            let all = ["a", "b", "x", "c", "d", "e"].into_iter();
            let name = |own: &&str| (*own).to_owned();
            page(all, after, Limit(limit), name, |own| *own != "x")
        };
        let first = turn(None, 2).unwrap();
        assert_eq!((first.entries, first.total), (vec!["a", "b"], 5));
        assert_eq!(first.next.as_deref(), Some("b"));
        // What is not kept any more still has its place.
        assert_eq!(turn(Some("x"), 1).unwrap().entries, ["c"]);
        let last = turn(Some("c"), 2).unwrap();
        assert_eq!((last.entries, last.next), (vec!["d", "e"], None));
        assert_eq!(turn(Some("e"), 2).unwrap().entries, Vec::<&str>::new());
        let problem = turn(Some("f"), 2).unwrap_err();
        assert_eq!(problem.document().field.as_deref(), Some("after"));
    }
}
