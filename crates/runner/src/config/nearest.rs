//! The nearest of several words, for "did you mean".

/// The candidate that `word` was probably meant to be; none when nothing is near.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', ' '], "_");
    let word = plain(word);
    candidates
        .map(|candidate| (strsim::jaro_winkler(&word, &plain(candidate)), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["service_timeout", "provider", "topic_arn"];
        assert_eq!(
            nearest("servce_timeout", keys.into_iter()),
            Some("service_timeout")
        );
        assert_eq!(
            nearest("service-timeout", keys.into_iter()),
            Some("service_timeout")
        );
        assert_eq!(nearest("colour", keys.into_iter()), None);
    }
}
