-- What orphan-cleanup remembers. Times are Unix seconds.

-- Since when a Spot account of ours has nobody to use it. One that is needed again is gone from here.
CREATE TABLE orphans (
    spot_account TEXT   NOT NULL PRIMARY KEY,
    first_seen   BIGINT NOT NULL
);

-- Where the AWS accounts of our Spot accounts were when they were last in the organization.
CREATE TABLE account_places (
    account TEXT NOT NULL PRIMARY KEY,
    place   TEXT NOT NULL                    -- name, units and path, as JSON
);

-- The Spot accounts that were deleted, with all that is needed to make them again.
CREATE TABLE deletions (
    spot_account TEXT   NOT NULL PRIMARY KEY,
    account      TEXT   NOT NULL,
    run_id       TEXT   NOT NULL,            -- the run that deleted it
    record       TEXT   NOT NULL,            -- what it was, who deleted it and why, as JSON
    written_at   BIGINT NOT NULL,            -- before the deletion was sent
    deleted_at   BIGINT,                     -- when it was known to be deleted
    undone       TEXT,                       -- what was made instead, as JSON
    undone_at    BIGINT,
    undone_by    TEXT
);
CREATE INDEX deletions_by_run ON deletions (run_id);
CREATE INDEX deletions_by_time ON deletions (deleted_at);
