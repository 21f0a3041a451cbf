//! The rate governors' algorithms as pure state machines that take `now` as an argument. Clients only wait as told.

pub mod aws;
pub mod spot;
