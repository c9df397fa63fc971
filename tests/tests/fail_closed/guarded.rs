//! Lists the ways to reach a guarded value. Each way counts exactly if it reaches the value.

use atlasent::{Action, Authority, AuthorityExt, Guarded, blocking};
use atlasent_tests::cases::AGENT;

use crate::paths::{AsyncPath, SyncPath};

#[derive(Action)]
#[action("deploy.production")]
pub(crate) struct Deploy;

struct Cluster;

pub(crate) fn async_paths<P: Authority>() -> Vec<(&'static str, AsyncPath<P>)> {
    vec![
        ("Guarded::with", |p, ran| {
            Box::pin(async move {
                let permit = p.protect(AGENT, Deploy).await?;
                Guarded::granted_by(p, Cluster)?.with(permit, |_| ran.hit())
            })
        }),
        ("Guarded::with_async", |p, ran| {
            Box::pin(async move {
                let permit = p.protect(AGENT, Deploy).await?;
                let guarded = Guarded::granted_by(p, Cluster)?;
                guarded.with_async(permit, async |_| ran.hit()).await
            })
        }),
    ]
}

pub(crate) fn sync_paths<P: Authority>() -> Vec<(&'static str, SyncPath<P>)> {
    vec![
        ("Guarded::open", |p, ran| {
            let permit = blocking::protect(p, AGENT, Deploy)?;
            Guarded::granted_by(p, ran)?.open(permit)?.hit();
            Ok(())
        }),
        ("Permit::recheck", |p, ran| {
            let permit = blocking::protect(p, AGENT, Deploy)?;
            blocking::wait(permit.recheck(p))?;
            ran.hit();
            Ok(())
        }),
    ]
}
