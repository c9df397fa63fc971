//! A connection, its transactions, and its statements.
//!
//! Nothing outlives a transaction: no setting and no lock. A pooler in between may therefore give
//! each transaction another connection to the server (PgBouncer: `pool_mode = transaction`). Behind
//! such a pooler statements have no names either: each is sent as text, with the types of its
//! parameters. On a connection of its own the server keeps prepared statements, which it need not
//! plan each time.

use std::sync::Arc;

use futures_util::future::{join, join3};
use tokio::task::JoinHandle;
use tokio_postgres::types::{FromSqlOwned, ToSql, Type};
use tokio_postgres::{CancelToken, Error, Row, RowStream, Statement};

/// A connection. Dropping it closes it at once, and cancels its statement.
pub(super) struct Session {
    pub(super) client: Client,
    connection: JoinHandle<()>,
    /// The statements that begin each transaction.
    begin: Arc<str>,
}

/// The client of a connection.
pub(super) struct Client {
    inner: tokio_postgres::Client,
    keeps_statements: bool,
}

/// A statement that is run again and again.
pub(super) enum Query {
    /// The server has it under a name.
    Named(Statement),
    /// It is sent each time.
    Text(&'static str),
}

impl Session {
    /// Creates a session whose transactions begin with these statements. `connection` is the task
    /// that drives the connection.
    pub(super) fn new(
        inner: tokio_postgres::Client,
        connection: JoinHandle<()>,
        keeps_statements: bool,
        begin: String,
    ) -> Self {
        let client = Client {
            inner,
            keeps_statements,
        };
        Self {
            client,
            connection,
            begin: begin.into(),
        }
    }

    /// Begins a transaction.
    pub(super) async fn begin(&self) -> Result<(), Error> {
        self.client.batch_execute(&self.begin).await
    }

    /// Runs a transaction in one round trip. `work` must send all its statements before it waits
    /// for an answer. A statement that fails turns the `COMMIT` behind it into a `ROLLBACK`.
    pub(super) async fn at_once<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        // Each future sends when it is first polled, which is in this order.
        let commit = self.client.batch_execute("COMMIT");
        let (begun, done, committed) = join3(self.begin(), work, commit).await;
        begun?;
        let done = done?;
        committed?;
        Ok(done)
    }

    /// Runs a transaction whose statements depend on each other's answers.
    pub(super) async fn transaction<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let (begun, done) = join(self.begin(), work).await;
        let done = begun.and(done);
        let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.client.batch_execute(end).await;
        let done = done?;
        ended?;
        Ok(done)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Client {
    /// Prepares a statement, if the server can keep it.
    pub(super) async fn prepare(&self, text: &'static str) -> Result<Query, Error> {
        if self.keeps_statements {
            return self.inner.prepare(text).await.map(Query::Named);
        }
        Ok(Query::Text(text))
    }

    /// Returns all rows.
    pub(super) async fn query(
        &self,
        query: &(impl AsQuery + ?Sized),
        parameters: &[&dyn Parameter],
    ) -> Result<Vec<Row>, Error> {
        match query.as_query() {
            QueryRef::Named(statement) => self.inner.query(statement, &untyped(parameters)).await,
            QueryRef::Text(text) => self.inner.query_typed(text, &typed(parameters)).await,
        }
    }

    /// Returns the only row, or `None`.
    pub(super) async fn query_opt(
        &self,
        text: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Option<Row>, Error> {
        self.inner.query_typed_opt(text, &typed(parameters)).await
    }

    /// Returns the first column of the only row.
    pub(super) async fn query_one_scalar<T: FromSqlOwned>(
        &self,
        text: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<T, Error> {
        let row = self.inner.query_typed_one(text, &typed(parameters)).await?;
        row.try_get(0)
    }

    /// Returns the rows as they arrive.
    pub(super) async fn query_stream(
        &self,
        text: &str,
        parameters: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
    ) -> Result<RowStream, Error> {
        self.inner.query_typed_raw(text, parameters).await
    }

    /// Returns how many rows were changed.
    pub(super) async fn execute(
        &self,
        query: &(impl AsQuery + ?Sized),
        parameters: &[&dyn Parameter],
    ) -> Result<u64, Error> {
        match query.as_query() {
            QueryRef::Named(statement) => self.inner.execute(statement, &untyped(parameters)).await,
            QueryRef::Text(text) => self.inner.execute_typed(text, &typed(parameters)).await,
        }
    }

    /// Runs statements without parameters.
    pub(super) async fn batch_execute(&self, statements: &str) -> Result<(), Error> {
        self.inner.batch_execute(statements).await
    }

    /// Returns whether the connection is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// Returns what cancels the connection's statement.
    pub(super) fn cancel_token(&self) -> CancelToken {
        self.inner.cancel_token()
    }
}

/// A statement by name or by text.
pub(super) trait AsQuery {
    /// Returns the statement.
    fn as_query(&self) -> QueryRef<'_>;
}

pub(super) enum QueryRef<'a> {
    Named(&'a Statement),
    Text(&'a str),
}

impl AsQuery for str {
    fn as_query(&self) -> QueryRef<'_> {
        QueryRef::Text(self)
    }
}

impl AsQuery for Query {
    fn as_query(&self) -> QueryRef<'_> {
        match self {
            Self::Named(statement) => QueryRef::Named(statement),
            Self::Text(text) => QueryRef::Text(text),
        }
    }
}

/// A parameter of a statement, with its type in SQL.
pub(super) trait Parameter: ToSql + Sync {
    /// Returns the type.
    fn kind(&self) -> Type;
}

impl<T: Typed + ToSql + Sync> Parameter for T {
    fn kind(&self) -> Type {
        T::KIND
    }
}

/// A Rust type that has one type in SQL.
pub(super) trait Typed {
    const KIND: Type;
    const ARRAY: Type;
}

macro_rules! typed {
    ($($rust:ty: $kind:ident, $array:ident;)+) => {
        $(impl Typed for $rust {
            const KIND: Type = Type::$kind;
            const ARRAY: Type = Type::$array;
        })+
    };
}

typed! {
    &str: TEXT, TEXT_ARRAY;
    String: TEXT, TEXT_ARRAY;
    &[u8]: BYTEA, BYTEA_ARRAY;
    Vec<u8>: BYTEA, BYTEA_ARRAY;
    i32: INT4, INT4_ARRAY;
    i64: INT8, INT8_ARRAY;
    bool: BOOL, BOOL_ARRAY;
}

impl<T: Typed> Typed for Option<T> {
    const KIND: Type = T::KIND;
    const ARRAY: Type = T::ARRAY;
}

/// PostgreSQL has one type for arrays of any dimension.
impl<T: Typed> Typed for Vec<T> {
    const KIND: Type = T::ARRAY;
    const ARRAY: Type = T::ARRAY;
}

fn untyped<'a>(parameters: &[&'a dyn Parameter]) -> Vec<&'a (dyn ToSql + Sync)> {
    parameters.iter().map(|parameter| *parameter as _).collect()
}

fn typed<'a>(parameters: &[&'a dyn Parameter]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    let typed = |parameter: &&'a dyn Parameter| (*parameter as _, parameter.kind());
    parameters.iter().map(typed).collect()
}
