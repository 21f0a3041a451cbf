//! The organizational unit that a path was probably meant to name, for the hint in an error.

/// What leaving out a part of a path costs, or having one too many. Two parts that have nothing in common cost 1.
const GAP: f64 = 0.5;

/// What a part of the longer path may cost on average.
const FARTHEST: f64 = 0.4;

/// The path that is nearest to `path`, by what it takes to make one of the other: part by part, by spelling; none when
/// nothing is near. Upper and lower case are the same here.
pub(super) fn nearest_path<'a>(
    path: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let parts = |path: &str| -> Vec<String> { path.split('/').map(str::to_lowercase).collect() };
    let wanted = parts(path);
    candidates
        .map(|candidate| (distance(&wanted, &parts(candidate)), candidate))
        .filter(|(distance, _)| *distance <= FARTHEST)
        .min_by(|(a, first), (b, second)| a.total_cmp(b).then_with(|| first.cmp(second)))
        .map(|(_, candidate)| candidate)
}

/// The edit distance of two paths, divided by the parts of the longer one.
fn distance(from: &[String], to: &[String]) -> f64 {
    let mut above = vec![0.0];
    for _ in to {
        above.push(above.last().copied().unwrap_or_default() + GAP);
    }
    for part in from {
        let mut left = above.first().copied().unwrap_or_default() + GAP;
        let mut row = vec![left];
        for (other, pair) in to.iter().zip(above.windows(2)) {
            let [diagonal, up] = pair else { continue };
            let spelling = 1.0 - strsim::normalized_damerau_levenshtein(part, other);
            left = (diagonal + spelling).min(up + GAP).min(left + GAP);
            row.push(left);
        }
        above = row;
    }
    let longer = u32::try_from(from.len().max(to.len())).unwrap_or(u32::MAX);
    above.last().copied().unwrap_or_default() / f64::from(longer.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_path_gets_the_nearest_one_and_a_far_one_gets_none() {
        let units = [
            "Infrastructure",
            "Sandbox",
            "Suspended",
            "Workloads",
            "Workloads/Development",
            "Workloads/Production",
            "Workloads/Production/Payments",
        ];
        for (path, nearest) in [
            ("workloads/production", Some("Workloads/Production")),
            ("Workloads/Prodution", Some("Workloads/Production")),
            ("Worklaods/Production", Some("Workloads/Production")),
            ("Worklods/Develpment", Some("Workloads/Development")),
            ("Production", Some("Workloads/Production")),
            ("Prodcution", Some("Workloads/Production")),
            ("Workloads/Payments", Some("Workloads/Production/Payments")),
            ("Sandobx", Some("Sandbox")),
            ("Infrastructure/", Some("Infrastructure")),
            ("Marketing", None),
            ("Marketing/Print", None),
        ] {
            assert_eq!(nearest_path(path, units.into_iter()), nearest, "{path}");
        }
    }
}
