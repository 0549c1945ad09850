//! What security staff asks for, and agrees to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Agrees to something that waits.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approve {}

/// Contains a user.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainUser {
    /// Why; audited.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 200)]
    pub reason: Option<String>,
}

/// Says that an attack on a user is over.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClearUser {
    /// Why; goes into the audit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 200)]
    pub reason: Option<String>,
}

/// How alarmed the guard is about a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    /// Their id.
    #[schema(example = "usr_08g42g8s94m34hp0a2l8h6d0vo")]
    pub user: String,
    /// 0 calm, 1 silent elsewhere, 2 alerted, 3 confirmed or contained.
    pub level: u8,
    /// The number behind the level.
    pub score: f32,
}
