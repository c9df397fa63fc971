//! Checks the fields of a struct against a record of the index.

use syn::{Error, LitStr};

use super::check::{Owner, Subject, advice};
use super::declaration::Declaration;
use super::kind::{DeclaredKey, Kind, RecordKind};
use super::{Index, load};
use crate::errors::Errors;

/// Checks a record of the crate that is compiled, and returns its declaration and its shape.
/// Without an index, or after an error about `path`, it returns `None`. Errors go to `errors`.
///
/// `path` is the action, the key of the context, and the keys of the records inside.
pub(crate) fn check_record(
    path: &[LitStr],
    subject: &Subject<'_>,
    errors: &mut Errors,
) -> Option<(Declaration, u64)> {
    let (action, keys) = path.split_first()?;
    let loaded = load().map_err(|why| Error::new(action.span(), why));
    let index = errors.take(loaded)??;
    let record = errors.take(index.record(action, keys))?;
    let keys: Vec<String> = keys.iter().map(LitStr::value).collect();
    let owner = Owner {
        title: format!("record `{}` of action `{}`", keys.join("."), action.value()),
        key: "key",
    };
    for problem in index.problems(&owner, &record.keys, subject) {
        errors.push(Error::new(problem.span, problem.message));
    }
    Some((Declaration::of_keys(&record.keys), record.shape))
}

impl Index {
    /// Returns the record at `keys` in the context of an action. A set stands for its elements.
    fn record(&self, action: &LitStr, keys: &[LitStr]) -> syn::Result<&RecordKind> {
        let declared = self.action(&action.value());
        let declared = declared.ok_or_else(|| self.unknown_action(action))?;
        let mut inner: &[DeclaredKey] = &declared.keys;
        let mut record = None;
        for written in keys {
            let name = written.value();
            let error = |message: String| Error::new(written.span(), message);
            let Some(key) = inner.iter().find(|key| key.name == name) else {
                let names: Vec<&str> = inner.iter().map(|key| &*key.name).collect();
                let advice = advice(&name, &names, &names);
                return Err(error(format!("unknown key `{name}`: {advice}")));
            };
            let mut kind = &key.kind;
            while let Kind::Set(element) = kind {
                kind = element;
            }
            match kind {
                Kind::Record(found) => {
                    inner = &found.keys;
                    record = Some(found);
                }
                Kind::LargeRecord => {
                    return Err(error(format!(
                        "the record `{name}` is too large to check: derive nothing, and pass the value with \
                         `atlasent::schema::unchecked_policy(...)`"
                    )));
                }
                other => {
                    return Err(error(format!(
                        "`{name}` is no record: the schema declares it as `{other}`"
                    )));
                }
            }
        }
        record.ok_or_else(|| {
            Error::new(
                action.span(),
                "name the context key of the record, too, such as `#[record(\"deploy\", \"client\")]`",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proc_macro2::Span;

    const INDEX: &str = "atlasent-policy-index 1\naction visit\n\
        required Set<{geo:{lat:decimal,lon:decimal},port?:Long}> clients\noptional LargeRecord all\n";

    fn literal(text: &str) -> LitStr {
        LitStr::new(text, Span::call_site())
    }

    #[test]
    fn a_record_is_found_by_its_path() {
        let index = Index::parse(INDEX).unwrap();
        let record = |path: &[&str]| {
            let path: Vec<LitStr> = path.iter().map(|name| literal(name)).collect();
            let (action, keys) = path.split_first().unwrap();
            let record = index
                .record(action, keys)
                .map_err(|error| error.to_string());
            record.map(ToString::to_string)
        };
        let visit = |path: &[&str]| record(&[&["visit"], path].concat());
        let clients = "{ geo: { lat: decimal, lon: decimal }, port?: Long }";
        assert_eq!(visit(&["clients"]).unwrap(), clients);
        let geo = "{ lat: decimal, lon: decimal }";
        assert_eq!(visit(&["clients", "geo"]).unwrap(), geo);
        for (path, says) in [
            (
                &["client"][..],
                "unknown key `client`: did you mean `clients`?",
            ),
            (&["colour"], "the schema declares `clients` and `all`"),
            (
                &["clients", "port"],
                "`port` is no record: the schema declares it as `Long`",
            ),
            (&["all"], "too large"),
            (&[], "name the context key"),
        ] {
            let error = visit(path).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert!(
            record(&["visits", "a"])
                .unwrap_err()
                .contains("did you mean `visit`?")
        );
    }
}
