-- Plans that wait for an approval, and what became of them. A plan goes with the run that made it.
CREATE TABLE plans (
    run_id      TEXT   NOT NULL PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    job         TEXT   NOT NULL,
    document    TEXT   NOT NULL,             -- the plan, as JSON
    made_at     BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    state       TEXT   NOT NULL,             -- waiting, replaced, approved, applied, void
    approved_by TEXT,
    approved_at BIGINT,
    comment     TEXT,
    applied_by  TEXT                         -- the run that applied it, or found it void
);
CREATE INDEX plans_by_job ON plans (job, state);
