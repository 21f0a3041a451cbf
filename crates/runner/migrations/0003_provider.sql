-- What the enrollment provider is about to do, what it did, and for whom. Times are Unix milliseconds.

-- One row per AWS account: who works on it, which Spot account it has, and a creation that is not settled.
CREATE TABLE intents (
    account     TEXT   NOT NULL PRIMARY KEY,
    holder      TEXT,
    held_until  BIGINT,
    assigned    TEXT,
    assigned_at BIGINT,
    sent        TEXT                         -- the unsettled creation, as JSON
);

-- The stack that a Spot account belongs to: the one whose link succeeded last.
CREATE TABLE owners (
    spot_account TEXT   NOT NULL PRIMARY KEY,
    account      TEXT   NOT NULL,
    stack_id     TEXT   NOT NULL,
    role         TEXT   NOT NULL,
    adopted      BIGINT NOT NULL,
    linked_at    BIGINT NOT NULL
);
CREATE INDEX owners_by_account ON owners (account);

-- The external ID that was made last for a Spot account.
CREATE TABLE external_ids (
    spot_account TEXT NOT NULL PRIMARY KEY,
    external_id  TEXT NOT NULL,
    valid_until  BIGINT
);

-- Answers that custom resources got. A request that comes again gets the same one.
CREATE TABLE answered_requests (
    stack_id    TEXT   NOT NULL,
    request_id  TEXT   NOT NULL,
    answer      TEXT   NOT NULL,
    answered_at BIGINT NOT NULL,
    PRIMARY KEY (stack_id, request_id)
);

-- AWS accounts that were linked to a Spot account before us, as last answered.
CREATE TABLE adoptions (
    account      TEXT   NOT NULL PRIMARY KEY,
    spot_account TEXT   NOT NULL,
    answered_at  BIGINT NOT NULL
);
