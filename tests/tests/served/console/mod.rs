//! The console over HTTP: who gets in, what pages show and refuse, and their headers.

mod budgets;
mod csrf;
mod headers;
mod hostile;
mod isolation;
mod issuer_login;
mod login;
mod pages;
mod sessions;
mod support;
mod votes;
