//! `#[boundary]`: parses an `impl` or a `trait`, validates each method, and expands.

mod args;
mod expand;
mod item;
mod valid;

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::{Error, Path, Type};

use crate::errors::Errors;
use crate::protect::item::Function;
use crate::protect::{fallback, permit};
use args::Args;
use item::{Item, Kind, Member};
use valid::Access;

/// Returns the item with the defaults in each `#[protect]`, or the errors and the item with a stub
/// in place of each method that has one.
pub(crate) fn expand(attribute: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = Args::parse(attribute, &mut errors);
    let mut item = match Item::parse(tokens, &mut errors) {
        Ok(item) => item,
        Err(error) => {
            errors.push(error);
            return fallback::stub_of_other(errors, &TokenStream::new());
        }
    };
    if let (Some(front), Kind::Impl(_)) = (&args.front, &item.kind) {
        errors.push(Error::new(
            front.span(),
            "`front` is for a trait, whose protected methods it holds: remove it here",
        ));
    }
    // Without the defaults, a method could be protected in another way than it says.
    let has_defaults = errors.is_empty();
    let mut boundary = Boundary::default();
    for member in std::mem::take(&mut item.members) {
        match member {
            Member::Function(function) => boundary.add(*function, &item, &args, has_defaults),
            Member::Other(tokens) => boundary.members.extend(tokens),
        }
    }
    let error = errors.finish().err().map(|error| error.to_compile_error());
    let Boundary {
        members,
        front,
        written,
        declared,
    } = boundary;
    let mut expanded = quote!(#error);
    expanded.extend(expand::item(&item, members));
    expanded.extend(expand::uses(&written));
    if let Kind::Trait(item) = &item.kind {
        if let Some(name) = &args.front {
            expanded.extend(expand::front(item, name, &front));
        }
        expanded.extend(expand::check_declared_permits(item, &declared, &args));
    }
    expanded
}

/// The methods of a boundary, as they expand.
#[derive(Default)]
struct Boundary {
    members: TokenStream,
    /// The methods that move to the front of a trait.
    front: TokenStream,
    /// The paths by which the user wrote `#[protect]`.
    written: Vec<Path>,
    /// The methods without a body to which callers pass a permit.
    declared: Vec<(Function, Type)>,
}

impl Boundary {
    /// Adds a method, or its errors and a stub.
    fn add(&mut self, mut function: Function, item: &Item, args: &Args, has_defaults: bool) {
        let access = valid::validate(&mut function, item, args);
        let is_protected = function.attrs.iter().any(valid::is_protect);
        let moves = is_protected && args.front.is_some() && matches!(item.kind, Kind::Trait(_));
        expand::record_paths(&function, &mut self.written);
        let tokens = match access {
            Ok(Access::Protected) if !has_defaults => stub(None, function),
            Err(error) => stub(Some(&error), function),
            Ok(Access::Protected) => {
                expand::merge_defaults(&mut function, args);
                written_again(&function)
            }
            Ok(Access::Permitted(ty)) => {
                expand::check_permit(&mut function, &ty, args);
                let tokens = written_again(&function);
                if function.body.is_none() {
                    self.declared.push((function, *ty));
                }
                tokens
            }
            Ok(Access::Open) => written_again(&function),
        };
        if moves {
            self.front.extend(tokens);
        } else {
            self.members.extend(tokens);
        }
    }
}

/// Returns a function as the user wrote it.
fn written_again(function: &Function) -> TokenStream {
    let head = function.before_body();
    let Some(body) = &function.body else {
        return quote!(#head;);
    };
    let (attrs, code) = (&body.inner_attrs, &body.tokens);
    let mut tokens = head;
    body.brace.surround(&mut tokens, |inside| {
        for attr in attrs {
            attr.to_tokens(inside);
        }
        code.to_tokens(inside);
    });
    tokens
}

/// Returns the error, and a method of the same signature that never returns.
fn stub(error: Option<&Error>, mut function: Function) -> TokenStream {
    let is_protected = function.attrs.iter().any(valid::is_protect);
    function
        .attrs
        .retain(|attr| !valid::is_protect(attr) && !valid::is_conditional(attr));
    // The parameter stays where callers pass it.
    let permit = is_protected
        .then(|| permit::take_from(&mut function.sig, &mut Errors::default()))
        .flatten();
    fallback::stub(error, &function, permit.as_ref())
}

#[cfg(test)]
mod tests;
