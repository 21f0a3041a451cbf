-- Since when each finding of a job is there. One that a later run does not have is gone from here, too.
CREATE TABLE findings (
    job        TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    first_seen BIGINT NOT NULL,              -- Unix seconds
    last_seen  BIGINT NOT NULL,
    run_id     TEXT   NOT NULL,              -- the run that saw it last
    PRIMARY KEY (job, id)
);
