//! An operation that may run: [`Clearance`].

use std::borrow::Cow;

use atlasent::authority::PermitWithAnswers;
use atlasent::permit::Execution;
use atlasent::wire::ResultHash;
use atlasent::{Action, Context, Error, Permit};

use crate::mapping::MappedAction;
use crate::operation::Operation;

/// The action of a permit for an operation. It owns the operation, with the text of its arguments.
#[derive(Clone, Debug)]
pub struct AuthorizedOperation {
    name: String,
    resource: Option<String>,
    operation: Operation,
}

impl AuthorizedOperation {
    pub(crate) fn new(mapped: MappedAction, operation: Operation) -> Self {
        Self {
            name: mapped.name,
            resource: mapped.resource,
            operation,
        }
    }

    /// Returns the operation.
    #[must_use]
    pub fn operation(&self) -> &Operation {
        &self.operation
    }
}

impl Action for AuthorizedOperation {
    fn name(&self) -> &str {
        &self.name
    }

    fn resource(&self) -> Option<Cow<'_, str>> {
        self.resource.as_deref().map(Cow::Borrowed)
    }

    fn context(&self) -> Result<Context, Error> {
        Ok(self.operation.context().clone())
    }
}

/// The clearance for one execution of an operation, from
/// [`Gate::authorize`](super::Gate::authorize).
///
/// It owns the permit, and the text that was decided on. Run exactly
/// [`arguments`](Self::arguments), and then call [`completed`](Self::completed) or
/// [`failed`](Self::failed), which send the receipt. A clearance that is dropped is recorded as
/// cancelled.
#[derive(Debug)]
#[must_use = "a clearance that is dropped is recorded as cancelled"]
pub struct Clearance {
    operation: Operation,
    granted: Option<Granted>,
}

#[derive(Debug)]
struct Granted {
    execution: Execution,
    permit: Option<PermitWithAnswers<AuthorizedOperation>>,
}

impl Clearance {
    /// Clears an operation that needs no permit.
    pub(crate) fn open(operation: &Operation) -> Self {
        Self {
            operation: operation.clone(),
            granted: None,
        }
    }

    pub(super) fn permitted(granted: PermitWithAnswers<AuthorizedOperation>) -> Self {
        Self {
            operation: granted.permit.operation().clone(),
            granted: Some(Granted {
                execution: granted.permit.execution(),
                permit: Some(granted),
            }),
        }
    }

    /// Returns the operation that was decided on.
    #[must_use]
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// Returns the text of the JSON object that was decided on, as it was written.
    #[must_use]
    pub fn arguments(&self) -> &str {
        self.operation.arguments()
    }

    /// Returns the permit, or `None` for an operation that needs none.
    #[must_use]
    pub fn permit(&self) -> Option<&Permit<AuthorizedOperation>> {
        let permit = self.granted.as_ref()?.permit.as_ref();
        permit.map(|answers| &answers.permit)
    }

    /// Takes the permit out, to hand it on to the code that runs.
    pub(crate) fn take_permit(&mut self) -> Option<PermitWithAnswers<AuthorizedOperation>> {
        self.granted.as_mut()?.permit.take()
    }

    /// Records that the operation completed, with the hash of the bytes of its result.
    pub fn completed(self, result: impl AsRef<[u8]>) {
        if let Some(granted) = self.granted {
            let execution = granted.execution.with_result_hash(ResultHash::of(result));
            let _ = execution.finish(false);
        }
    }

    /// Records that the operation failed. `reason` becomes part of the audit chain: pass a text of
    /// the program, and no value of a customer.
    pub fn failed(self, reason: impl Into<String>) {
        if let Some(granted) = self.granted {
            let _ = granted.execution.with_error(reason).finish(true);
        }
    }
}
