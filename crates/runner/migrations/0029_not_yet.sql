-- When a run began, in Unix milliseconds. One that was taken up and has not begun has done nothing: it waits again when its process is gone.
ALTER TABLE runs ADD COLUMN begun_at BIGINT;
UPDATE runs SET begun_at = started_at WHERE state = 'running';
