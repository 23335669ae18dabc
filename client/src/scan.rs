use bytes::Bytes;
use futures::stream::{Stream, try_unfold};
use kv_proto::v1::{ScanPage, ScanRequest, pipeline_request::Request, pipeline_response::Response};

use crate::{Client, Entry, Error, Result, client::unexpected};

/// Which keys to read, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan(pub(crate) ScanRequest);

/// Keys of one shard at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In the order of the scan.
    pub entries: Vec<Entry>,
    /// The shard.
    pub shard: u64,
    /// The revision of the shard at which all of them were read.
    pub revision: u64,
    /// Where the scan goes on; empty after the last page.
    pub resume: Bytes,
}

/// A scan that is under way. Each page is a request of its own, so that an error in between costs nothing.
#[derive(Clone, Debug)]
pub struct ScanPages {
    client: Client,
    request: ScanRequest,
    /// Routes the next page: a key near its first one.
    near: Bytes,
    done: bool,
}

impl Scan {
    /// All keys.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The keys of `[start, end)`; an empty end means "to the last key".
    pub fn range(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self(ScanRequest { start: start.into(), end: end.into(), ..ScanRequest::default() })
    }

    /// The keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        Self(ScanRequest { prefix: prefix.into(), ..ScanRequest::default() })
    }

    /// At most so many keys in all; 0: no limit.
    #[must_use]
    pub fn limit(mut self, keys: u64) -> Self {
        self.0.limit = keys;
        self
    }

    /// From the last key to the first.
    #[must_use]
    pub fn reverse(mut self) -> Self {
        self.0.reverse = true;
        self
    }

    /// Leaves the values empty.
    #[must_use]
    pub fn keys_only(mut self) -> Self {
        self.0.keys_only = true;
        self
    }

    /// At most so many keys a page; 0: the node's limit.
    #[must_use]
    pub fn page_keys(mut self, keys: u32) -> Self {
        self.0.page_keys = keys;
        self
    }

    /// Asks every copy instead of relying on the lease.
    #[must_use]
    pub fn confirmed(mut self) -> Self {
        self.0.confirmed = true;
        self
    }

    /// Goes on after the page with this [`Page::resume`]. The limit counts from there.
    #[must_use]
    pub fn resume(mut self, resume: impl Into<Bytes>) -> Self {
        self.0.resume = resume.into();
        self
    }
}

impl Client {
    /// Begins a scan; nothing is sent before the first page is asked for.
    #[must_use]
    pub fn scan(&self, scan: Scan) -> ScanPages {
        let Scan(request) = scan;
        let near = if !request.prefix.is_empty() { request.prefix.clone() } else { request.start.clone() };
        ScanPages { client: self.clone(), request, near, done: false }
    }
}

impl ScanPages {
    /// The next page; `None` after the last one. After an error it can be called again, and goes on where it was.
    ///
    /// # Errors
    /// See [`Error`]; never [`Error::OutcomeUnknown`].
    pub async fn next_page(&mut self) -> Result<Option<Page>> {
        if self.done {
            return Ok(None);
        }
        let page = match self.client.read(&self.near, Request::Scan(self.request.clone())).await? {
            Response::Scan(page) => page,
            other => return Err(Error::Fault(unexpected(&other))),
        };
        let ScanPage { entries, shard, revision, resume } = page;
        if entries.is_empty() && !resume.is_empty() && resume == self.request.resume {
            return Err(Error::Fault("the scan does not advance".into()));
        }
        if let Some(last) = entries.last() {
            self.near = last.key.clone();
        }
        let got = entries.len() as u64;
        if self.request.limit > 0 {
            self.request.limit = self.request.limit.saturating_sub(got);
            self.done = self.request.limit == 0;
        }
        self.done |= resume.is_empty();
        self.request.resume = resume.clone();
        Ok(Some(Page { entries: entries.into_iter().map(Entry::from).collect(), shard, revision, resume }))
    }

    /// All pages to come. Ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Page>> {
        try_unfold(self, |mut pages| async move { Ok(pages.next_page().await?.map(|page| (page, pages))) })
    }
}
