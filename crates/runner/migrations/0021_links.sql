-- Every link that was made, with the stack that asked for it: what became of an account's earlier stack and role is told from it.
-- Times are Unix milliseconds.
CREATE TABLE links (
    account        TEXT   NOT NULL,
    spot_account   TEXT   NOT NULL,
    stack_id       TEXT   NOT NULL,
    role           TEXT   NOT NULL,
    external_id    TEXT,                     -- the one that was made for the Spot account last, when it was linked
    linked_at      BIGINT NOT NULL,          -- since when this stack has it with this role
    ended_at       BIGINT,                   -- when another link took its place, or its Spot account was deleted
    broken_at      BIGINT,                   -- when Spot was seen to have no way in by it any more
    stack_gone     BIGINT,                   -- 1 once AWS said that the stack is deleted
    stack_ended_at BIGINT,                   -- and when, where AWS told
    PRIMARY KEY (account, spot_account, stack_id)
);
INSERT INTO links (account, spot_account, stack_id, role, external_id, linked_at)
SELECT o.account, o.spot_account, o.stack_id, o.role,
       (SELECT e.external_id FROM external_ids e WHERE e.spot_account = o.spot_account), o.linked_at
FROM owners o;

-- The retry clocks of what `enroll` mends, one for each account and kind of mend. Times are Unix seconds.
CREATE TABLE mend_retry (
    profile   TEXT   NOT NULL,
    account   TEXT   NOT NULL,
    mend      TEXT   NOT NULL,
    failures  BIGINT NOT NULL,
    next_due  BIGINT NOT NULL,
    reason    TEXT,
    run_id    TEXT   NOT NULL,               -- the run that counted it last: none counts twice
    PRIMARY KEY (profile, account, mend)
);
