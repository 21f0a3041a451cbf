//! IAM policy documents: parsing, size as IAM counts it, and splitting one document over several managed policies.
