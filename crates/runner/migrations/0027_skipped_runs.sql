-- Ticks that were skipped, by when: of a job that is due each minute there are many more than of all other runs, and they are forgotten
-- first. From this version on, a tombstone may have the reason 'late', which older versions cannot read.
CREATE INDEX runs_skipped ON runs (ended_at) WHERE state = 'skipped';
