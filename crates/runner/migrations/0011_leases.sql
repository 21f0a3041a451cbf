-- Locks that processes on this state hold for a while, each while it changes something at Spot that is changed as a whole. A row
-- whose time is over may be deleted at any time.
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    held_until BIGINT NOT NULL               -- milliseconds since the epoch, by the database's clock
);
