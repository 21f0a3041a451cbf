-- What a finding said when it was seen last, and which profiles the run was about: one that is not looked at stays as it was.
ALTER TABLE findings ADD COLUMN finding TEXT;              -- JSON; none when it was seen last by an earlier version
ALTER TABLE findings ADD COLUMN profiles TEXT;             -- JSON; none when the run was about all
