//! Opens the body of a sync function that returns a future, so that the permit is obtained inside
//! the future and not when the future is made.
//!
//! A body is split into four parts, and closed again around new code. For
//!
//! ```text
//! fn flush(&self) -> BoxFuture<'_, Result<u32, Error>> {
//!     use futures::FutureExt;
//!     fn count() -> u32 { 42 }
//!     async move { Ok(count()) }.boxed()
//! }
//! ```
//!
//! the parts are
//!
//! ```text
//! imports    use futures::FutureExt;             do not run, and `boxed` needs them
//! shell      async move { }.boxed()              the future, emptied
//! bindings                                       only in the code of `#[async_trait]`, see below
//! code       fn count() -> u32 { 42 }            the user's code, which needs the permit
//!            Ok(count())
//! ```
//!
//! and the closed body is
//!
//! ```text
//! use futures::FutureExt;
//! async move { run({ obtain(…).await }…, move |…| async move { { code } }).await }.boxed()
//! ```
//!
//! `#[async_trait]` expands before the attributes of the methods inside, so that `#[protect]` sees
//! its expansion of `async fn f(&self, x: u8) { code }`:
//!
//! ```text
//! Box::pin(async move {
//!     if let Some(__ret) = None::<R> { return __ret; }    bindings
//!     let __self = self;                                  bindings
//!     let x = x;                                          bindings
//!     let __ret: R = { code };                            code
//!     __ret
//! })
//! ```
//!
//! The bindings stay in front of `obtain`, where the arguments of `#[protect]` use `x` and
//! `__self`. `async_trait.rs` recognizes them.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::Parser as _;
use syn::token::Brace;
use syn::{Attribute, Block, Expr, ExprAsync, Item, Pat, Stmt, Type, parse_quote};

use super::async_trait;

/// A body that is a future, opened where the permit is obtained. The module's docs show the parts.
pub(crate) struct FutureBody {
    /// The `use` declarations in front of the future.
    imports: Vec<Stmt>,
    /// The statement that is the future, with an empty `async` block.
    shell: Stmt,
    /// The parameters' bindings that `#[async_trait]` makes.
    pub(crate) bindings: Vec<Stmt>,
    /// The user's code, which needs the permit.
    pub(crate) code: TokenStream,
}

impl FutureBody {
    /// Whether the whole body parses.
    pub(crate) fn can_parse(body: &TokenStream) -> bool {
        Block::parse_within.parse2(body.clone()).is_ok()
    }

    /// Opens a body. Returns `None` where the body is not one `async` block behind items only.
    pub(crate) fn open(body: &TokenStream) -> Option<Self> {
        // The user's code is not parsed: the compiler reports its errors.
        let (hollow, inside) = take_async_block(body)?;
        let mut stmts = Block::parse_within.parse2(hollow).ok()?;
        let mut shell = stmts.pop()?;
        async_block(future_of(&mut shell)?)?;
        if !stmts.iter().all(|stmt| matches!(stmt, Stmt::Item(_))) {
            return None;
        }
        // Other items need the permit, since an attribute may turn an item into statements.
        let (imports, items): (Vec<_>, Vec<_>) = stmts.into_iter().partition(is_import);
        let (bindings, inside) = async_trait::split(&inside).unwrap_or((Vec::new(), inside));
        let mut code = join_statements(&items);
        code.extend(inside);
        Some(Self {
            imports,
            shell,
            bindings,
            code,
        })
    }

