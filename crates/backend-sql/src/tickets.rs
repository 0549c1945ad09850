//! Tries of typed enrolment codes.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use domain::audit::{Cause, Entry, Event};
use domain::ticket::{MAX_CODE_TRIES, Ticket};
use ports::StoreError;

use crate::audit::Prepared;
use crate::batch::Batch;
use crate::codec::int;
use crate::rows;
use crate::writer::Job;

/// Counts a try against all open tickets of users of that name, then compares. Both are one transaction and
/// nobody is told before its commit: no try is free.
pub(crate) struct TryCode {
    pub(crate) user: String,
    pub(crate) hash: [u8; 32],
}

impl Job for TryCode {
    type Done = Option<Ticket>;

    async fn run(&self, batch: &mut Batch<'_>) -> sqlx::Result<Option<Ticket>> {
        let open = sqlx::query(
            "UPDATE tickets SET code_tries = code_tries + 1
             WHERE state = 0 AND code_tries < $3 AND expires > $2
               AND user_id IN (SELECT id FROM users WHERE name = $1)
             RETURNING *",
        )
        .bind(self.user.as_str())
        .bind(int(batch.now.millis()))
        .bind(MAX_CODE_TRIES)
        .fetch_all(batch.conn().await?)
        .await?;
        let mut found = None;
        for row in &open {
            let ticket = rows::ticket(row)?;
            let is_right = verify_slices_are_equal(&ticket.code_hash, &self.hash).is_ok();
            if is_right {
                found = Some(ticket);
            } else if ticket.code_tries == MAX_CODE_TRIES {
                record_end(batch, &ticket)?;
            }
        }
        Ok(found)
    }
}

/// The code is of no use any more; the link is, so that knowing a name isn't enough to spoil an enrolment.
fn record_end(batch: &mut Batch<'_>, ticket: &Ticket) -> sqlx::Result<()> {
    let entry = Entry::new(ticket.tenant, Event::CodeFailed).with(|public| {
        public.ticket = Some(ticket.id);
        public.user = Some(ticket.user);
        public.cause = Some(Cause::CodeTries.into());
    });
    let entry =
        Prepared::new(&entry).map_err(|error: StoreError| sqlx::Error::Encode(error.into()))?;
    batch.record(&entry);
    Ok(())
}
