//! Quotes the registration of a site: a static that `atlasent::sites()` lists.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::{Expr, Ident, Lit, Path};

use crate::policy_index::ConstantName;
use crate::runtime::Runtime;

/// A `#[protect]` or a `#[derive(Action)]`.
pub(crate) struct Site {
    pub(crate) action: SiteAction,
    /// The function with `#[protect]`.
    pub(crate) function: Option<String>,
    pub(crate) scope: Option<String>,
    /// Whether the action was checked against a policy index.
    pub(crate) is_checked: bool,
}

/// The action of a site.
pub(crate) enum SiteAction {
    /// The name of a literal action.
    Name(String),
    /// A constant of the expansion holds the name. Where it holds none, the site's constant is an
    /// action of this type.
    Constant(String),
    /// The type of a typed action.
    Typed(String),
    /// A derived action, by its name and its type. Without a name, a constant of the expansion holds
    /// it.
    Derived(Option<String>, String),
}

impl Site {
    /// Returns the item that registers the site. It has to see the import of the runtime.
    pub(crate) fn register(&self, expansion: &Runtime) -> TokenStream {
        let site = Span::mixed_site();
        let runtime = expansion.name(site);
        let checked = self.is_checked;
        let some = |text: &dyn ToTokens| quote_spanned!(site=> ::core::option::Option::Some(#text));
        let none = || quote_spanned!(site=> ::core::option::Option::None);
        let optional = |text: &Option<String>| text.as_ref().map_or_else(none, |text| some(text));
        let (function, scope) = (optional(&self.function), optional(&self.scope));
        let mut checked = quote_spanned!(site=> #checked);
        let (action, type_name) = match &self.action {
            SiteAction::Name(name) => (some(name), none()),
            SiteAction::Typed(ty) => (none(), some(ty)),
            SiteAction::Derived(Some(name), ty) => (some(name), some(ty)),
            SiteAction::Derived(None, ty) => {
                (ConstantName::value(expansion).into_token_stream(), some(ty))
            }
            SiteAction::Constant(ty) => {
                let constant = ConstantName::value(expansion);
                checked = quote_spanned!(site=> #checked && #constant.is_some());
                let ty = quote_spanned!(site=> #runtime::constant::type_name(#constant, #ty));
                (constant.into_token_stream(), ty)
            }
        };
        quote_spanned! {site=>
            #runtime::inventory::submit! {
                #runtime::SiteData {
                    action: #action,
                    type_name: #type_name,
                    function: #function,
                    module: ::core::module_path!(),
                    file: ::core::file!(),
                    line: ::core::line!(),
                    scope: #scope,
                    checked: #checked,
                }
            }
        }
    }
}

/// Returns the name of the type that a typed action starts with: `Transfer` of
/// `bank::Transfer { amount }`, `Transfer::new(amount)`, `Transfer(amount)` and `Transfer`. Returns
/// the tokens of another expression.
pub(crate) fn type_name(action: &Expr) -> String {
    let path = match action {
        Expr::Struct(value) => Some(&value.path),
        Expr::Path(value) => Some(&value.path),
        Expr::Call(call) => match &*call.func {
            Expr::Path(function) => Some(&function.path),
            _ => None,
        },
        // `Transfer::new(amount)?.urgent()` is a `Transfer` in most cases.
        Expr::MethodCall(call) => return type_name(&call.receiver),
        Expr::Try(tried) => return type_name(&tried.expr),
        Expr::Group(group) => return type_name(&group.expr),
        Expr::Paren(paren) => return type_name(&paren.expr),
        _ => None,
    };
    let name = path.and_then(last_type);
    name.map_or_else(|| text(action), Ident::to_string)
}

/// Returns the name of the type that a path ends in, or the path.
pub(crate) fn type_name_of_path(path: &Path) -> String {
    last_type(path).map_or_else(|| path.to_token_stream().to_string(), Ident::to_string)
}

/// Returns the last name of a path that is a type's: not that of the constant `Transfer::NONE`.
fn last_type(path: &Path) -> Option<&Ident> {
    let mut names = path.segments.iter().rev().map(|segment| &segment.ident);
    names.find(|name| {
        let name = name.to_string();
        name.starts_with(char::is_uppercase)
            && (name.len() == 1 || name.contains(char::is_lowercase))
    })
}

/// Returns the value of a string literal, or the tokens of another expression.
pub(crate) fn text(expr: &Expr) -> String {
    match expr {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => text.value(),
            other => other.to_token_stream().to_string(),
        },
        Expr::Group(group) => text(&group.expr),
        Expr::Paren(paren) => text(&paren.expr),
        other => other.to_token_stream().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn a_typed_action_has_the_name_of_its_type() {
        for action in [
            parse_quote!(Transfer),
            parse_quote!(bank::Transfer { amount }),
            parse_quote!(Transfer(amount)),
            parse_quote!(Transfer::new(amount)),
            parse_quote!((bank::Transfer::<T>::NONE)),
            parse_quote!(Transfer::new(amount)?.urgent()),
        ] {
            assert_eq!(type_name(&action), "Transfer");
        }
        assert_eq!(type_name(&parse_quote!(self.action(1))), "self");
        assert_eq!(type_name(&parse_quote!(make())), "make ()");
    }
}
