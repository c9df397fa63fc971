//! Sync functions that return a future: the code to protect is inside the future, not around it.
//!
//! Two forms are opened. `Box::pin(async move { ... })`, as written by hand, is protected from its first
//! statement on. What `#[async_trait]` makes of an `async fn` (it expands before the attributes of the methods
//! in it) begins with bindings of the parameters; those stay in front, so that the arguments of `#[protect]`
//! see the names that the user wrote.

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;
use syn::parse::Parser as _;
use syn::{Block, Expr, ExprAsync, Local, Pat, Path, Stmt};

/// A body that is a future, opened where the permit has to be obtained.
pub(crate) struct FutureBody {
    /// `use` and other items in front of the future. They do not run.
    items: Vec<Stmt>,
    /// The future's expression; what is between the braces of its `async` block has been taken out.
    shell: Expr,
    /// Bindings of the parameters.
    pub(crate) bindings: Vec<Stmt>,
    /// What needs the permit.
    pub(crate) code: TokenStream,
}

impl FutureBody {
    /// Opens a body. None when more than the future runs in it.
    pub(crate) fn open(body: &TokenStream) -> Option<Self> {
        let mut stmts = Block::parse_within.parse2(body.clone()).ok()?;
        let Some(Stmt::Expr(mut shell, None)) = stmts.pop() else {
            return None;
        };
        if !stmts.iter().all(|stmt| matches!(stmt, Stmt::Item(_))) {
            return None;
        }
        let inside = std::mem::take(&mut async_block(&mut shell)?.block.stmts);
        let (bindings, code) = match split_async_trait(&inside) {
            Some((bindings, code)) => (bindings.to_vec(), code),
            None => (Vec::new(), concat(&inside)),
        };
        Some(Self {
            items: stmts,
            shell,
            bindings,
            code,
        })
    }

    /// Whether the bindings call `self` `__self`.
    pub(crate) fn renames_self(&self) -> bool {
        self.bindings.iter().any(|stmt| {
            matches!(stmt, Stmt::Local(local) if bound_name(local).is_some_and(|bound| bound == "self"))
        })
    }

    /// Takes the binding of one parameter out, and returns its pattern.
    pub(crate) fn take_binding(&mut self, parameter: &Ident) -> Option<Pat> {
        let index = self.bindings.iter().position(|stmt| {
            matches!(stmt, Stmt::Local(local) if bound_name(local).is_some_and(|bound| bound == parameter))
        })?;
        match self.bindings.remove(index) {
            Stmt::Local(local) => Some(local.pat),
            _ => None,
        }
    }

    /// The future again, with other code in its `async` block.
    pub(crate) fn close(mut self, code: TokenStream) -> TokenStream {
        if let Some(block) = async_block(&mut self.shell) {
            block.block.stmts = vec![Stmt::Expr(Expr::Verbatim(code), None)];
        }
        let mut tokens = concat(&self.items);
        self.shell.to_tokens(&mut tokens);
        tokens
    }
}

/// The `async` block that an expression boxes or is.
fn async_block(expr: &mut Expr) -> Option<&mut ExprAsync> {
    match expr {
        Expr::Async(block) => Some(block),
        Expr::Group(group) => async_block(&mut group.expr),
        Expr::Paren(paren) => async_block(&mut paren.expr),
        Expr::Call(call) if call.args.len() == 1 && is_box_pin(&call.func) => {
            async_block(call.args.first_mut()?)
        }
        // `futures::FutureExt`
        Expr::MethodCall(call)
            if call.args.is_empty() && (call.method == "boxed" || call.method == "boxed_local") =>
        {
            async_block(&mut call.receiver)
        }
        _ => None,
    }
}

fn is_box_pin(function: &Expr) -> bool {
    let Expr::Path(function) = function else {
        return false;
    };
    let mut segments = function.path.segments.iter().rev();
    segments.next().is_some_and(|last| last.ident == "pin")
        && segments.next().is_some_and(|boxed| boxed.ident == "Box")
}

