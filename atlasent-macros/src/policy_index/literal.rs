//! Checks literal ids of entities whose type is an `enum`, and lists its ids.

use proc_macro2::Span;
use syn::{Error, Expr, Lit, LitStr, Path};

use super::check::listed;
use super::kind::Kind;
use super::{Index, load};
use crate::errors::Errors;
use crate::suggest;

/// Checks the id of an agent or a resource, which are entities of the types `Agent` and `Resource`.
/// Errors go to `errors`. Where the index cannot be read, the check of the action says so.
pub(crate) fn check_id(entity: &str, id: &Expr, errors: &mut Errors) {
    if let Ok(Some(index)) = load() {
        for (span, message) in index.wrong_ids(&Kind::Entity(entity.to_owned()), id) {
            errors.push(Error::new(span, message));
        }
    }
}

impl Index {
    /// Returns the errors of the literals in a value whose declared type is `kind`.
    pub(super) fn wrong_ids(&self, kind: &Kind, value: &Expr) -> Vec<(Span, String)> {
        let mut literals = Vec::new();
        collect(kind, value, &mut literals);
        let wrong = literals.into_iter().filter_map(|(entity, literal)| {
            let ids = self.ids.get(entity)?;
            let written = literal.value();
            if ids.contains(&written) {
                return None;
            }
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let advice = match suggest::nearest(&written, &ids) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("the schema declares {}", listed(&ids, "no id")),
            };
            let message = format!("`{entity}` has no id `{written}`: {advice}");
            Some((literal.span(), message))
        });
        wrong.collect()
    }
}

/// Collects the string literals that are ids of entities, with the type of the entity.
///
/// | declared | value |
/// |---|---|
/// | an entity | `"red"`, `&"red"`, `Some("red")` |
/// | a set of entities | `["red", colour]`, `&["red"]`, `Some(["red"])` |
fn collect<'a>(kind: &'a Kind, value: &'a Expr, literals: &mut Vec<(&'a str, &'a LitStr)>) {
    match (kind, value) {
        (_, Expr::Reference(reference)) => collect(kind, &reference.expr, literals),
        (_, Expr::Group(group)) => collect(kind, &group.expr, literals),
        (_, Expr::Paren(paren)) => collect(kind, &paren.expr, literals),
        (_, Expr::Call(call)) => {
            let is_some = |path: &Path| {
                path.segments
                    .last()
                    .is_some_and(|last| last.ident == "Some")
            };
            let is_some = matches!(&*call.func, Expr::Path(function) if is_some(&function.path));
            if let (true, Some(inner)) = (is_some, call.args.first()) {
                collect(kind, inner, literals);
            }
        }
        (Kind::Entity(entity), Expr::Lit(literal)) => {
            if let Lit::Str(id) = &literal.lit {
                literals.push((entity, id));
            }
        }
        (Kind::Set(element), Expr::Array(array)) => {
            for value in &array.elems {
                collect(element, value, literals);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn literal_ids_of_an_enum_are_those_of_the_schema() {
        let index = "atlasent-policy-index 1\nenum Colour dark blue\nenum Colour red\n";
        let index = Index::parse(index).unwrap();
        let wrong = |kind: &str, value: Expr| {
            let kind = Kind::parse(kind).unwrap();
            let wrong = index.wrong_ids(&kind, &value).into_iter();
            wrong.map(|(_, message)| message).collect::<Vec<_>>()
        };
        for value in [
            parse_quote!("red"),
            parse_quote!(Some(&("dark blue"))),
            parse_quote!(colour),
            parse_quote!(colour("pink")),
        ] {
            assert_eq!(wrong("Entity<Colour>", value), [""; 0]);
        }
        assert_eq!(
            wrong("Entity<Colour>", parse_quote!(Some("read"))),
            ["`Colour` has no id `read`: did you mean `red`?"]
        );
        assert_eq!(
            wrong(
                "Set<Entity<Colour>>",
                parse_quote!(&["red", "black", "white"])
            )
            .len(),
            2
        );
        assert_eq!(
            wrong("Entity<Colour>", parse_quote!("black")),
            ["`Colour` has no id `black`: the schema declares `dark blue` and `red`"]
        );
        assert_eq!(wrong("Entity<Team>", parse_quote!("black")), [""; 0]);
        assert_eq!(wrong("String", parse_quote!("black")), [""; 0]);
    }
}
