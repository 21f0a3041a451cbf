-- A lock of a PostgreSQL database is good until then, by the database's clock; who has it renews it. Who does not, because it hangs
-- or was paused, loses it.
CREATE TABLE lock_leases (
    name       TEXT   NOT NULL PRIMARY KEY,
    good_until BIGINT NOT NULL
);
ALTER TABLE runs DROP COLUMN lease_end;

-- The schedule whose ticks were looked at: those of another one, or while there was none, are nothing that was missed.
ALTER TABLE schedules ADD COLUMN schedule TEXT;

-- What is told of a run to whoever asked the daemon for it and waits: the JSON document, and what a terminal shows.
ALTER TABLE runs ADD COLUMN told_document TEXT;
ALTER TABLE runs ADD COLUMN told_text TEXT;
