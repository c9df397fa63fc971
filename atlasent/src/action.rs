//! The action of a request: the [`Action`] trait, typed actions and [`AnyAction`].

use std::borrow::Cow;

use serde::Serialize;

use crate::agent::check_name;
use crate::{Context, Error};

/// An action that an agent asks to perform: a name, a resource and a context.
///
/// Derive it for a struct. The permit for such an action carries the struct's values:
///
/// ```
/// use atlasent::{Action, NamedAction};
///
/// #[derive(Action)]
/// #[action("modify_patient_record")]
/// struct ModifyPatientRecord {
///     #[action(resource)]
///     patient_id: String,
///     change_reason: String,
/// }
///
/// assert_eq!(ModifyPatientRecord::NAME, "modify_patient_record");
/// ```
///
/// Use [`AnyAction`] where the name is known at run time only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an action",
    label = "this type does not implement `atlasent::Action`",
    note = "derive it: `#[derive(atlasent::Action)]` with `#[action(\"the.name\")]` above the struct",
    note = "or name the action: `action = \"deploy.production\"`, or, where its name is known at run time only, \
            `action = AnyAction::new(name)?`"
)]
pub trait Action: Send + Sync + 'static {
    /// Returns the action's name in policies: 1 to 256 characters.
    fn name(&self) -> &str;

    /// Returns the [name](Self::name) for a request. An action whose name is static does not copy
    /// it.
    #[doc(hidden)]
    fn name_for_request(&self) -> Cow<'static, str> {
        self.name().to_owned().into()
    }

    /// Returns the resource of the action, if it has one.
    fn resource(&self) -> Option<Cow<'_, str>> {
        None
    }

    /// Returns the context, which policies decide on and the permit is bound to.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when a value cannot be written as JSON.
    fn context(&self) -> Result<Context, Error> {
        Ok(Context::new())
    }

    /// Returns whether the action has this context. An action that keeps its context compares it
    /// in place.
    #[doc(hidden)]
    fn has_context(&self, context: &Context) -> Result<bool, Error> {
        Ok(self.context()? == *context)
    }
}

/// An action whose name belongs to its type, so that a permit for another action is another type.
///
/// Only `#[derive(Action)]` implements it. An implementation by hand could give the type one `NAME`
/// and its requests another [`name`](Action::name).
///
/// ```compile_fail,E0277
/// # use atlasent::{Action, NamedAction};
/// struct Read;
///
/// impl Action for Read {
///     fn name(&self) -> &str {
///         "read"
///     }
/// }
///
/// impl NamedAction for Read {
///     const NAME: &'static str = "drop_table";
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an action with a name of its own",
    label = "this needs `atlasent::NamedAction`, so that permits for other actions are other types",
    note = "derive it: `#[derive(atlasent::Action)]` with `#[action(\"the.name\")]` above the struct"
)]
pub trait NamedAction: Action + DerivedAction {
    /// The action's name in policies, which [`name`](Action::name) returns.
    const NAME: &'static str;
}

/// The name that `#[derive(Action)]` gives a type. The derive implements it under the same
/// conditions as `Action`, with the same name.
///
/// The trait is hidden.
#[diagnostic::on_unimplemented(
    message = "`NamedAction` cannot be implemented by hand for `{Self}`",
    label = "only `#[derive(Action)]` gives the type and its requests the same name",
    note = "derive it: `#[derive(atlasent::Action)]` with `#[action(\"the.name\")]` above the struct"
)]
pub trait DerivedAction {
    /// The name in the attribute above the struct.
    const DERIVED_NAME: &'static str;
}

#[diagnostic::do_not_recommend]
impl<A: DerivedAction + Action> NamedAction for A {
    const NAME: &'static str = A::DERIVED_NAME;
}

/// An action whose name is known at run time only.
///
/// Every such action has the permit type `Permit<AnyAction>`, so the compiler cannot tell their
/// permits apart. Where that matters, derive [`Action`] for a type.
///
/// ```
/// use atlasent::{Action, AnyAction};
///
/// let action = AnyAction::new("deploy.production")?
///     .with_resource("cluster-7")
///     .with_field("commit", "4f2a")?;
/// assert_eq!(action.name(), "deploy.production");
/// assert_eq!(action.resource().as_deref(), Some("cluster-7"));
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyAction {
    name: Cow<'static, str>,
    resource: Option<String>,
    context: Context,
}

impl AnyAction {
    /// Creates an action without resource and context.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the name is empty or longer than 256 characters.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Result<Self, Error> {
        let name = name.into();
        check_name("action", &name)?;
        Ok(Self {
            name,
            resource: None,
            context: Context::new(),
        })
    }

    /// Sets the resource. A second call replaces the first.
    #[must_use]
    pub fn with_resource(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// Replaces the context with all its fields.
    #[must_use]
    pub fn with_context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Sets one field of the context. A second call with the same key replaces its value.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when `value` cannot be written as JSON, or repeats a key.
    pub fn with_field<T: Serialize + ?Sized>(
        mut self,
        key: impl Into<String>,
        value: &T,
    ) -> Result<Self, Error> {
        self.context.insert(key, value)?;
        Ok(self)
    }
}

impl Action for AnyAction {
    fn name(&self) -> &str {
        &self.name
    }

    fn name_for_request(&self) -> Cow<'static, str> {
        self.name.clone()
    }

    fn resource(&self) -> Option<Cow<'_, str>> {
        self.resource.as_deref().map(Cow::Borrowed)
    }

    fn context(&self) -> Result<Context, Error> {
        Ok(self.context.clone())
    }

    fn has_context(&self, context: &Context) -> Result<bool, Error> {
        Ok(self.context == *context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_name_is_not_copied_for_a_request() {
        let named = |name: Cow<'static, str>| AnyAction::new(name).unwrap().name_for_request();
        assert!(matches!(named("deploy".into()), Cow::Borrowed("deploy")));
        assert_eq!(named("deploy".to_owned().into()), "deploy");
    }

    #[test]
    fn fields_add_up_and_what_is_set_twice_is_what_was_set_last() {
        let action = AnyAction::new("deploy").unwrap();
        let action = action.with_resource("one").with_resource("two");
        let action = action.with_field("a", &1).unwrap();
        let action = action
            .with_field("b", &2)
            .unwrap()
            .with_field("a", &3)
            .unwrap();
        assert_eq!(action.resource().as_deref(), Some("two"));
        let context = action.context().unwrap();
        assert_eq!(context.canonical_json(), r#"{"a":3,"b":2}"#);
        let other = Context::from_serialize(&serde_json::json!({"c": 4})).unwrap();
        let action = action.with_context(other.clone());
        assert_eq!(action.context().unwrap(), other);
    }
}
