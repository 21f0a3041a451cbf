-- Of what an orphan is one, why, and when a run saw it last: its grace period goes on only while all that is the same and somebody
-- looks. What was kept of it before does not say so, and begins anew. Times are Unix seconds.
DROP TABLE orphans;
CREATE TABLE orphans (
    spot_account TEXT   NOT NULL PRIMARY KEY,
    account      TEXT   NOT NULL,
    why          TEXT   NOT NULL,
    owner        TEXT,                       -- the stack that linked it last
    first_seen   BIGINT NOT NULL,
    last_seen    BIGINT NOT NULL
);
