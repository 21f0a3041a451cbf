-- What runs remember of the world for the next one. Times are Unix seconds.

-- The retry clock of accounts whose stack instance failed. Success deletes the row.
CREATE TABLE account_retry (
    profile         TEXT   NOT NULL,
    account         TEXT   NOT NULL,
    failures        BIGINT NOT NULL,
    first_failed_at BIGINT NOT NULL,
    last_failed_at  BIGINT NOT NULL,
    next_due        BIGINT NOT NULL,
    reason          TEXT,
    operation       TEXT   NOT NULL,         -- the operation whose failure was counted last: none counts twice
    PRIMARY KEY (profile, account)
);

-- The organization as the last complete listing had it.
CREATE TABLE organization_units (
    id   TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL
);
CREATE TABLE closed_accounts (
    account      TEXT   NOT NULL PRIMARY KEY,
    closed_since BIGINT NOT NULL             -- when a listing first had it as closed
);

-- Single values, as JSON.
CREATE TABLE kv (
    name       TEXT   NOT NULL PRIMARY KEY,
    value      TEXT   NOT NULL,
    written_at BIGINT NOT NULL
);
