//! The REST edge and the operators' edge.
