-- What decides whether the end of a stack deletes its Spot account, and the Spot accounts that stay without a stack.

-- The stack whose request created the assigned Spot account.
ALTER TABLE intents ADD COLUMN created_by TEXT;
-- The stacks that were given the Spot account and have not been deleted since, as a JSON array.
ALTER TABLE intents ADD COLUMN stacks TEXT;
-- The stacks that have been deleted, likewise: a late request of theirs is not served.
ALTER TABLE intents ADD COLUMN departed TEXT;
-- The Spot account that was deleted last: Spot may list it for some more time.
ALTER TABLE intents ADD COLUMN removed TEXT;

-- Spot accounts that stay although their stack is deleted, until somebody decides about them.
CREATE TABLE tombstones (
    spot_account TEXT   NOT NULL PRIMARY KEY,
    account      TEXT   NOT NULL,
    stack_id     TEXT   NOT NULL,
    reason       TEXT   NOT NULL,
    left_at      BIGINT NOT NULL
);
CREATE INDEX tombstones_by_account ON tombstones (account);
