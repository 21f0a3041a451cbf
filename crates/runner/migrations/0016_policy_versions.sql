-- The versions of the policies of each profile, as they are divided over managed policies, and which one is good.
CREATE TABLE policy_versions (
    profile     TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    digest      TEXT   NOT NULL,
    policies    TEXT   NOT NULL,             -- documents by what they are for, as JSON
    noted_at    BIGINT NOT NULL,             -- Unix seconds
    rejected_at BIGINT,                      -- when it was rolled back
    good        BIGINT,                      -- 1: the last good one of its profile
    PRIMARY KEY (profile, name),
    UNIQUE (profile, good)
);
-- Rollouts of versions. The one that is not over has no end; there is one at most for each profile.
CREATE TABLE rollouts (
    id         TEXT   NOT NULL PRIMARY KEY,
    profile    TEXT   NOT NULL,
    phase      TEXT   NOT NULL,
    document   TEXT   NOT NULL,              -- the rollout, as JSON
    revision   BIGINT NOT NULL,              -- one more with each change
    opened_at  BIGINT NOT NULL,              -- Unix seconds
    changed_at BIGINT NOT NULL,
    decided_by TEXT,                         -- who let it go on or turned it back last, and why
    open       BIGINT,                       -- 1 while it is
    UNIQUE (profile, open)
);