/// The bindings and the code of `#[async_trait]`'s form:
///
/// ```text
/// if let Some(__ret) = None::<R> { return __ret; }
/// let __self = self; let x = x; let (a, b) = { let __arg2 = __arg2; __arg2 };
/// let __ret: R = { code };
/// __ret
/// ```
///
/// Whatever comes before the permit runs unprotected, so this accepts exactly that and nothing else.
fn split_async_trait(stmts: &[Stmt]) -> Option<(&[Stmt], TokenStream)> {
    let (hint, rest) = stmts.split_first()?;
    let (tail, rest) = rest.split_last()?;
    let (code, bindings) = rest.split_last()?;
    let Stmt::Local(code) = code else {
        return None;
    };
    let returns_code = is_type_hint(hint)
        && pattern_name(&code.pat)? == "__ret"
        && matches!(tail, Stmt::Expr(tail, None) if expr_name(tail).is_some_and(|name| name == "__ret"));
    let only_bindings = bindings
        .iter()
        .all(|stmt| matches!(stmt, Stmt::Local(local) if bound_name(local).is_some()));
    let Expr::Block(block) = &*code.init.as_ref()?.expr else {
        return None;
    };
    (returns_code && only_bindings).then(|| {
        let hint_and_bindings = stmts.get(..=bindings.len()).unwrap_or_default();
        (hint_and_bindings, concat(&block.block.stmts))
    })
}

/// `if let Some(__ret) = None::<R> { return __ret; }`: never true, only there for the compiler.
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

fn is_core_none(path: &Path) -> bool {
    path.leading_colon.is_some()
        && path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .eq(["core", "option", "Option", "None"])
}

/// The parameter that a statement binds again: `let mut x = x;` or `let (a, b) = { let x = x; x };`.
fn bound_name(local: &Local) -> Option<&Ident> {
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

fn pattern_name(pat: &Pat) -> Option<&Ident> {
    match pat {
        Pat::Ident(pat) if pat.subpat.is_none() => Some(&pat.ident),
        Pat::Type(pat) => pattern_name(&pat.pat),
        _ => None,
    }
}

fn expr_name(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Path(path) if path.qself.is_none() => path.path.get_ident(),
        _ => None,
    }
}

fn concat(stmts: &[Stmt]) -> TokenStream {
    let mut tokens = TokenStream::new();
    for stmt in stmts {
        stmt.to_tokens(&mut tokens);
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    fn open(body: TokenStream) -> Option<(String, String)> {
        FutureBody::open(&body)
            .map(|body| (concat(&body.bindings).to_string(), body.code.to_string()))
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
    fn a_boxed_future_is_opened_at_its_first_statement() {
        for body in [
            quote!(Box::pin(async move {
                a();
                b()
            })),
            quote!(::std::boxed::Box::pin(async move {
                a();
                b()
            })),
            quote!(async move {
                a();
                b()
            }),
            quote!(
                (async {
                    a();
                    b()
                })
                .boxed()
            ),
        ] {
            let (bindings, code) = open(body).unwrap();
            assert_eq!(bindings, "");
            assert_eq!(code, quote!(a(); b()).to_string());
        }
    }

    #[test]
    fn code_outside_of_the_future_is_not_opened() {
        for body in [
            quote!(a(); Box::pin(async move { b() })),
            quote!(Box::pin(f())),
            quote!(Box::pin(async move { b() }.instrument(span()))),
            quote!(wrap(async move { b() })),
            quote!(async move { b() };),
            quote!(),
        ] {
            assert!(open(body).is_none());
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
        let bindings = concat(&body.bindings).to_string();
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
        assert!(!concat(&body.bindings).to_string().contains("permit"));
    }

    #[test]
    fn a_closed_body_has_the_new_code_only() {
        let body = FutureBody::open(&quote!(Box::pin(async move { old() }))).unwrap();
        assert_eq!(
            body.close(quote!(new())).to_string(),
            quote!(Box::pin(async move { new() })).to_string()
        );
    }

    #[test]
    fn items_before_the_future_stay() {
        let body = FutureBody::open(&quote! {
            use a::B;
            async move { old() }.boxed()
        })
        .unwrap();
        assert_eq!(
            body.close(quote!(new())).to_string(),
            quote! {
                use a::B;
                async move { new() }.boxed()
            }
            .to_string()
        );
    }
}
