-- Runs, steps and attempts. Times are Unix milliseconds; documents are JSON as text; the SQL is portable to PostgreSQL.
CREATE TABLE runs (
    id          TEXT   NOT NULL PRIMARY KEY, -- UUID version 7: sorts by time
    job         TEXT   NOT NULL,
    kind        TEXT   NOT NULL,
    woken_by    TEXT   NOT NULL,
    tick        BIGINT,                      -- the scheduled moment that it is for
    dry_run     BIGINT NOT NULL,
    state       TEXT   NOT NULL,             -- running, done, planned, failed, refused, interrupted
    started_at  BIGINT NOT NULL,
    ended_at    BIGINT,
    exit_code   BIGINT,
    summary     TEXT,
    findings    TEXT,
    refusals    TEXT,
    error       TEXT,
    trace_id    TEXT,
    lease_owner TEXT,
    lease_end   BIGINT,
    fence       BIGINT NOT NULL,
    UNIQUE (job, tick)
);
CREATE INDEX runs_by_job ON runs (job, state);

CREATE TABLE steps (
    run_id     TEXT   NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    step_id    TEXT   NOT NULL,
    position   BIGINT NOT NULL,
    action     TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    risk       TEXT   NOT NULL,
    accounts   TEXT   NOT NULL,              -- the ids of the accounts that it works on
    payload    TEXT   NOT NULL,
    state      TEXT   NOT NULL,              -- planned, running, changed, unchanged, failed, pending, skipped
    memo       TEXT,                         -- what it must remember across a crash
    note       TEXT,
    started_at BIGINT,
    ended_at   BIGINT,
    PRIMARY KEY (run_id, step_id)
);

CREATE TABLE attempts (
    run_id      TEXT   NOT NULL,
    step_id     TEXT   NOT NULL,
    attempt     BIGINT NOT NULL,
    started_at  BIGINT NOT NULL,
    ended_at    BIGINT,
    error_class TEXT,
    message     TEXT,
    span_id     TEXT,
    PRIMARY KEY (run_id, step_id, attempt),
    FOREIGN KEY (run_id, step_id) REFERENCES steps (run_id, step_id) ON DELETE CASCADE
);

-- Where accounts stood at the end of a run that worked on them. Untouched accounts have no row.
CREATE TABLE run_accounts (
    run_id   TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    account  TEXT NOT NULL,
    standing TEXT NOT NULL,
    reason   TEXT NOT NULL,
    detail   TEXT,
    PRIMARY KEY (run_id, account)
);
