-- What targets are told, until they were. Times are Unix milliseconds.
CREATE TABLE notifications (
    id          TEXT   NOT NULL PRIMARY KEY, -- UUID version 7: what a receiver knows it by
    target      TEXT   NOT NULL,
    event       TEXT   NOT NULL,
    job         TEXT   NOT NULL,
    cause       TEXT   NOT NULL,             -- a digest: what tells it from others of its kind
    notice      TEXT   NOT NULL,             -- what is told, as JSON
    occurrences BIGINT NOT NULL,             -- how often it happened, as it is told
    repeats     BIGINT NOT NULL,             -- how often since, which the next one tells
    state       TEXT   NOT NULL,             -- waiting, sent, given-up
    created_at  BIGINT NOT NULL,
    due_at      BIGINT NOT NULL,             -- not tried before
    attempts    BIGINT NOT NULL,
    held_until  BIGINT,                      -- somebody tries it until then
    error       TEXT,                        -- what went wrong last
    ended_at    BIGINT,
    newest      BIGINT,                      -- 1: the newest of its cause for its target
    UNIQUE (target, event, job, cause, newest)
);
CREATE INDEX notifications_by_state ON notifications (state, due_at);
CREATE INDEX notifications_by_end ON notifications (target, ended_at);

-- Old runs are forgotten.
CREATE INDEX runs_by_end ON runs (ended_at);
