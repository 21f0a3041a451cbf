-- The Spot account that was linked to an AWS account when its stack of Spot's own Lambda functions was up to date: their
-- requests do not pass us, so this is all that tells our links from others' once the stack is gone (an OU move).
CREATE TABLE hosted_links (
    account      TEXT NOT NULL PRIMARY KEY,
    spot_account TEXT NOT NULL,
    operation    TEXT NOT NULL               -- that had touched the stack instance last
);
