//! Hosted pages: the sign-in page.
