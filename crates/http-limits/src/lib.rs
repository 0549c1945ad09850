//! What every HTTP edge shares: who the client is, how much it may send, and what a refusal looks like.
//!
//! Architecture invariant: no edge writes an error body of its own. It returns a [`Problem`], whose [`Code`]s
//! are a closed set, each explained in docs/problems.md; [`front`] gives it the request's id. Two exceptions: an edge whose
//! protocol has errors of its own answers with those, and a page for a person is a [`HostedPage`].

mod body;
mod cidr;
mod client;
mod code;
mod front;
mod hosted;
mod problem;
mod quota;
mod shed;

pub use body::{BODY_DEADLINE, Json, MAX_BODY, Query, read_body};
pub use cidr::{BadCidr, Cidr};
pub use client::{ClientAddr, PeerUid};
pub use code::Code;
pub use front::{Front, Fronted, RequestIds, front, of_request, request_id};
pub use hosted::{HostedPage, LANGUAGES};
pub use problem::{PROBLEM_JSON, Problem};
pub use quota::{MAX_PER_MINUTE, Quota, Standing, count_request, tell_quota};
pub use shed::Shed;
