-- Old answers are forgotten.
CREATE INDEX answered_requests_by_age ON answered_requests (answered_at);
