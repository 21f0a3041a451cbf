//! What a person reads: the tables of a run.

use super::*;

#[test]
fn the_tables_of_a_run_are_as_people_know_them() {
    let rehearsal = Rehearsal::new(
        "seed = 20\nclock_speed = 120.0\n\
         [organization]\naccounts = 12\nous = 4\ndepth = 2\nsuspended = 1\nscp_blocked = 1\ntrusted_access = true\n\
         [spot]\nlinked = 1\nlinked_twice = 1\n",
    );
    let ended = rehearsal.run(&["exec", "stackset-sync"]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    insta::with_settings!({ filters => vec![
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[uuid]"),
        (r"stacksets-exec-[0-9a-f]{32}", "stacksets-exec-[hex]"),
        (r"SpotManagedPolicy-[0-9A-Z]{12}", "SpotManagedPolicy-[suffix]"),
        (r"took [0-9.]+ s and \d+ API calls", "took [time] and [count] API calls"),
    ]}, {
        insta::assert_snapshot!(ended.stdout);
    });
}

#[test]
fn a_report_file_is_the_document_that_json_output_prints() {
    let rehearsal = Rehearsal::new(SMALL);
    let arguments = ["--dry-run", "--report", "report.json"];
    let document = rehearsal.sync_ends(3, &arguments);
    let file = std::fs::read_to_string(rehearsal.path("report.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&file).unwrap(), document);
}

#[test]
fn a_run_is_reported_in_every_form_at_once() {
    let rehearsal = Rehearsal::new(SMALL);
    let files = ["report.csv", "report.xml", "report.html"];
    let mut arguments = vec!["--dry-run"];
    for file in files {
        arguments.extend(["--report", file]);
    }
    let document = rehearsal.sync_ends(3, &arguments);
    let [csv, xml, html] = files.map(|file| std::fs::read_to_string(rehearsal.path(file)).unwrap());
    for member in rehearsal.members() {
        for text in [&csv, &xml, &html] {
            assert!(text.contains(&member), "{member}");
        }
    }
    let planned = document["summary"]["planned"].as_u64().unwrap();
    assert_eq!(csv.matches(",true,due,").count() as u64, planned);
    let skipped = document["summary"]["skipped"].as_u64().unwrap();
    assert_eq!(xml.matches("<skipped").count() as u64, planned + skipped);

    let refused = rehearsal.run(&["exec", "stackset-sync", "--report", "report.pdf"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains(".html"), "{}", refused.stderr);
}
