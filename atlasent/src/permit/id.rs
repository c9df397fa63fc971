//! The id of a permit.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize, Serializer};

use crate::text::redact::Redacted;
use crate::wire::PermitToken;

/// The id of a permit: its public id (`pt_…`), or its used-up token where the service sends no
/// public id.
///
/// It derefs to its text and serializes in full. It prints redacted.
///
/// ```
/// # use atlasent::{AnyAction, testing};
/// let permit = testing::permit(AnyAction::new("deploy")?)?;
/// let id: &str = &permit.record().id;
/// assert_eq!(id, permit.id());
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct PermitId(Text);

/// The text of an id, which is not copied when the permit is made.
#[derive(Clone)]
enum Text {
    Own(String),
    OfToken(PermitToken),
}

impl Deref for PermitId {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Text::Own(id) => id,
            Text::OfToken(token) => token.expose(),
        }
    }
}

impl From<String> for PermitId {
    fn from(id: String) -> Self {
        Self(Text::Own(id))
    }
}

impl From<PermitToken> for PermitId {
    fn from(token: PermitToken) -> Self {
        Self(Text::OfToken(token))
    }
}

/// Ids compare by their text.
impl PartialEq for PermitId {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for PermitId {}

impl PartialEq<str> for PermitId {
    fn eq(&self, id: &str) -> bool {
        **self == *id
    }
}

impl PartialEq<&str> for PermitId {
    fn eq(&self, id: &&str) -> bool {
        **self == **id
    }
}

impl Serialize for PermitId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl fmt::Debug for PermitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Redacted(self), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "permit_7c1e55d0a9b84f33";

    #[test]
    fn an_id_is_its_text_wherever_it_comes_from() {
        let of_token = PermitId::from(PermitToken::new(TOKEN).unwrap());
        let own = PermitId::from(TOKEN.to_owned());
        assert_eq!(of_token, own);
        assert_eq!((&*of_token, &*own), (TOKEN, TOKEN));
        assert!(own == *TOKEN && own == TOKEN && own != *"pt_1");
        let json = serde_json::to_string(&of_token).unwrap();
        assert_eq!(json, format!("\"{TOKEN}\""));
        assert_eq!(serde_json::from_str::<PermitId>(&json).unwrap(), of_token);
    }

    #[test]
    fn an_id_prints_redacted() {
        for id in [
            PermitId::from(PermitToken::new(TOKEN).unwrap()),
            PermitId::from(TOKEN.to_owned()),
        ] {
            assert_eq!(format!("{id:?}"), "\"…b84f33\"");
        }
    }
}
