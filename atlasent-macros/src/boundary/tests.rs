//! Tests of the expansion as tokens. What the compiler says of it is in `tests/ui`.

use super::*;
use proc_macro2::{Delimiter, Group};

fn expanded(attribute: TokenStream, item: TokenStream) -> String {
    expand(attribute, item).to_string()
}

fn text(tokens: &TokenStream) -> String {
    tokens.to_string()
}

#[test]
fn each_default_that_a_method_does_not_set_is_added() {
    let text = expanded(
        quote!(
            authority = self.a,
            agent = self.b(),
            claims = self.c,
            crate = facade::guard
        ),
        quote!(impl Bank {
            #[protect(action = "pay", agent = "own",)]
            pub fn pay(&self) -> R {}
            #[x::protect(action = "scoped", scope = "s", crate = own)]
            fn scoped(&self) -> R {}
            #[protect]
            fn bare(&self) -> R {}
        }),
    );
    for part in [
        quote!(#[facade::guard::protect(action = "pay", agent = "own", authority = self.a, crate = facade::guard)]),
        quote!(#[own::protect(action = "scoped", scope = "s", crate = own, authority = self.a, agent = self.b(), claims = self.c)]),
        quote!(#[facade::guard::protect(authority = self.a, agent = self.b(), crate = facade::guard)]),
        quote!(
            use protect as _;
        ),
        quote!(
            use x::protect as _;
        ),
    ] {
        let part = part.to_string();
        assert!(text.contains(&part), "no `{part}` in {text}");
    }
    assert!(!text.contains("compile_error"), "{text}");
}

#[test]
fn an_argument_with_an_error_is_left_to_protect() {
    for own in [
        quote!(action = "pay", agnet = "a"),
        quote!(action = "pay", agent),
        quote!(action = "pay" agent = "a"),
    ] {
        let item = quote!(impl Bank { #[protect(#own)] pub fn pay(&self) {} });
        let text = expanded(quote!(agent = "default"), item);
        assert!(text.contains(&own.to_string()), "{text}");
        assert!(!text.contains("default"), "{text}");
    }
}

#[test]
fn after_an_error_no_protected_or_unprotected_body_remains() {
    for attribute in [
        quote!(agnet = "a"),
        quote!(=),
        quote!(agent),
        quote!(agent = "a" authority = b),
        quote!(action = "pay"),
        quote!(agent = "a", agent = "b"),
        quote!(front = Front),
        quote!(crate = "atlasent"),
    ] {
        let text = expanded(
            attribute.clone(),
            quote!(impl Bank {
                #[protect(action = "pay", agent = "a")]
                pub fn pay(&self, permit: Permit) -> R { launch() }
                pub(crate) fn refund(&self) -> R { launch() }
            }),
        );
        assert!(text.contains("compile_error"), "{attribute}: {text}");
        assert!(!text.contains("launch"), "{attribute}: {text}");
        assert!(
            text.contains("pub fn pay (& self ,)"),
            "{attribute}: {text}"
        );
    }
}

#[test]
fn a_member_that_does_not_parse_is_left_out() {
    for member in [
        quote!(pub fn pay(x: ) { launch() }),
        quote!(launch! { launch() }),
        quote!(some::launch!(launch());),
        quote!(crate::launch!(launch());),
        quote!(
            pub struct Launch;
        ),
        quote!(launch()),
    ] {
        let text = expanded(
            quote!(),
            quote!(impl Bank { const A: fn() = { fn a() {} a }; #member }),
        );
        assert!(text.contains("compile_error"), "{member}: {text}");
        assert!(text.contains("const A"), "{member}: {text}");
        assert!(!text.contains("launch"), "{member}: {text}");
    }
}

#[test]
fn the_rest_of_the_item_passes_unchanged() {
    let item = quote! {
        #[doc = "d"]
        unsafe impl<const N: usize> Bank<{ N }> for A<{ N + 1 }> where [u8; N]: B {
            #![allow(a)]
            const A: u8 = { 1 };
            type B<'a> = &'a u8 where Self: 'a;
            default const C: u8 = 1;
            #[open("reads")]
            default unsafe extern "C" fn f<T>(x: T) -> R where T: X { #![allow(b)] claims. }
            const fn g(permit: Permit) {}
        }
    };
    let unmarked = text(&item).replace("# [open (\"reads\")] ", "");
    let expected = unmarked.replace("const fn g (permit : Permit) { }", "");
    let found = expanded(quote!(), item);
    let (error, rest) = found.split_at(found.find("# [doc").unwrap());
    assert!(error.is_empty(), "{error}");
    assert!(rest.contains("`g` is neither protected nor open"), "{rest}");
    let kept = expected.trim_end_matches([' ', '}']);
    assert!(rest.starts_with(kept), "{rest}\nis not\n{kept}");
}

#[test]
fn the_visibility_decides_in_an_inherent_impl() {
    for (visibility, is_error) in [
        (quote!(pub), true),
        (quote!(pub(crate)), true),
        (quote!(pub(super)), true),
        (quote!(pub(in crate::a)), true),
        (quote!(pub(self)), false),
        (quote!(), false),
    ] {
        let item = quote!(impl Bank { #visibility fn pay(&self) {} });
        let found = expanded(quote!(), item.clone()).contains("compile_error");
        assert_eq!(found, is_error, "{visibility}");
        assert!(expanded(quote!(all), item).contains("compile_error"));
    }
}

#[test]
fn a_permit_protects_only_if_callers_cannot_choose_its_action() {
    for (action, is_one) in [
        (quote!(Wire), true),
        (quote!(bank::Wire), true),
        (quote!((Wire)), true),
        (quote!(Wire<T>), true),
        (quote!(bank::Wire<T>), true),
        (quote!(B), true),
        (quote!(B::Action), true),
        (quote!(B::Action<u8>), true),
        (quote!(Self::Action), true),
        (quote!(<B as Tools>::Action<u8>), true),
        (quote!(AnyAction), false),
        (quote!(atlasent::AnyAction), false),
        (quote!(protected_action::ProtectedAction), false),
        (quote!(T), false),
        (quote!((T)), false),
        (quote!(T::Action), false),
        (quote!(<T as Tool>::Action), false),
        (quote!(<T>::Action), false),
        (quote!(<Vec<T> as Tool>::Action), false),
        (quote!(<Bank as Tool<T>>::Action), false),
        (quote!(<Bank as Tool<N>>::Action), false),
        (quote!(<Bank as Tool<{ N + 1 }>>::Action), false),
        (quote!(<B as Tools>::Action<T>), false),
        (quote!(B::Action<T>), false),
        (quote!(Self::Action<Vec<T>>), false),
        (quote!(impl Action), false),
        (quote!(&T), false),
        (quote!((T,)), false),
    ] {
        let item = quote!(impl<B: Tools> Bank<B> {
            pub fn run<'a, T: Tool, const N: usize>(&'a self, permit: Permit<#action>) {
                launch()
            }
        });
        let text = expanded(quote!(), item);
        assert_eq!(text.contains("launch"), is_one, "{action}: {text}");
        assert_eq!(text.contains("compile_error"), !is_one, "{action}: {text}");
    }
}

#[test]
fn a_parameter_of_an_impl_is_one_action_only_if_the_type_of_self_fixes_it() {
    for (header, parameters, is_one) in [
        ("impl<B> Bank<B>", "&self, permit: Permit<B>", true),
        (
            "impl<B> Bank<B>",
            "self: Arc<Self>, permit: Permit<B>",
            true,
        ),
        (
            "impl<B> Run<B> for Bank<B>",
            "&self, permit: Permit<B>",
            true,
        ),
        (
            "impl<B> Run<B> for Bank",
            "&self, permit: Permit<Wire<B>>",
            true,
        ),
        ("impl<B> Run<B> for Bank", "&self, permit: Permit<B>", false),
        (
            "impl<B> Run<B> for Bank",
            "&self, permit: Permit<B::Of>",
            false,
        ),
        (
            "impl<B> Run<B> for Bank",
            "&self, permit: Permit<Self::Of<B>>",
            false,
        ),
        ("impl<B> Bank<B>", "permit: Permit<Wire>", true),
        ("impl<B> Bank<B>", "permit: Permit<B>", false),
        ("impl<B> Bank<B>", "permit: Permit<B::Of>", false),
    ] {
        let item = format!("{header} {{ pub fn run({parameters}) {{ launch() }} }}");
        let text = expanded(quote!(), item.parse().unwrap());
        assert_eq!(text.contains("launch"), is_one, "{item}: {text}");
        assert_eq!(text.contains("compile_error"), !is_one, "{item}: {text}");
    }
}

#[test]
fn a_permit_in_a_group_without_delimiters_protects_as_outside_of_it() {
    for (permit, is_one) in [
        (quote!(Permit<Wire>), true),
        (quote!(Permit<AnyAction>), false),
        (quote!(Permit<T>), false),
    ] {
        let permit = Group::new(Delimiter::None, permit);
        let item = quote!(impl Bank {
            pub fn run<T>(&self, permit: #permit) {
                launch()
            }
        });
        let text = expanded(quote!(), item);
        assert_eq!(text.contains("launch"), is_one, "{text}");
    }
}

#[test]
fn the_permit_of_a_declaration_is_checked_under_its_conditions() {
    let item = quote!(
        trait Bank {
            #[doc = "d"]
            #[cfg(a)]
            fn pay(&self, permit: Permit<Pay>);
            fn wire<T>(&self, permit: Permit<Wire>);
        }
    );
    let text = expanded(quote!(), item);
    let (_, checks) = text.split_once("trait __Check").unwrap();
    assert!(checks.contains("{ # [cfg (a)] fn pay () {"), "{checks}");
    assert!(checks.contains("} fn wire < T > () {"), "{checks}");
}

#[test]
fn in_a_trait_an_implementation_may_choose_the_action_and_callers_may_not() {
    for (action, is_one) in [
        (quote!(Self::Action), true),
        (quote!(A), true),
        (quote!(A::Action), true),
        (quote!(A::Action<T>), false),
        (quote!(Self::Action<T>), false),
        (quote!(T::Action), false),
    ] {
        let item = quote!(trait Bank<A> { fn run<T>(&self, permit: Permit<#action>); });
        let text = expanded(quote!(), item);
        assert_eq!(text.contains("compile_error"), !is_one, "{action}: {text}");
    }
}

#[test]
fn the_protected_methods_of_a_trait_move_to_its_front() {
    let text = expanded(
        quote!(front = Front, agent = "a"),
        quote! {
            #[doc = "d"]
            #[async_trait]
            pub unsafe trait Bank<'a, T: X = u8>: Y where T: Z {
                #[open("reads")]
                fn name(&self);
                #[protect(action = "pay")]
                fn pay(&self) -> R { launch() }
            }
        },
    );
    let (bank, front) = text.split_once("The protected methods").unwrap();
    assert!(
        bank.contains("fn name") && !bank.contains("launch"),
        "{bank}"
    );
    for part in [
        quote!(#[async_trait] pub trait Front<'a, T: X = u8>: Bank<'a, T> where T: Z),
        quote!(#[async_trait] impl<'a, T: X, __Implementation: Bank<'a, T> + ?::core::marker::Sized> Front<'a, T> for __Implementation where T: Z),
    ] {
        let part = part.to_string();
        assert!(front.contains(&part), "no `{part}` in {front}");
    }
    assert!(front.contains("launch"), "{front}");
}
