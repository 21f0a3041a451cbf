-- The run that counted an account's last failure. Moments cannot tell: a run may begin in the very one of a failure.
-- Failures counted before this column have none, and so are no present run's.
ALTER TABLE account_retry ADD COLUMN run_id TEXT;
