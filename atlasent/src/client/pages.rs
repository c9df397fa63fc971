//! Lists that come page by page, read one item after the other.

use std::collections::{HashSet, VecDeque};

use futures_util::stream::{self, Stream};

use super::Client;
use crate::Error;
use crate::error::{Code, Failure};

/// How many pages without an item may follow each other: a filter may leave some empty.
const EMPTY_PAGES: u32 = 100;

/// What a list is asked for with.
pub(super) trait Paged: Send + 'static {
    type Item: Send + 'static;

    /// What the items are called in an error.
    const ITEMS: &'static str;

    /// Fetches one page, and where the next one starts.
    fn fetch(
        &self,
        client: &Client,
    ) -> impl Future<Output = Result<(Vec<Self::Item>, Option<String>), Error>> + Send;

    /// The same list from another page on.
    fn starting_at(self, cursor: String) -> Self;
}

/// All items from the page that `list` starts at to the last one, fetched as they are taken.
///
/// It ends with the first error. A cursor that comes back is one, since the server leads in a
/// circle, and so are more than 100 pages in a row without an item.
pub(super) fn items<L: Paged>(
    client: &Client,
    list: L,
) -> impl Stream<Item = Result<L::Item, Error>> + Send + use<L> {
    let pages = Pages {
        client: client.clone(),
        next: Some(list),
        fetched: VecDeque::new(),
        empty: 0,
        cursors: HashSet::new(),
    };
    stream::try_unfold(pages, async |mut pages: Pages<L>| {
        Ok(pages.next().await?.map(|item| (item, pages)))
    })
}

struct Pages<L: Paged> {
    client: Client,
    /// The page to fetch next.
    next: Option<L>,
    fetched: VecDeque<L::Item>,
    /// How many pages without an item came one after the other.
    empty: u32,
    cursors: HashSet<String>,
}

impl<L: Paged> Pages<L> {
    async fn next(&mut self) -> Result<Option<L::Item>, Error> {
        while self.fetched.is_empty() {
            let Some(list) = self.next.take() else {
                return Ok(None);
            };
            let (items, cursor) = list.fetch(&self.client).await?;
            self.fetched = items.into();
            if let Some(cursor) = cursor {
                self.empty = if self.fetched.is_empty() {
                    self.empty + 1
                } else {
                    0
                };
                let what = L::ITEMS;
                if !self.cursors.insert(cursor.clone()) {
                    return Err(lost(format!(
                        "the pages of {what} lead in a circle: a cursor came twice"
                    )));
                }
                if self.empty > EMPTY_PAGES {
                    return Err(lost(format!(
                        "the pages of {what} lead on and on, and there are no {what} on them"
                    )));
                }
                self.next = Some(list.starting_at(cursor));
            }
        }
        Ok(self.fetched.pop_front())
    }
}

fn lost(text: String) -> Error {
    Failure::new(Code::BadResponse, text).into()
}
