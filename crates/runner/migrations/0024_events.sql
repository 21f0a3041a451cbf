-- What woke a run: events of AWS, how many of which kind, about whom and since when, as JSON; and the spans that asked for it
-- (W3C traceparent), separated by spaces.
ALTER TABLE runs ADD COLUMN events TEXT;
ALTER TABLE runs ADD COLUMN asked_in TEXT;
-- While a run that events ask for waits, more of them are added to it.
CREATE UNIQUE INDEX runs_woken ON runs (job) WHERE state = 'queued' AND events IS NOT NULL;
