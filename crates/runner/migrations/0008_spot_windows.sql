-- The rate windows of Spot, as all processes on this state see them. Any row may be deleted at any time.
CREATE TABLE spot_windows (
    route TEXT NOT NULL PRIMARY KEY,         -- the method and the route's template
    value TEXT NOT NULL                      -- JSON
);
