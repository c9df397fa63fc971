//! Streams the items of a list that the server sends page by page.

use std::collections::{HashSet, VecDeque};

use futures_util::stream::{self, Stream};

use super::Client;
use crate::Error;
use crate::error::{Code, Failure};

/// The maximum number of consecutive pages without items. A filter may leave some pages empty.
const MAX_EMPTY_PAGES: u32 = 100;

/// A filter that selects the items of a list, and its first page.
pub(super) trait PagedFilter: Send + 'static {
    type Item: Send + 'static;

    /// The plural name of the items, for errors.
    const ITEMS: &'static str;

    /// Fetches one page. Returns its items and the cursor of the next page.
    fn fetch(
        &self,
        client: &Client,
    ) -> impl Future<Output = Result<(Vec<Self::Item>, Option<String>), Error>> + Send;

    /// Returns the same filter, starting at the page of this cursor.
    fn starting_at(self, cursor: String) -> Self;
}

/// Streams all items, from the filter's page to the last one. Each page is fetched when its first
/// item is needed.
///
/// The stream ends with the first error. A repeated cursor, and more than 100 empty pages in a row,
/// are errors.
pub(super) fn item_stream<L: PagedFilter>(
    client: &Client,
    list: L,
) -> impl Stream<Item = Result<L::Item, Error>> + Send + use<L> {
    let pages = PageReader {
        client: client.clone(),
        next: Some(list),
        fetched: VecDeque::new(),
        empty: 0,
        cursors: HashSet::new(),
    };
    stream::try_unfold(pages, async |mut pages: PageReader<L>| {
        Ok(pages.next().await?.map(|item| (item, pages)))
    })
}

struct PageReader<L: PagedFilter> {
    client: Client,
    /// The page to fetch next.
    next: Option<L>,
    fetched: VecDeque<L::Item>,
    /// The number of pages without items since the last item.
    empty: u32,
    /// The cursors of all pages so far.
    cursors: HashSet<String>,
}

impl<L: PagedFilter> PageReader<L> {
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
                    return Err(bad_pages(format!(
                        "the pages of {what} form a cycle: the server sent a cursor twice"
                    )));
                }
                if self.empty > MAX_EMPTY_PAGES {
                    return Err(bad_pages(format!(
                        "more than {MAX_EMPTY_PAGES} pages in a row have no {what}"
                    )));
                }
                self.next = Some(list.starting_at(cursor));
            }
        }
        Ok(self.fetched.pop_front())
    }
}

fn bad_pages(text: String) -> Error {
    Failure::new(Code::BadResponse, text).into()
}
