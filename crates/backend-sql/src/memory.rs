//! Everything that is kept in memory. Only the writer changes it, after its commits.

use crate::people::People;
use crate::records::Records;

pub(crate) struct Memory {
    pub(crate) records: Records,
    pub(crate) people: People,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { records: Records::new(), people: People::default() }
    }
}
