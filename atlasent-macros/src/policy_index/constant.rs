//! Quotes the checks of an action that a constant names. A macro does not see the constant's value,
//! so the expansion compares it, in constants of its own:
//!
//! ```text
//! const __atlasent_ValueName: Option<&'static str> = constant::Constant::new(names::DEPLOY).name();
//! const _: () = {
//!     const __atlasent_ValueProblem: constant::Problem =
//!         constant::unknown_action(__atlasent_ValueName, &["deploy", "look"], "the schema …");
//!     if __atlasent_ValueProblem.is_some() {
//!         panic!("{}", __atlasent_ValueProblem.text())
//!     }
//! };
//! // The same with `constant::misfit(__atlasent_ValueName, &[("look", "action `look` has no …")])`.
//! ```
//!
//! The macro knows the keys that the site gives, and so the errors of each action that the constant
//! could name. A table holds them, and the compiler looks the constant up. Errors about one key are
//! one table, whose constant is located at the key, since the compiler reports the panic there.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::Path;

use super::check::{Place, Problem};
use crate::runtime::{Runtime, SourceSpan};

/// What the constants of a site compare the name with.
#[derive(Default)]
pub(crate) struct ConstantChecks {
    /// The names of the actions that the schema declares.
    actions: Vec<String>,
    /// The end of the message about another name.
    advice: String,
    tables: Vec<Table>,
}

/// The errors at one place of the site, for each action that has one.
struct Table {
    place: Place,
    span: Span,
    /// Actions and messages.
    errors: Vec<(String, String)>,
}

impl ConstantChecks {
    pub(super) fn new(actions: impl Iterator<Item = String>, advice: String) -> Self {
        Self {
            actions: actions.collect(),
            advice,
            tables: Vec::new(),
        }
    }

    /// Adds a problem that the site has if the constant names `action`.
    pub(super) fn add(&mut self, action: &str, problem: Problem) {
        let error = (action.to_owned(), problem.message);
        let same = |table: &&mut Table| table.place == problem.place;
        match self.tables.iter_mut().find(same) {
            Some(table) => table.errors.push(error),
            None => self.tables.push(Table {
                place: problem.place,
                span: problem.span,
                errors: vec![error],
            }),
        }
    }
}

/// An action that a constant names, in an expansion.
#[derive(Clone, Copy)]
pub(crate) struct ConstantName<'a> {
    pub(crate) path: &'a Path,
    pub(crate) checks: Option<&'a ConstantChecks>,
}

impl ConstantName<'_> {
    /// Returns the name of the constant that holds the action's name, `None` for an action.
    pub(crate) fn value(runtime: &Runtime) -> Ident {
        runtime.local("ValueName", Span::mixed_site())
    }

    /// Returns the constants, which can be used in the scope of the runtime's import. Their errors
    /// are those of the compiler.
    pub(crate) fn items(self, runtime: &Runtime) -> TokenStream {
        let site = Span::mixed_site();
        let span = SourceSpan::from_tokens(self.path);
        let (atlasent, value, path) = (runtime.name(site), Self::value(runtime), self.path);
        let constant = runtime.call(
            span,
            "constant::Constant::new",
            None,
            quote_spanned!(site=> #path),
        );
        let invalid = quote_spanned!(site=> #atlasent::constant::invalid_name(#value));
        let invalid = assertion(span, runtime, &invalid);
        let checks = self.checks.map(|checks| checks.assertions(span, runtime));
        quote_spanned! {site=>
            #[allow(non_upper_case_globals)]
            const #value: ::core::option::Option<&'static ::core::primitive::str> = #constant.name();
            #invalid
            #checks
        }
    }
}

impl ConstantChecks {
    fn assertions(&self, name: SourceSpan, runtime: &Runtime) -> TokenStream {
        let site = Span::mixed_site();
        let (atlasent, value) = (runtime.name(site), ConstantName::value(runtime));
        let (actions, advice) = (&self.actions, &self.advice);
        let unknown = quote_spanned! {site=>
            #atlasent::constant::unknown_action(#value, &[#(#actions),*], #advice)
        };
        let mut assertions = assertion(name, runtime, &unknown);
        for table in &self.tables {
            let entries = table.errors.iter();
            let entries =
                entries.map(|(action, message)| quote_spanned!(site=> (#action, #message)));
            let misfit = quote_spanned! {site=>
                #atlasent::constant::misfit(#value, &[#(#entries),*])
            };
            let span = site.located_at(table.span);
            let span = SourceSpan {
                first: span,
                last: span,
            };
            assertions.extend(assertion(span, runtime, &misfit));
        }
        assertions
    }
}

/// Returns a constant that panics at `span` with the text of a problem. It binds no variable, which
/// could be a constant of the user.
fn assertion(span: SourceSpan, runtime: &Runtime, problem: &TokenStream) -> TokenStream {
    let site = Span::mixed_site();
    let atlasent = runtime.name(site);
    let name = runtime.local("ValueProblem", site);
    let text = span.parenthesized(quote_spanned!(site=> "{}", #name.text()));
    let panic = quote_spanned!(span.first=> ::core::panic! #text);
    quote_spanned! {site=>
        const _: () = {
            #[allow(non_upper_case_globals)]
            const #name: #atlasent::constant::Problem = #problem;
            if #name.is_some() {
                #panic
            }
        };
    }
}

/// For tests: the actions, and then one line for each error, place by place.
#[cfg(test)]
impl std::fmt::Display for ConstantChecks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.actions.join(", "))?;
        for (action, message) in self.tables.iter().flat_map(|table| &table.errors) {
            writeln!(f, "{action}: {message}")?;
        }
        Ok(())
    }
}
