-- When a run began, in Unix milliseconds. One that was taken up and has not begun has done nothing: it waits again when its process is gone.
ALTER TABLE runs ADD COLUMN begun_at BIGINT;
UPDATE runs SET begun_at = started_at WHERE state = 'running';

-- Whether a Spot account was created, by its answer, and nobody has seen Spot list it.
ALTER TABLE intents ADD COLUMN unlisted BIGINT NOT NULL DEFAULT 0;
