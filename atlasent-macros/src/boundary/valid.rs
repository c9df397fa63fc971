//! Decides what each method of a boundary is: protected, open, or outside. Any other method is an
//! error at its name.

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::{
    Attribute, Error, FnArg, GenericArgument, GenericParam, Generics, Ident, LitStr, Meta, PatType,
    PathArguments, Type, Visibility,
};

use super::args::Args;
use super::item::{Item, Kind};
use crate::errors::Errors;
use crate::protect::item::Function;
use crate::runtime::mentions;

/// The types of `atlasent` that are an action of any name.
const ANY: [&str; 2] = ["AnyAction", "ProtectedAction"];

/// What a method of a boundary is.
pub(crate) enum Access {
    /// `#[protect]` obtains the permit.
    Protected,
    /// Callers pass the permit, in a parameter of this type.
    Permitted(Box<Type>),
    /// `#[open]` with a reason, or a private method that the boundary leaves out.
    Open,
}

/// Validates a method, and removes its `#[open]`.
pub(crate) fn validate(function: &mut Function, item: &Item, args: &Args) -> syn::Result<Access> {
    let mut errors = Errors::default();
    let is_open = take_open(&mut function.attrs, &mut errors);
    let protect = function.attrs.iter().find(|attr| is_protect(attr));
    let name = &function.sig.ident;
    let access = match (protect, is_open) {
        (Some(protect), true) => {
            errors.push(Error::new_spanned(
                protect.path(),
                format!("`{name}` is protected and open: remove `#[protect]` or `#[open]`"),
            ));
            Access::Protected
        }
        (Some(_), false) => {
            if let Kind::Trait(item) = &item.kind {
                errors.take(check_in_trait(function, &item.ident, args));
            }
            Access::Protected
        }
        (None, true) => Access::Open,
        (None, false) => {
            if let Some(ty) = permit_type(function, item) {
                Access::Permitted(Box::new(ty.clone()))
            } else {
                if errors.is_empty() && is_in_boundary(function, item, args) {
                    errors.push(unprotected(function, item));
                }
                Access::Open
            }
        }
    };
    errors.finish()?;
    Ok(access)
}

/// Whether an attribute is `#[protect]`, by whatever path.
pub(crate) fn is_protect(attr: &Attribute) -> bool {
    let last = attr.path().segments.last();
    last.is_some_and(|last| last.ident == "protect")
}

/// Whether an attribute is `#[cfg_attr(…, protect(…))]` or `#[cfg_attr(…, open(…))]`.
pub(crate) fn is_conditional(attr: &Attribute) -> bool {
    match &attr.meta {
        Meta::List(list) if list.path.is_ident("cfg_attr") => {
            mentions(&list.tokens, "protect") || mentions(&list.tokens, "open")
        }
        _ => false,
    }
}

/// Whether a method has to be protected or open.
fn is_in_boundary(function: &Function, item: &Item, args: &Args) -> bool {
    let is_public = match &function.vis {
        Visibility::Public(_) => true,
        Visibility::Restricted(restricted) => !restricted.path.is_ident("self"),
        Visibility::Inherited => false,
    };
    args.all || is_public || !item.kind.is_inherent_impl()
}

/// Builds the error for a method that is neither protected nor open.
fn unprotected(function: &Function, item: &Item) -> Error {
    let name = &function.sig.ident;
    let message = if function.attrs.iter().any(is_conditional) {
        format!(
            "`{name}` is protected under a condition only: write `#[protect]` without `cfg_attr`, or two methods, \
             each with a `#[cfg]`"
        )
    } else if permit_parameters(function, item).next().is_some() {
        format!(
            "`{name}` is protected under a condition only: write the permit parameter without `cfg`, or two \
             methods, each with a `#[cfg]`"
        )
    } else if matches!(item.kind, Kind::Trait(_)) && function.body.is_none() {
        format!(
            "an implementation of `{name}` could do its work without a permit: add a parameter \
             `permit: Permit<A>`, where `A` is the action, or write `#[open(\"why it needs no permit\")]`"
        )
    } else {
        format!(
            "`{name}` is neither protected nor open: write `#[protect(action = \"...\")]` above it, or \
             `#[open(\"why it needs no permit\")]`"
        )
    };
    Error::new(name.span(), message)
}

/// Checks a `#[protect]` method of a trait, which implementations must not be able to override.
fn check_in_trait(function: &Function, item: &Ident, args: &Args) -> syn::Result<()> {
    let name = &function.sig.ident;
    if function.body.is_none() {
        return Err(Error::new(
            name.span(),
            format!(
                "`{name}` has no body to protect: remove `#[protect]`, and add a parameter `permit: Permit<A>`, \
                 where `A` is the action, so that no implementation runs without a permit"
            ),
        ));
    }
    if args.front.is_none() {
        return Err(Error::new(
            name.span(),
            format!(
                "an implementation of `{item}` could override `{name}` without protection: write \
                 `#[boundary(front = Protected{item})]`, which moves `{name}` to a trait of that name, where no \
                 implementation can override it"
            ),
        ));
    }
    Ok(())
}

