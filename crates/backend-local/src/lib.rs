//! The courier of a single node: mailboxes and waiters in this process.
