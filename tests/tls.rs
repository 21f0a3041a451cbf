//! The crypto provider of the test process: rustls has none by itself, and every client wants one, even for plain HTTP.

/// Installs aws-lc, once, as the binaries do.
pub fn install() {
    // An error says that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