/// Removes every `#[open]`, and returns whether there was one. One without a reason is an error.
fn take_open(attrs: &mut Vec<Attribute>, errors: &mut Errors) -> bool {
    let mut found = false;
    attrs.retain(|attr| {
        if !attr.path().is_ident("open") {
            return true;
        }
        if found {
            errors.push(Error::new_spanned(
                &attr.meta,
                "`#[open]` is given twice: keep one",
            ));
        }
        found = true;
        let reason = attr.parse_args::<LitStr>();
        if !reason.is_ok_and(|reason| !reason.value().trim().is_empty()) {
            errors.push(Error::new_spanned(
                &attr.meta,
                "`#[open]` needs a reason: write `#[open(\"why it needs no permit\")]`",
            ));
        }
        false
    });
    found
}

/// Returns the type of the parameter by which callers pass a permit: `Permit<A>`, by value.
///
/// A parameter with a `#[cfg]` does not count, because callers pass no permit when its condition is
/// false.
fn permit_type<'a>(function: &'a Function, item: &Item) -> Option<&'a Type> {
    let mut permits = permit_parameters(function, item);
    permits
        .find(|parameter| !parameter.attrs.iter().any(is_cfg))
        .map(|parameter| &*parameter.ty)
}

/// Whether an attribute can remove a method or a parameter from the compiled code.
pub(crate) fn is_cfg(attr: &Attribute) -> bool {
    attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr")
}

/// Returns the parameters of type `Permit<A>`, where `A` is one action. A permit for any action
/// protects nothing.
fn permit_parameters<'a>(function: &'a Function, item: &Item) -> impl Iterator<Item = &'a PatType> {
    function.sig.inputs.iter().filter_map(move |input| {
        let FnArg::Typed(parameter) = input else {
            return None;
        };
        let Type::Path(path) = ungrouped(&parameter.ty) else {
            return None;
        };
        let last = path.path.segments.last()?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else {
            return None;
        };
        let Some(GenericArgument::Type(action)) = arguments.args.first() else {
            return None;
        };
        let is_permit = last.ident == "Permit" && is_one_action(action, function, item);
        is_permit.then_some(parameter)
    })
}

/// Whether the action of a permit is the same for all callers of a method.
///
/// For `fn run<T>(&self)` in `impl<B> Bank<B>`:
///
/// | action | is one? | because |
/// |---|---|---|
/// | `Wire`, `bank::Wire`, `Wire<T>` | yes | the type names its action |
/// | `B`, `B::Action`, `Self::Action` | yes | the type of `self` fixes it |
/// | `AnyAction`, `ProtectedAction` | no | each value has a name of its own |
/// | `T`, `T::Action`, `<T as Tool>::Action` | no | the caller chooses `T` |
/// | `B::Action<T>`, `<Bank as Tool<T>>::Action` | no | an associated type can be `T` itself |
/// | `impl Action`, `&Wire`, `(Wire,)` | no | it is a parameter without a name, or no action |
fn is_one_action(action: &Type, function: &Function, item: &Item) -> bool {
    let Type::Path(action) = ungrouped(action) else {
        return false;
    };
    let segments = &action.path.segments;
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return false;
    };
    let chosen = chosen_parameters(function, item);
    if ANY.iter().any(|any| last.ident == any) || chosen.contains(&&first.ident) {
        return false;
    }
    let mut of_item = parameters(item.kind.generics());
    let is_associated = action.qself.is_some()
        || (segments.len() > 1
            && (first.ident == "Self" || of_item.any(|parameter| *parameter == first.ident)));
    let tokens = action.to_token_stream();
    let mentions_chosen = |parameter: &&Ident| mentions(&tokens, &parameter.to_string());
    !(is_associated && chosen.iter().any(mentions_chosen))
}

/// Returns the parameters that the caller of a method chooses: those of the method, and those of an
/// `impl` that the type of `self` does not fix.
///
/// | method | parameters |
/// |---|---|
/// | `fn run<T>(&self)` in `impl<B> Bank<B>` | `T` |
/// | `fn run<T>()` in `impl<B> Bank<B>` | `T`, `B` |
/// | `fn run(&self)` in `impl<B> Run<B> for Bank` | `B` |
/// | `fn run<T>(&self)` in `trait Run<B>` | `T`: the implementation chooses `B` |
fn chosen_parameters<'a>(function: &'a Function, item: &'a Item) -> Vec<&'a Ident> {
    let mut chosen: Vec<&Ident> = parameters(&function.sig.generics).collect();
    if let Kind::Impl(item) = &item.kind {
        let fixed = match function.sig.receiver() {
            Some(_) => item.self_ty.to_token_stream(),
            None => TokenStream::new(),
        };
        let is_open = |parameter: &&Ident| !mentions(&fixed, &parameter.to_string());
        chosen.extend(parameters(&item.generics).filter(is_open));
    }
    chosen
}

/// Returns the names of type and constant parameters.
fn parameters(generics: &Generics) -> impl Iterator<Item = &Ident> {
    generics
        .params
        .iter()
        .filter_map(|parameter| match parameter {
            GenericParam::Type(parameter) => Some(&parameter.ident),
            GenericParam::Const(parameter) => Some(&parameter.ident),
            GenericParam::Lifetime(_) => None,
        })
}

/// Returns a type that comes through a `macro_rules!` macro or in parentheses, without them.
fn ungrouped(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => ungrouped(&group.elem),
        Type::Paren(paren) => ungrouped(&paren.elem),
        other => other,
    }
}
