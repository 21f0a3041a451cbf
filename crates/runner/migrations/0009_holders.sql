-- Which resource of a stack was given the Spot account: a stack may have several, and an update that renames one deletes the
-- old one after it has made the new one.

-- Who was given the Spot account and has not been deleted since: a JSON array of stacks with the logical id of the resource,
-- where it is known. What `stacks` has, counts as well, with no resource known, until the row is written again.
ALTER TABLE intents ADD COLUMN holders TEXT;
-- Who has been deleted, likewise, with the time at which that was asked for; and so has `departed`.
ALTER TABLE intents ADD COLUMN departures TEXT;
