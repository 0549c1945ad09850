//! Use cases: load, ask the domain, store, deliver.
