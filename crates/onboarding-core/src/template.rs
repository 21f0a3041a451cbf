//! The CloudFormation template that enrolls an account: typed parts in, deterministic JSON or YAML and a digest out.