    /// Wraps a body that does not parse, such as `let x = claims.; Box::pin(async move { x })`:
    ///
    /// ```text
    /// shell      ::std::boxed::Box::pin(async move { })
    /// code       ({ let x = claims.; Box::pin(async move { x }) }).await
    /// ```
    ///
    /// The compiler reports the syntax error, or knows a syntax that `syn` does not. Either way the
    /// whole body comes after the permit, and `#[protect]` adds no second error.
    pub(crate) fn from_unparsed(body: &TokenStream, output: &Type) -> Self {
        let future = match output {
            Type::ImplTrait(_) => parse_quote!(async move {}),
            _ => parse_quote!(::std::boxed::Box::pin(async move {})),
        };
        Self {
            imports: Vec::new(),
            shell: Stmt::Expr(future, None),
            bindings: Vec::new(),
            code: quote!(({ #body }).await),
        }
    }

    /// Whether the bindings rename `self` to `__self`.
    pub(crate) fn renames_self(&self) -> bool {
        self.bindings.iter().any(|stmt| {
            matches!(stmt, Stmt::Local(local) if async_trait::bound_name(local).is_some_and(|bound| bound == "self"))
        })
    }

    /// Removes the binding of a parameter, and returns its pattern: `mut permit` of
    /// `let mut permit = permit;`.
    pub(crate) fn take_binding(&mut self, parameter: &Ident) -> Option<Pat> {
        let index = self.bindings.iter().position(|stmt| {
            matches!(stmt, Stmt::Local(local) if async_trait::bound_name(local).is_some_and(|bound| bound == parameter))
        })?;
        match self.bindings.remove(index) {
            Stmt::Local(local) => Some(local.pat),
            _ => None,
        }
    }

    /// Closes the body around other code: `shell` with `code` in its `async` block, behind
    /// `imports`.
    pub(crate) fn close(mut self, code: TokenStream) -> TokenStream {
        if let Some(block) = future_of(&mut self.shell).and_then(async_block) {
            block.block.stmts = vec![Stmt::Expr(Expr::Verbatim(code), None)];
            // The hygiene of the macro keeps lints about the braces away from the user's code.
            let braces = block.block.brace_token.span.join();
            block.block.brace_token = Brace(Span::mixed_site().located_at(braces));
        }
        let mut tokens = join_statements(&self.imports);
        self.shell.to_tokens(&mut tokens);
        tokens
    }
}

/// Takes the content out of the last `async` block of a body. Returns the body with an empty block,
/// and the content.
///
/// | body | emptied body | content |
/// |---|---|---|
/// | `Box::pin(async move { a() })` | `Box::pin(async move {})` | `a()` |
/// | `use x::Y; (async { a(); b() }).boxed()` | `use x::Y; (async {}).boxed()` | `a(); b()` |
/// | `Box::pin(f())` | none | |
///
/// It works on tokens from the last one backwards and goes into parentheses, but not into other
/// braces: in `{ async { a() } }` the block is not found.
fn take_async_block(body: &TokenStream) -> Option<(TokenStream, TokenStream)> {
    let mut trees: Vec<TokenTree> = body.clone().into_iter().collect();
    for index in (0..trees.len()).rev() {
        let (before, rest) = trees.split_at_mut(index);
        let Some(TokenTree::Group(group)) = rest.first() else {
            continue;
        };
        let (hollow, inside) = match group.delimiter() {
            Delimiter::Brace if follows_async(before) => (TokenStream::new(), group.stream()),
            Delimiter::Parenthesis | Delimiter::None => match take_async_block(&group.stream()) {
                Some(opened) => opened,
                None => continue,
            },
            _ => continue,
        };
        let mut emptied = Group::new(group.delimiter(), hollow);
        emptied.set_span(group.span());
        *rest.first_mut()? = emptied.into();
        return Some((trees.into_iter().collect(), inside));
    }
    None
}

/// Whether the tokens end with `async` or `async move`.
fn follows_async(before: &[TokenTree]) -> bool {
    let is = |tree: &TokenTree, word| matches!(tree, TokenTree::Ident(ident) if *ident == word);
    match before {
        [.., first, last] if is(last, "move") => is(first, "async"),
        [.., last] => is(last, "async"),
        [] => false,
    }
}

/// Whether a statement is `use …;` without an attribute macro, which could replace it by other
/// code.
fn is_import(stmt: &Stmt) -> bool {
    let harmless = |attr: &Attribute| {
        ["allow", "cfg", "deny", "doc", "expect", "forbid", "warn"]
            .iter()
            .any(|name| attr.path().is_ident(name))
    };
    matches!(stmt, Stmt::Item(Item::Use(import)) if import.attrs.iter().all(harmless))
}

/// Returns the future of a body's last statement: `f` of `f` and of `return f;`.
fn future_of(stmt: &mut Stmt) -> Option<&mut Expr> {
    match stmt {
        Stmt::Expr(Expr::Return(back), _) => back.expr.as_deref_mut(),
        Stmt::Expr(future, None) => Some(future),
        _ => None,
    }
}

/// Returns the `async` block that an expression is, boxes, casts or parenthesizes.
fn async_block(expr: &mut Expr) -> Option<&mut ExprAsync> {
    match expr {
        Expr::Async(block) => Some(block),
        Expr::Group(group) => async_block(&mut group.expr),
        Expr::Paren(paren) => async_block(&mut paren.expr),
        // `as _`, or `as Pin<Box<dyn Future<…>>>`.
        Expr::Cast(cast) => async_block(&mut cast.expr),
        Expr::Call(call) if call.args.len() == 1 && is_box_pin(&call.func) => {
            async_block(call.args.first_mut()?)
        }
        // The methods of `futures::FutureExt`.
        Expr::MethodCall(call)
            if call.args.is_empty() && (call.method == "boxed" || call.method == "boxed_local") =>
        {
            async_block(&mut call.receiver)
        }
        _ => None,
    }
}

/// Whether a path ends with `Box::pin`.
fn is_box_pin(function: &Expr) -> bool {
    let Expr::Path(function) = function else {
        return false;
    };
    let mut segments = function.path.segments.iter().rev();
    segments.next().is_some_and(|last| last.ident == "pin")
        && segments.next().is_some_and(|boxed| boxed.ident == "Box")
}

/// Joins the tokens of statements.
pub(super) fn join_statements(stmts: &[Stmt]) -> TokenStream {
    let mut tokens = TokenStream::new();
    for stmt in stmts {
        stmt.to_tokens(&mut tokens);
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(body: TokenStream) -> Option<(String, String)> {
        FutureBody::open(&body).map(|body| {
            (
                join_statements(&body.bindings).to_string(),
                body.code.to_string(),
            )
        })
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
            quote!(a!(); async move { b() }),
            quote!(a! {} async move { b() }),
            quote!(let x = claims.; async move { b() }),
            quote!(),
        ] {
            assert!(open(body).is_none());
        }
    }

    #[test]
    fn a_future_may_be_returned_and_cast() {
        for body in [
            quote!(return Box::pin(async move { a(); b() });),
            quote!(
                return Box::pin(async move {
                    a();
                    b()
                })
            ),
            quote!(Box::pin(async move {
                a();
                b()
            }) as _),
            quote!(Box::pin(async move {
                a();
                b()
            }) as Pin<Box<dyn Future<Output = (u8, u8)>>>),
            quote!(return (Box::pin(async { a(); b() })) as _;),
        ] {
            let opened = FutureBody::open(&body).unwrap();
            assert_eq!(opened.code.to_string(), quote!(a(); b()).to_string());
            let closed = opened.close(quote!(a(); b()));
            let closed = closed.to_string().replace(' ', "");
            assert_eq!(closed, body.to_string().replace(' ', ""));
        }
    }

    #[test]
    fn the_code_need_not_parse() {
        let body = quote!(Box::pin(async move { let x = claims.; x }));
        assert_eq!(
            open(body).unwrap().1,
            quote!(let x = claims.; x).to_string()
        );
    }

    #[test]
    fn a_body_that_does_not_parse_comes_after_the_permit_as_a_whole() {
        let body = quote!(let x = claims.; Box::pin(async move { x }));
        assert!(!FutureBody::can_parse(&body));
        for (output, closed) in [
            (
                parse_quote!(impl Future<Output = R>),
                quote!(async move { new() }),
            ),
            (
                parse_quote!(BoxFuture<'_, R>),
                quote!(::std::boxed::Box::pin(async move { new() })),
            ),
        ] {
            let unread = FutureBody::from_unparsed(&body, &output);
            assert_eq!(
                unread.code.to_string(),
                quote!(({ #body }).await).to_string()
            );
            assert_eq!(unread.close(quote!(new())).to_string(), closed.to_string());
        }
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
    fn items_before_the_future_move_behind_the_permit_and_imports_stay() {
        let body = FutureBody::open(&quote! {
            use a::B;
            #[statements]
            fn c() {}
            #[allow(unused)]
            use d::E;
            #[statements]
            use f::G;
            macro_rules! h { () => {} }
            async move { old() }.boxed()
        })
        .unwrap();
        let code = quote! {
            #[statements]
            fn c() {}
            #[statements]
            use f::G;
            macro_rules! h { () => {} }
            old()
        };
        assert_eq!(body.code.to_string(), code.to_string());
        let closed = quote! {
            use a::B;
            #[allow(unused)]
            use d::E;
            async move { new() }.boxed()
        };
        assert_eq!(body.close(quote!(new())).to_string(), closed.to_string());
    }
}
