//! What every HTTP edge shares: client address, bounds, problems.
