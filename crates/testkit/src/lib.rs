//! Test support: the conformance suites of the ports and a set-up in one sentence.
