-- Requests for runs wait among the runs, in the state 'queued', until they are taken up; one that is decided against is 'skipped'
-- or 'cancelled', with the reason as its error. started_at is when it was asked for, until it is taken up.
ALTER TABLE runs ADD COLUMN due_at BIGINT;     -- not before: the tick and its jitter
ALTER TABLE runs ADD COLUMN asked TEXT;        -- what was asked for beside the job's definition, as JSON
ALTER TABLE runs ADD COLUMN cancelled_by TEXT; -- who asked a run to end
CREATE INDEX runs_by_state ON runs (state, due_at);

-- What the scheduler remembers of each job.
CREATE TABLE schedules (
    job          TEXT   NOT NULL PRIMARY KEY,
    looked_until BIGINT NOT NULL,              -- ticks until then are dealt with
    paused_by    TEXT,
    paused_at    BIGINT,
    pause_reason TEXT
);
