//! `#[protect]`: parses the arguments and the function, validates them, and expands.

mod args;
mod async_trait;
mod context;
mod expand;
pub(crate) mod fallback;
mod future;
pub(crate) mod item;
mod output;
pub(crate) mod permit;
mod receipt;
mod scope;
mod valid;
mod wait;
pub(crate) mod written_args;

use proc_macro2::TokenStream;

use crate::errors::Errors;
use crate::runtime::Runtime;
use args::Args;
use item::Item;

/// Returns the protected function, or the errors and a stub of the item.
pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let arguments = errors.take(Args::parse(attribute.clone()));
    let mut function = match item::parse(item.clone()) {
        Item::Function(function) => *function,
        Item::Other { error, inert } => {
            errors.push(error);
            return fallback::stub_of_other(errors, &inert);
        }
    };
    let permit = permit::take_from(&mut function.sig, &mut errors);
    let plan = errors.take(valid::validate(&function, permit.as_ref()));
    match (errors.finish(), arguments, plan) {
        (Ok(()), Some(arguments), Some(plan)) => {
            let runtime = Runtime::new(arguments.path.clone(), &[&attribute, &item]);
            expand::expand(&function, plan, &arguments, permit, &runtime)
        }
        (Err(error), ..) => fallback::stub(Some(&error), &function, permit.as_ref()),
        // Not reached: a missing part has left an error. The empty expansion runs nothing
        // unprotected.
        (Ok(()), ..) => TokenStream::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    /// Asserts that `tokens` contain all `parts`, in this order.
    #[track_caller]
    fn assert_order(tokens: &TokenStream, parts: &[&str]) {
        let text = tokens.to_string();
        let mut rest = text.as_str();
        for part in parts {
            let found = rest.split_once(part);
            rest = found
                .unwrap_or_else(|| panic!("no `{part}` in `{rest}` of `{text}`"))
                .1;
        }
    }

    fn arguments() -> TokenStream {
        quote!(action = "deploy", agent = "bot", context = { commit })
    }

    #[test]
    fn an_async_body_comes_after_the_permit() {
        let item = quote! {
            #[doc = "d"] pub async fn f(commit: &str, mut permit: Permit) -> Result<u8, E> { body() }
        };
        let expanded = expand(arguments(), item);
        let import = Runtime::new(None, &[]).import().to_string();
        assert_order(
            &expanded,
            &[
                "pub async fn f (commit : & str ,) -> Result < u8 , E > {",
                &import,
                "__atlasent :: run (",
                "{ __atlasent :: obtain (",
                ":: literal_request ({ __atlasent :: agent (& (\"bot\")) } ,",
                ":: default_authority () ,",
                ":: LiteralAction :: field ({ __atlasent :: LiteralAction :: new (\"deploy\") } , \"commit\" , & (commit)) } ,",
                ":: no_options () }",
                ") . await } . receive :: < Permit > () ,",
                ":: returns :: < Result < u8 , E > > () ,",
                "move | mut permit : Permit | async move {",
                "# [allow (clippy :: disallowed_methods)] { body () } }) . await }",
            ],
        );
        assert!(syn::parse2::<syn::ItemFn>(expanded).is_ok());
    }

    #[test]
    fn a_sync_body_comes_after_the_permit() {
        let expanded = expand(
            quote!(
                action = Act { id },
                agent = id,
                authority = auth,
                request = |r| r,
                wait = "10m"
            ),
            quote!(
                fn f(id: Id) -> Result<impl X, E> {
                    body()
                }
            ),
        );
        assert_order(
            &expanded,
            &[
                ":: run_blocking ({",
                ":: obtain_blocking (",
                ":: typed_request ({",
                ":: agent (& (id))",
                ":: authority (& (auth))",
                ":: wait_millis ({",
                ":: options (| r | r) } , 600000u64) }",
                "{ Act { id } }",
                ". hold () ,",
                ":: returns :: < Result < _ , E > > () ,",
                "move | () | -> Result < _ , E > { # [allow (clippy :: disallowed_methods)] { body () } }) }",
            ],
        );
        assert!(syn::parse2::<syn::ItemFn>(expanded).is_ok());
    }

    #[test]
    fn in_async_trait_the_bindings_come_before_the_permit_and_the_body_after_it() {
        let expanded = expand(
            quote!(action = "deploy", agent = self.name, context = { x }),
            quote! {
                fn f<'a>(&'a self, x: u8, permit: Permit)
                    -> Pin<Box<dyn Future<Output = Result<u8, E>> + Send + 'a>>
                {
                    Box::pin(async move {
                        if let ::core::option::Option::Some(__ret) = ::core::option::Option::None::<R> {
                            return __ret;
                        }
                        let __self = self;
                        let x = x;
                        let mut permit = permit;
                        let __ret: R = { body(__self) };
                        __ret
                    })
                }
            },
        );
        assert_order(
            &expanded,
            &[
                "(& 'a self , x : u8 ,)",
                "async move {",
                "let __self = self ;",
                "let x = x ;",
                ":: obtain",
                ":: agent (& (__self . name))",
                "move | mut permit : Permit |",
                "body (__self)",
            ],
        );
        assert!(
            !expanded.to_string().contains("permit = permit"),
            "{expanded}"
        );
        assert!(syn::parse2::<syn::ItemFn>(expanded).is_ok());
    }

    #[test]
    fn after_an_error_the_signature_comes_without_the_body() {
        for (arguments, item) in [
            (
                quote!(),
                quote!(
                    fn f(p: Permit) -> Result<u8, E> {
                        launch()
                    }
                ),
            ),
            (
                quote!(=),
                quote!(
                    async fn f() -> Result<u8, E> {
                        launch()
                    }
                ),
            ),
            (
                quote!(agent = "a"),
                quote!(
                    fn f() -> impl Future<Output = Result<u8, E>> {
                        async { launch() }
                    }
                ),
            ),
            (
                arguments(),
                quote!(
                    fn f() {
                        launch()
                    }
                ),
            ),
            (
                arguments(),
                quote!(
                    const fn f() -> Result<u8, E> {
                        launch()
                    }
                ),
            ),
            (
                arguments(),
                quote!(
                    extern "C" fn f() -> Result<u8, E> {
                        launch()
                    }
                ),
            ),
            (
                arguments(),
                quote!(
                    fn f(a: u8, ...) -> Result<u8, E> {
                        launch()
                    }
                ),
            ),
            (
                arguments(),
                quote!(
                    fn f(a: Permit, b: Permit) -> Result<u8, E> {
                        launch()
                    }
                ),
            ),
            (
                arguments(),
                quote!(
                    fn f(#[permit(a)] a: u8) -> Result<u8, E> {
                        launch()
                    }
                ),
            ),
            (
                arguments(),
                quote!(
                    fn f() -> BoxFuture<'static, R> {
                        before();
                        Box::pin(async { launch() })
                    }
                ),
            ),
        ] {
            let expanded = expand(arguments, item);
            let text = expanded.to_string();
            assert!(text.contains("compile_error"), "{text}");
            assert!(text.contains("fn f"), "{text}");
            assert!(
                !text.contains("launch") && !text.contains("Permit )"),
                "{text}"
            );
            assert!(syn::parse2::<syn::File>(expanded).is_ok(), "{text}");
        }
    }

    #[test]
    fn after_an_error_nothing_else_with_code_comes_out() {
        for item in [
            quote!(impl S { fn f() { launch() } }),
            quote!(
                mod m {
                    fn f() {
                        launch()
                    }
                }
            ),
            quote!(
                trait T {
                    fn f() {
                        launch()
                    }
                }
            ),
            quote!(fn f(x:) { launch() }),
            quote!(fn f() -> { launch() }),
        ] {
            let text = expand(arguments(), item).to_string();
            assert!(text.contains("compile_error"), "{text}");
            assert!(!text.contains("launch"), "{text}");
        }
    }

    #[test]
    fn a_declaration_stays_one() {
        let text = expand(
            arguments(),
            quote!(
                fn f(&self, p: Permit) -> Result<u8, E>;
            ),
        )
        .to_string();
        assert!(text.contains("no body to protect"), "{text}");
        assert!(
            text.ends_with("fn f (& self ,) -> Result < u8 , E > ;"),
            "{text}"
        );
    }
}
