//! Recognizes the code that `#[async_trait]` makes of an `async fn`, since it expands before the
//! attributes of the methods inside.

use proc_macro2::{Ident, TokenStream};
use syn::parse::Parser as _;
use syn::{Block, Expr, Local, Pat, Path, Stmt};

use super::future::join_statements;

/// Splits the content of the `async` block into the bindings of the parameters and the user's code:
///
/// ```text
/// if let Some(__ret) = None::<R> { return __ret; }
/// let __self = self; let x = x; let (a, b) = { let __arg2 = __arg2; __arg2 };
/// let __ret: R = { code };
/// __ret
/// ```
///
/// returns the first two lines and `code`. The bindings run before the permit is obtained, so every
/// other form is `None`: `let x = delete(x);` among the bindings makes the whole block code.
pub(super) fn split(inside: &TokenStream) -> Option<(Vec<Stmt>, TokenStream)> {
    let mut stmts = Block::parse_within.parse2(inside.clone()).ok()?;
    let (tail, code) = (stmts.pop()?, stmts.pop()?);
    let Stmt::Local(code) = code else {
        return None;
    };
    let (hint, bindings) = stmts.split_first()?;
    let returns_code = is_type_hint(hint)
        && pattern_name(&code.pat)? == "__ret"
        && matches!(&tail, Stmt::Expr(tail, None) if expr_name(tail).is_some_and(|name| name == "__ret"));
    let only_bindings = bindings
        .iter()
        .all(|stmt| matches!(stmt, Stmt::Local(local) if bound_name(local).is_some()));
    let Expr::Block(block) = &*code.init.as_ref()?.expr else {
        return None;
    };
    (returns_code && only_bindings).then(|| (stmts.clone(), join_statements(&block.block.stmts)))
}

/// Whether a statement is `if let Some(__ret) = None::<R> { return __ret; }`, which never runs and
/// tells the compiler the type.
fn is_type_hint(stmt: &Stmt) -> bool {
    let Stmt::Expr(Expr::If(hint), None) = stmt else {
        return false;
    };
    let Expr::Let(cond) = &*hint.cond else {
        return false;
    };
    let (Pat::TupleStruct(some), Expr::Path(none)) = (&*cond.pat, &*cond.expr) else {
        return false;
    };
    let only_some = some
        .path
        .segments
        .last()
        .is_some_and(|last| last.ident == "Some");
    only_some && none.qself.is_none() && is_core_none(&none.path) && hint.else_branch.is_none()
}

/// Whether a path is `::core::option::Option::None`.
fn is_core_none(path: &Path) -> bool {
    path.leading_colon.is_some()
        && path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .eq(["core", "option", "Option", "None"])
}

/// Returns the parameter that a statement rebinds: `x` of `let mut x = x;`, `self` of
/// `let __self = self;`, and `__arg2` of `let (a, b) = { let __arg2 = __arg2; __arg2 };`.
pub(super) fn bound_name(local: &Local) -> Option<&Ident> {
    let init = local.init.as_ref()?;
    if init.diverge.is_some() {
        return None;
    }
    if let Expr::Block(block) = &*init.expr {
        return match block.block.stmts.as_slice() {
            [Stmt::Local(inner), Stmt::Expr(value, None)] => {
                let name = bound_name(inner)?;
                (expr_name(value)? == name && name.to_string().starts_with("__arg")).then_some(name)
            }
            _ => None,
        };
    }
    let value = expr_name(&init.expr)?;
    let name = pattern_name(&local.pat)?;
    (name == value || (name == "__self" && value == "self")).then_some(value)
}

/// Returns the name that a pattern binds, if it is a plain name.
fn pattern_name(pat: &Pat) -> Option<&Ident> {
    match pat {
        Pat::Ident(pat) if pat.subpat.is_none() => Some(&pat.ident),
        Pat::Type(pat) => pattern_name(&pat.pat),
        _ => None,
    }
}

/// Returns the name that an expression is, if it is a plain name.
fn expr_name(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Path(path) if path.qself.is_none() => path.path.get_ident(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::future::FutureBody;
    use super::*;
    use quote::{ToTokens as _, quote};

    fn open(body: TokenStream) -> Option<(String, String)> {
        FutureBody::open(&body).map(|body| {
            (
                join_statements(&body.bindings).to_string(),
                body.code.to_string(),
            )
        })
    }

    fn async_trait(statement: TokenStream, code: TokenStream) -> TokenStream {
        quote! {
            Box::pin(async move {
                if let ::core::option::Option::Some(__ret) = ::core::option::Option::None::<R> {
                    #[allow(unreachable_code)]
                    return __ret;
                }
                let __self = self;
                #statement
                let __ret: R = { #code };
                #[allow(unreachable_code)]
                __ret
            })
        }
    }

    #[test]
    fn the_bindings_of_async_trait_come_first() {
        let rebound = quote! {
            let mut x = x;
            #[cfg(a)]
            let (a, b) = { let __arg2 = __arg2; __arg2 };
            let __arg3 = __arg3;
        };
        let body = FutureBody::open(&async_trait(rebound.clone(), quote!(x; b()))).unwrap();
        let bindings = join_statements(&body.bindings).to_string();
        assert!(bindings.starts_with("if let"), "{bindings}");
        assert!(bindings.ends_with(&rebound.to_string()), "{bindings}");
        assert_eq!(body.code.to_string(), quote!(x; b()).to_string());
        assert!(body.renames_self());
    }

    #[test]
    fn a_statement_that_acts_is_code_not_a_binding() {
        for statement in [
            quote!(let x = delete(x);),
            quote!(let x = { delete(); x };),
            quote!(let x = y;),
            quote!(delete();),
            quote!(let Some(x) = x else { delete() };),
            quote!(let _ = { let __arg1 = delete(); __arg1 };),
        ] {
            let (bindings, code) = open(async_trait(statement, quote!(b()))).unwrap();
            assert_eq!(bindings, "");
            assert!(code.contains("None"), "{code}");
        }
        let (bindings, _) = open(quote!(async move {
            if let x = ::core::option::Option::None::<R> {
                return delete(x);
            }
            let __ret: R = { b() };
            __ret
        }))
        .unwrap();
        assert_eq!(bindings, "");
    }

    #[test]
    fn the_binding_of_the_permit_can_be_taken() {
        let rebound = quote!(let x = x; let mut permit = permit;);
        let mut body = FutureBody::open(&async_trait(rebound, quote!(b()))).unwrap();
        let permit = Ident::new("permit", proc_macro2::Span::call_site());
        let pat = body.take_binding(&permit).unwrap();
        assert_eq!(pat.to_token_stream().to_string(), "mut permit");
        assert!(body.take_binding(&permit).is_none());
        assert!(
            !join_statements(&body.bindings)
                .to_string()
                .contains("permit")
        );
    }
}
