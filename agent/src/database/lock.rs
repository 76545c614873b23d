//! The advisory lock that is held around migrations: Alembic takes none, and of two upgrades at once
//! one dies in the middle.

use std::time::Duration;

use async_trait::async_trait;

use super::DatabaseError;
use super::link::Link;
use super::login::Login;

/// `SDFS` and 1, in the two halves of `pg_advisory_lock(bigint)`. It is the same in every version.
const KEY: (i32, i32) = (0x5344_4653, 1);

/// Holds the lock for as long as it lives.
#[async_trait]
pub trait Guard: Send + Sync {
    /// Whether the connection that holds it still stands, as far as is known here.
    fn is_held(&self) -> bool;

    /// Gives it back in good order. Dropping it does so too, a little later.
    async fn release(self: Box<Self>);
}

struct Held(Link);

#[async_trait]
impl Guard for Held {
    fn is_held(&self) -> bool {
        self.0.is_open()
    }

    async fn release(self: Box<Self>) {
        let Self(link) = *self;
        link.end().await;
    }
}

pub(super) async fn lock(login: &Login, within: Duration) -> Result<Box<dyn Guard>, DatabaseError> {
    let link = Link::to(login, within).await?;
    let key = (i64::from(KEY.0) << 32) | i64::from(KEY.1);
    match link
        .run(&format!("SELECT pg_catalog.pg_advisory_lock({key})"))
        .await
    {
        Ok(()) => Ok(Box::new(Held(link))),
        Err(DatabaseError::InUse { .. }) => Err(DatabaseError::InUse {
            said: String::from("the lock around migrations is held"),
            by: link.holders(KEY.0, Some(KEY.1)).await?,
        }),
        Err(error) => Err(error),
    }
}
