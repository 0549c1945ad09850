//! Ledger, Directory, Vault and, on SQLite, Hot.
