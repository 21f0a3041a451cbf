-- How it stands with each job, for metrics: what its last runs came to, written with their ends, as there are too many runs to look
-- through them whenever somebody asks. Runs that only an operator looked with are not among them. Times are Unix milliseconds.
CREATE TABLE job_ends (
    job          TEXT   NOT NULL PRIMARY KEY,
    ended_at     BIGINT,                     -- when a run ended last by itself
    exit_code    BIGINT,                     -- and with what
    succeeded_at BIGINT,                     -- when one ended last with 0 or 3
    summary      TEXT,                       -- the counts of the last run that looked at the accounts, as JSON
    ledger       TEXT,                       -- its accounts by standing and reason, as JSON
    findings     TEXT,                       -- the findings of the last run that looked at everything, by severity, as JSON
    deaths       BIGINT NOT NULL             -- runs that have died with their process since one ended by itself
);
INSERT INTO job_ends (job, ended_at, exit_code, succeeded_at, summary, deaths)
SELECT last.job, last.ended_at,
       (SELECT MAX(exit_code) FROM runs
        WHERE runs.job = last.job AND runs.ended_at = last.ended_at AND state <> 'skipped'
        AND (dry_run = 0 OR woken_by <> 'operator')),
       last.succeeded_at,
       (SELECT MAX(summary) FROM runs
        WHERE runs.job = last.job AND runs.ended_at = last.looked_at AND error IS NULL
        AND (dry_run = 0 OR woken_by <> 'operator')),
       0
FROM (SELECT job, MAX(ended_at) AS ended_at, MAX(CASE WHEN exit_code IN (0, 3) THEN ended_at END) AS succeeded_at,
             MAX(CASE WHEN error IS NULL AND state NOT IN ('refused', 'interrupted') THEN ended_at END) AS looked_at
      FROM runs WHERE exit_code IS NOT NULL AND state <> 'skipped' AND (dry_run = 0 OR woken_by <> 'operator')
      GROUP BY job) AS last;

-- Since when a schedule is in force: since it came into force, or was resumed.
ALTER TABLE schedules ADD COLUMN in_force_since BIGINT;
UPDATE schedules SET in_force_since = looked_until;

-- Since when a mend fails, in Unix seconds. Of those that failed before this column it is not known, and not later than that.
ALTER TABLE mend_retry ADD COLUMN first_failed_at BIGINT;
UPDATE mend_retry SET first_failed_at = next_due;

-- When notifications were given up, by target.
CREATE INDEX notifications_given_up ON notifications (target, ended_at) WHERE state = 'given-up';
