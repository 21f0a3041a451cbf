//! The Spot governor: learns each route's sliding window from the X-RateLimit-* headers and tells callers when to send.
