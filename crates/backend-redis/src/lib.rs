//! Hot on Redis or Valkey.
