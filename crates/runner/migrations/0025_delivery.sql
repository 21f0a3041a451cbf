-- A target fails as a whole, and is asked so often only. Times are Unix milliseconds.
CREATE TABLE notification_targets (
    name       TEXT   NOT NULL PRIMARY KEY,
    not_before BIGINT NOT NULL,              -- nothing is sent to it before
    failures   BIGINT NOT NULL               -- attempts in a row that failed by it, not by what they told
);
CREATE TABLE notification_attempts (
    target TEXT   NOT NULL,
    at     BIGINT NOT NULL                   -- older ones than an hour are forgotten
);
CREATE INDEX notification_attempts_by_target ON notification_attempts (target, at);

ALTER TABLE notifications ADD COLUMN latest TEXT;       -- the occurrence that was counted last
ALTER TABLE notifications ADD COLUMN give_up_at BIGINT; -- when it is not tried any more; none: a day after it was written
