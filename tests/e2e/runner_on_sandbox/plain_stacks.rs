//! Stacks that a person makes in a member account from a template that retains nothing, such as Spot's own, and what the state
//! has of them.

use std::{path::PathBuf, process::Command};

use e2e::components;

use super::*;

/// Two member accounts. Spot takes a name of digits, so that a creation is one call.
pub(super) const PLAIN: &str = "seed = 7\nclock_speed = 60.0\n\
                                [organization]\naccounts = 2\nous = 1\ndepth = 1\ntrusted_access = true\n\
                                [spot]\nname_needs_letter = false\n";

/// A member account in which stacks named `plain-…` are served.
pub(super) struct Member<'a> {
    pub(super) account: String,
    pub(super) topic: String,
    rehearsal: &'a Rehearsal,
    wire: Wire,
    template: String,
}

impl<'a> Member<'a> {
    /// Configures the runner to serve them, and the topic to take what they publish.
    pub(super) fn of(rehearsal: &'a Rehearsal, account: &str) -> Self {
        rehearsal.configure(
            "[enrollment]\nother_stacks = [\"plain-*\"]\n",
            "adopt = \"relink\"",
            "ous = [\"root\"]",
        );
        let management = text(&rehearsal.admin("state", None)["organization"]["management"]);
        let topic = format!("arn:aws:sns:us-east-1:{management}:spot-onboarding");
        let policy = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": topic }
        ]});
        let policy = policy.to_string();
        let attribute = [
            ("Version", "2010-03-31"),
            ("TopicArn", topic.as_str()),
            ("AttributeName", "Policy"),
            ("AttributeValue", policy.as_str()),
        ];
        let set = rehearsal
            .wire
            .query("sns", "SetTopicAttributes", &attribute);
        rehearsal.runtime.block_on(set).unwrap();
        let shown = rehearsal.admin(&format!("accounts/{account}"), None);
        let key = text(&shown["environment"]["AWS_ACCESS_KEY_ID"]);
        Self {
            account: account.to_owned(),
            wire: Wire::new(&rehearsal.environment["AWS_ENDPOINT_URL"], key),
            template: template(rehearsal, &management),
            rehearsal,
            topic,
        }
    }

    /// Adds settings to the configuration: a section, or the beginning of one that is there.
    pub(super) fn configure(&self, settings: &str) {
        let path = self.rehearsal.path("config/runner.toml");
        let text = fs::read_to_string(path).unwrap();
        let section = settings.lines().next().unwrap();
        let text = match text.contains(section) {
            true => text.replace(&format!("{section}\n"), settings),
            false => format!("{settings}{text}"),
        };
        self.rehearsal.write("config/runner.toml", &text);
    }

    fn call(&self, action: &str, input: &[(&str, &str)]) -> anyhow::Result<String> {
        let input = [&[("Version", "2010-05-15")], input].concat();
        let call = self.wire.query("cloudformation", action, &input);
        self.rehearsal.runtime.block_on(call)
    }

    /// Begins to create a stack.
    pub(super) fn create(&self, name: &str) {
        let input = [
            ("StackName", name),
            ("TemplateBody", &self.template),
            ("Capabilities.member.1", "CAPABILITY_IAM"),
        ];
        self.call("CreateStack", &input).unwrap();
    }

    /// Waits until a stack is created.
    #[track_caller]
    pub(super) fn until_created(&self, name: &str) {
        self.rehearsal.until(name, || {
            let shown = self.call("DescribeStacks", &[("StackName", name)]).unwrap();
            let is = |status: &str| shown.contains(&format!("<StackStatus>{status}</StackStatus>"));
            assert!(is("CREATE_IN_PROGRESS") || is("CREATE_COMPLETE"), "{shown}");
            is("CREATE_COMPLETE").then_some(())
        });
    }

    /// Deletes a stack, and waits until it is gone.
    #[track_caller]
    pub(super) fn delete(&self, name: &str) {
        let named = [("StackName", name)];
        self.call("DeleteStack", &named).unwrap();
        self.rehearsal.until(name, || {
            self.call("DescribeStacks", &named).is_err().then_some(())
        });
    }

    /// The one Spot account that is linked to the AWS account.
    #[track_caller]
    pub(super) fn link(&self) -> SpotAccount {
        let links = self.rehearsal.links_of(&self.account);
        assert_eq!(links.len(), 1, "{links:?}");
        links[0].clone()
    }
}

/// Our template, with nothing retained.
fn template(rehearsal: &Rehearsal, management: &str) -> String {
    let rendered = rehearsal.run(&[
        "template",
        "render",
        "--format",
        "json",
        "--home-account",
        management,
    ]);
    let mut template = rendered.json().unwrap();
    let resources = template["Resources"].as_object_mut().unwrap();
    for resource in resources.values_mut() {
        let resource = resource.as_object_mut().unwrap();
        resource.remove("DeletionPolicy");
        resource.remove("UpdateReplacePolicy");
    }
    template.to_string()
}

/// The state file, read beside the processes that use it.
pub(super) struct StateFile {
    python: PathBuf,
    file: PathBuf,
}

/// Runs one statement, and prints its rows.
const STATEMENT: &str = "import json, sqlite3, sys\n\
                         state = sqlite3.connect(sys.argv[1], timeout=10)\n\
                         state.row_factory = sqlite3.Row\n\
                         rows = [dict(row) for row in state.execute(sys.argv[2])]\n\
                         state.commit()\n\
                         print(json.dumps(rows))";

impl StateFile {
    /// None without the Python components.
    pub(super) fn of(rehearsal: &Rehearsal) -> Option<Self> {
        Some(Self {
            python: components::venv().unwrap()?.join("bin/python"),
            file: rehearsal.path("runner.db"),
        })
    }

    /// The rows of a statement.
    #[track_caller]
    pub(super) fn rows(&self, sql: &str) -> Vec<Value> {
        let mut command = Command::new(&self.python);
        command.args(["-c", STATEMENT]).arg(&self.file).arg(sql);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The owner of the account's Spot account.
    #[track_caller]
    pub(super) fn owner(&self, account: &str) -> Value {
        let sql = format!("SELECT * FROM owners WHERE account = '{account}'");
        let owners = self.rows(&sql);
        assert_eq!(owners.len(), 1, "{owners:?}");
        owners[0].clone()
    }

    /// The account's tombstones.
    pub(super) fn tombstones(&self, account: &str) -> Vec<Value> {
        self.rows(&format!(
            "SELECT * FROM tombstones WHERE account = '{account}'"
        ))
    }

    /// The answer that a request got.
    pub(super) fn answer(&self, request_id: &str) -> Option<Value> {
        let sql = format!("SELECT answer FROM answered_requests WHERE request_id = '{request_id}'");
        let row = self.rows(&sql).pop()?;
        Some(serde_json::from_str(row["answer"].as_str()?).unwrap())
    }
}
