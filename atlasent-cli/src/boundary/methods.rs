//! The methods that clippy disallows outside of protected code: named groups of them, and paths of
//! the user's own.

use std::fmt::Write as _;

/// What each reason ends with.
const ADVICE: &str = "move the call into the body of a function with `#[protect]`";

/// An entry of `disallowed-methods`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Method {
    pub(crate) path: String,
    reason: String,
    /// Whether clippy stays silent where the path does not exist: another version of the crate, or
    /// one without a feature, may lack it.
    is_optional: bool,
}

impl Method {
    /// Returns a method that the user names. Clippy warns if its path does not exist.
    pub(crate) fn from_path(path: &str, reason: Option<&str>) -> Self {
        let reason = reason.map_or_else(|| format!("needs a permit: {ADVICE}"), str::to_owned);
        Self {
            path: path.to_owned(),
            reason,
            is_optional: false,
        }
    }

    /// Returns the entry as an inline table.
    pub(crate) fn inline(&self) -> String {
        format!("{{ {} }}", self.members().join(", "))
    }

    /// Returns the entry as the lines of a table.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.members()
    }

    fn members(&self) -> Vec<String> {
        let text = |key: &str, value: &str| format!("{key} = {}", quoted(value));
        let mut members = vec![text("path", &self.path), text("reason", &self.reason)];
        if self.is_optional {
            members.push("allow-invalid = true".to_owned());
        }
        members
    }
}

/// A named group of methods.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    /// What a call does: the start of the reason.
    does: &'static str,
    /// The methods of each module or type.
    methods: &'static [(&'static str, &'static [&'static str])],
}

impl Group {
    /// Returns the group's methods, with their reason.
    pub(crate) fn methods(&self, reason: Option<&str>) -> Vec<Method> {
        let reason = reason.map_or_else(|| format!("{}: {ADVICE}", self.does), str::to_owned);
        let paths = self.methods.iter().flat_map(|(owner, names)| {
            let path = move |name: &&str| format!("{owner}::{name}");
            names.iter().map(path)
        });
        let method = |path: String| Method {
            is_optional: !path.starts_with("std::"),
            reason: reason.clone(),
            path,
        };
        paths.map(method).collect()
    }
}

/// Returns the group with this name.
pub(crate) fn group(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name)
}

/// Returns the table of the groups for the command's help.
pub(crate) fn groups_help() -> String {
    let mut help = "Groups:\n".to_owned();
    for group in &GROUPS {
        let mut crates: Vec<&str> = Vec::new();
        for (owner, _) in group.methods {
            let name = owner.split("::").next().unwrap_or(owner);
            if !crates.contains(&name) {
                crates.push(name);
            }
        }
        let _ = writeln!(
            help,
            "  {:8} {} ({})",
            group.name,
            group.does,
            crates.join(", ")
        );
    }
    help
}

/// The groups, by name.
pub(crate) const GROUPS: [Group; 4] = [
    Group {
        name: "files",
        does: "changes files",
        methods: &[
            ("std::fs", FILE_FUNCTIONS),
            ("std::fs::File", &["create", "create_new"]),
            // Without one of the two, a file is opened for reading.
            ("std::fs::OpenOptions", &["append", "write"]),
            ("tokio::fs", FILE_FUNCTIONS),
            ("tokio::fs::File", &["create", "create_new"]),
            ("tokio::fs::OpenOptions", &["append", "write"]),
        ],
    },
    Group {
        name: "network",
        does: "reaches the network",
        methods: &[
            ("std::net::TcpStream", &["connect", "connect_timeout"]),
            ("std::net::UdpSocket", &["connect", "send_to"]),
            ("tokio::net::TcpSocket", &["connect"]),
            ("tokio::net::TcpStream", &["connect"]),
            ("tokio::net::UdpSocket", &["connect", "send_to"]),
            ("hyper::client::conn::http1::SendRequest", &["send_request"]),
            ("hyper::client::conn::http2::SendRequest", &["send_request"]),
            ("hyper_util::client::legacy::Client", &["get", "request"]),
            ("reqwest", &["get"]),
            ("reqwest::Client", &["execute"]),
            ("reqwest::RequestBuilder", &["send"]),
            ("reqwest::blocking", &["get"]),
            ("reqwest::blocking::Client", &["execute"]),
            ("reqwest::blocking::RequestBuilder", &["send"]),
            ("ureq", &["run"]),
            (
                "ureq::RequestBuilder",
                &["call", "send", "send_empty", "send_form", "send_json"],
            ),
        ],
    },
    Group {
        name: "process",
        does: "starts a process",
        methods: &[
            ("std::process::Command", &["new"]),
            ("tokio::process::Command", &["new"]),
            ("async_process::Command", &["new"]),
            ("duct", &["cmd"]),
        ],
    },
    Group {
        name: "sql",
        does: "runs SQL",
        methods: &[
            (
                "sqlx",
                &[
                    "query",
                    "query_as",
                    "query_as_with",
                    "query_scalar",
                    "query_scalar_with",
                    "query_with",
                    "raw_sql",
                ],
            ),
            ("sqlx::QueryBuilder", &["new", "with_arguments"]),
            (
                "sqlx::Executor",
                &[
                    "execute",
                    "execute_many",
                    "fetch",
                    "fetch_all",
                    "fetch_many",
                    "fetch_one",
                    "fetch_optional",
                ],
            ),
            ("tokio_postgres::Client", POSTGRES_METHODS),
            (
                "tokio_postgres::Client",
                &[
                    "query_one_scalar",
                    "query_opt_scalar",
                    "query_scalar",
                    "simple_query_raw",
                ],
            ),
            ("tokio_postgres::Transaction", POSTGRES_METHODS),
            ("postgres::Client", POSTGRES_METHODS),
            ("postgres::Transaction", POSTGRES_METHODS),
            (
                "rusqlite::Connection",
                &[
                    "execute",
                    "execute_batch",
                    "prepare",
                    "prepare_cached",
                    "prepare_with_flags",
                    "query_one",
                    "query_row",
                    "query_row_and_then",
                ],
            ),
            ("diesel", &["sql_query"]),
            (
                "diesel::RunQueryDsl",
                &[
                    "execute",
                    "first",
                    "get_result",
                    "get_results",
                    "load",
                    "load_iter",
                ],
            ),
        ],
    },
];

/// The functions of `std::fs` and `tokio::fs` that change files.
const FILE_FUNCTIONS: &[&str] = &[
    "copy",
    "create_dir",
    "create_dir_all",
    "hard_link",
    "remove_dir",
    "remove_dir_all",
    "remove_file",
    "rename",
    "set_permissions",
    "write",
];

/// The methods that clients and transactions of both crates have for sending statements.
const POSTGRES_METHODS: &[&str] = &[
    "batch_execute",
    "copy_in",
    "copy_out",
    "execute",
    "execute_raw",
    "execute_typed",
    "prepare",
    "prepare_typed",
    "query",
    "query_one",
    "query_opt",
    "query_raw",
    "query_typed",
    "query_typed_one",
    "query_typed_opt",
    "query_typed_raw",
    "simple_query",
];

/// Returns a TOML string. The text has no control characters: the arguments are checked.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}
