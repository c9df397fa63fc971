//! Quotes the registration of a site: a static that `atlasent::sites()` lists.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::{Expr, Ident, Lit};

use crate::runtime::Runtime;

/// A `#[protect]` or a `#[derive(Action)]`.
pub(crate) struct Site {
    /// The name of a literal action or of a derived one.
    pub(crate) action: Option<String>,
    /// The type of a typed action.
    pub(crate) type_name: Option<String>,
    /// The function with `#[protect]`.
    pub(crate) function: Option<String>,
    pub(crate) scope: Option<String>,
    /// Whether the action was checked against a policy index.
    pub(crate) is_checked: bool,
}

impl Site {
    /// Returns the item that registers the site. It has to see the import of the runtime.
    pub(crate) fn register(&self, runtime: &Runtime) -> TokenStream {
        let site = Span::mixed_site();
        let runtime = runtime.name(site);
        let checked = self.is_checked;
        let [action, type_name, function, scope] =
            [&self.action, &self.type_name, &self.function, &self.scope].map(|text| match text {
                Some(text) => quote_spanned!(site=> ::core::option::Option::Some(#text)),
                None => quote_spanned!(site=> ::core::option::Option::None),
            });
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
    let mut names = path
        .into_iter()
        .flat_map(|path| path.segments.iter().rev().map(|segment| &segment.ident));
    // Not the constant of `Transfer::NONE`.
    let is_type = |name: &&Ident| {
        let name = name.to_string();
        name.starts_with(char::is_uppercase)
            && (name.len() == 1 || name.contains(char::is_lowercase))
    };
    let name = names.find(is_type);
    name.map_or_else(|| text(action), Ident::to_string)
}

/// Returns the value of a string literal, or the tokens of another expression.
pub(crate) fn text(expr: &Expr) -> String {
    match expr {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => text.value(),
            other => quote::ToTokens::to_token_stream(other).to_string(),
        },
        Expr::Group(group) => text(&group.expr),
        Expr::Paren(paren) => text(&paren.expr),
        other => quote::ToTokens::to_token_stream(other).to_string(),
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
