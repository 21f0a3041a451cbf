-- Since when something is an orphan, each job that cleans up says by its own rules. What was kept before counts for all of these jobs.
CREATE TABLE job_orphans (
    job          TEXT   NOT NULL,
    spot_account TEXT   NOT NULL,
    account      TEXT   NOT NULL,
    why          TEXT   NOT NULL,
    owner        TEXT,                       -- the stack that linked it last
    first_seen   BIGINT NOT NULL,
    last_seen    BIGINT NOT NULL,
    PRIMARY KEY (job, spot_account)
);
INSERT INTO job_orphans (job, spot_account, account, why, owner, first_seen, last_seen)
    SELECT jobs.job, orphans.spot_account, orphans.account, orphans.why, orphans.owner, orphans.first_seen, orphans.last_seen
    FROM orphans, (SELECT DISTINCT job FROM runs WHERE kind = 'orphan-cleanup') AS jobs;
DROP TABLE orphans;
ALTER TABLE job_orphans RENAME TO orphans;
