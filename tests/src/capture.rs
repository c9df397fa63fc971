//! Captures the spans and events of the code under test, for each thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

thread_local! {
    static SEEN: RefCell<Option<Vec<Seen>>> = const { RefCell::new(None) };
}

/// Runs `body`, and returns its result with the spans and events of this thread, in order.
pub fn capture<T>(body: impl FnOnce() -> T) -> (T, Vec<Seen>) {
    // One subscriber serves the whole process. With a subscriber for each thread, a callsite that
    // is first reached on a thread without one may stay disabled everywhere.
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Capture);
        let installed = tracing::subscriber::set_global_default(subscriber);
        assert!(installed.is_ok(), "something else installed a subscriber");
    });
    SEEN.set(Some(Vec::new()));
    let result = body();
    (result, SEEN.take().unwrap_or_default())
}

/// A span that was opened or added to, or an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The kind of entry.
    pub kind: Kind,
    /// The name of the span, or the message of the event.
    pub name: String,
    /// The target.
    pub target: String,
    /// The level.
    pub level: Level,
    /// The fields as text, without the message.
    pub fields: BTreeMap<String, String>,
    /// The fields of the span around the event.
    pub span: Option<BTreeMap<String, String>>,
}

/// The kind of a captured entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A span was opened.
    Span,
    /// Fields were added to a span.
    Record,
    /// An event.
    Event,
}

impl Seen {
    /// Returns the text of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// Returns the outcomes of the executions whose closing events were captured, in order.
#[must_use]
pub fn logged_outcomes(seen: &[Seen]) -> Vec<&str> {
    seen.iter()
        .filter(|seen| seen.kind == Kind::Event && seen.name == "executed")
        .filter_map(|seen| seen.field("outcome"))
        .collect()
}

struct Capture;

#[derive(Clone, Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Capture {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields.clone());
        }
        let metadata = attributes.metadata();
        keep(Seen {
            kind: Kind::Span,
            name: metadata.name().to_owned(),
            target: metadata.target().to_owned(),
            level: *metadata.level(),
            fields: fields.0,
            span: None,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
        let mut fields = Fields::default();
        values.record(&mut fields);
        keep(Seen {
            kind: Kind::Record,
            name: span.name().to_owned(),
            target: span.metadata().target().to_owned(),
            level: *span.metadata().level(),
            fields: fields.0,
            span: None,
        });
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = context.event_span(event);
        let metadata = event.metadata();
        keep(Seen {
            kind: Kind::Event,
            name: fields.0.remove("message").unwrap_or_default(),
            target: metadata.target().to_owned(),
            level: *metadata.level(),
            fields: fields.0,
            span: span.and_then(|span| span.extensions().get::<Fields>().cloned().map(|f| f.0)),
        });
    }
}

fn keep(seen: Seen) {
    SEEN.with_borrow_mut(|list| {
        if let Some(list) = list {
            list.push(seen);
        }
    });
}
