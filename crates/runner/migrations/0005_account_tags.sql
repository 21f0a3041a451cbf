-- The tags of accounts in AWS Organizations, as last read. An account that leaves the organization loses them.
CREATE TABLE account_tags (
    account TEXT   NOT NULL PRIMARY KEY,
    tags    TEXT   NOT NULL,                 -- values by key, as JSON
    read_at BIGINT NOT NULL                  -- Unix seconds
);
