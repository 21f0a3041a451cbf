-- When nothing may be changed, by whose word. The one that is in force has no end.
CREATE TABLE freezes (
    id       TEXT   NOT NULL PRIMARY KEY,    -- UUID version 7: sorts by time
    began_at BIGINT NOT NULL,
    began_by TEXT   NOT NULL,
    reason   TEXT   NOT NULL,
    ended_at BIGINT,
    ended_by TEXT,
    in_force BIGINT UNIQUE                   -- 1 while it is: there is one at most
);
