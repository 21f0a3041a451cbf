//! Requests to one process of a plugin, and its answers. One request at a time.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus, time::Duration};

use onboarding_core::external::{Answer as PlanAnswer, Totals};
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt as _,
    process::{ChildStdin, ChildStdout},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, field::Empty};

use super::{
    Limits, Plugin,
    description::Description,
    environment::Environment,
    error::{Doing, PluginError, Wrong},
    lines::{Lines, Next},
    process::Process,
    protocol::{
        Answer, ApplyRequest, PlanRequest, Request, RequestBody, VERSION, WrittenClass,
        WrittenFinding, WrittenStep, WrittenTotals,
    },
    redactor::Redactor,
    said::Said,
};
use crate::engine::{Applied, Interrupt, JobError, StepContext};

/// How long the last words of a process that has ended are waited for, and its end after it closed its stdout.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How much of a line is shown.
const EXCERPT: usize = 120;

/// Most characters of a message that are shown.
const MESSAGE: usize = 1000;

/// A process, and what it is asked.
pub(crate) struct Session {
    plugin: Plugin,
    process: Process,
    started: Instant,
    stdin: Option<ChildStdin>,
    lines: Lines<ChildStdout>,
    /// What is shown of the line that was read last.
    excerpt: String,
    said: Said,
    logging: AbortOnDropHandle<()>,
    redactor: Redactor,
    asked: u64,
    call: Option<Call>,
    is_over: bool,
}

/// The request that is going on.
struct Call {
    doing: Doing,
    deadline: Instant,
    cancelled: Option<Because>,
}

/// Why a request was cancelled.
#[derive(Clone, Copy)]
enum Because {
    Late,
    Interrupted,
}

impl Session {
    /// Starts a process.
    pub(super) fn start(plugin: &Plugin, environment: &Environment) -> Result<Self, PluginError> {
        let (process, pipes) =
            Process::start(&plugin.program, &environment.variables).map_err(|wrong| {
                PluginError {
                    plugin: plugin.kind.clone(),
                    doing: Doing::Describe,
                    wrong: Box::new(wrong),
                    said: Vec::new(),
                }
            })?;
        let Limits { line, answer, .. } = plugin.limits;
        let (said, redactor) = (Said::default(), Redactor::new(&environment.secrets));
        let log = said
            .clone()
            .log(plugin.kind.clone(), pipes.stderr, redactor.clone());
        let log = log.instrument(tracing::Span::current());
        Ok(Self {
            plugin: plugin.clone(),
            process,
            started: Instant::now(),
            stdin: Some(pipes.stdin),
            lines: Lines::new(pipes.stdout, line, answer),
            excerpt: String::new(),
            said,
            logging: AbortOnDropHandle::new(tokio::spawn(log)),
            redactor,
            asked: 0,
            call: None,
            is_over: false,
        })
    }

    /// Whether it can be asked more.
    pub(super) fn is_idle(&self) -> bool {
        self.call.is_none() && !self.is_over
    }

    /// Whether its process has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.process.has_ended()
    }

    /// Kills its process, which is then found to have ended.
    #[cfg(test)]
    pub(super) fn kill(&self) {
        self.process.kill();
    }

    /// How long ago it was started.
    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Asks what it is.
    pub(super) async fn describe(
        &mut self,
        interrupt: &Interrupt,
    ) -> Result<Description, PluginError> {
        let span = self.span("describe");
        in_span(span, self.ask_what_it_is(interrupt)).await
    }

    async fn ask_what_it_is(&mut self, interrupt: &Interrupt) -> Result<Description, PluginError> {
        let body = RequestBody::Describe { protocol: VERSION };
        self.begin(Doing::Describe, body, interrupt).await?;
        match self.next(interrupt).await? {
            Answer::Described { plugin, .. } => {
                self.call = None;
                match Description::checked(*plugin, &self.plugin.kind) {
                    Ok(description) => Ok(description),
                    Err(wrong) => {
                        let wrong = self.redactor.wrong(wrong);
                        Err(self.fail(wrong).await)
                    }
                }
            }
            other => Err(self.unwanted(other).await),
        }
    }

    /// Asks for a plan.
    pub(super) async fn plan(
        &mut self,
        request: PlanRequest,
        interrupt: &Interrupt,
    ) -> Result<PlanAnswer, PluginError> {
        let span = self.span("plan");
        in_span(span, self.ask_for_a_plan(request, interrupt)).await
    }

    async fn ask_for_a_plan(
        &mut self,
        request: PlanRequest,
        interrupt: &Interrupt,
    ) -> Result<PlanAnswer, PluginError> {
        let accounts = request.accounts.len();
        let body = RequestBody::Plan(Box::new(request));
        self.begin(Doing::Plan, body, interrupt).await?;
        let mut answer = PlanAnswer::default();
        loop {
            let said = match self.next(interrupt).await? {
                Answer::Step { step, .. } => self.step(&mut answer, *step),
                Answer::Finding { finding, .. } => self.finding(&mut answer, *finding),
                Answer::Skip { .. } if answer.skips.len() == accounts => {
                    Err(Wrong::TooManySkips { limit: accounts })
                }
                Answer::Skip {
                    account, reason, ..
                } => {
                    let reason = self.redactor.redacted(&reason);
                    answer.skips.push((account.0, reason));
                    Ok(())
                }
                Answer::Planned { totals, .. } => {
                    self.call = None;
                    answer.totals = counted(totals);
                    return Ok(answer);
                }
                other => return Err(self.unwanted(other).await),
            };
            if let Err(wrong) = said {
                return Err(self.fail(wrong).await);
            }
        }
    }

    fn step(&self, answer: &mut PlanAnswer, step: WrittenStep) -> Result<(), Wrong> {
        let limit = self.plugin.limits.steps;
        if answer.steps.len() == limit {
            let what = "steps";
            return Err(Wrong::TooMany { what, limit });
        }
        answer.steps.push(self.redactor.step(step)?);
        Ok(())
    }

    fn finding(&self, answer: &mut PlanAnswer, finding: WrittenFinding) -> Result<(), Wrong> {
        let limit = self.plugin.limits.steps;
        if answer.findings.len() == limit {
            let what = "findings";
            return Err(Wrong::TooMany { what, limit });
        }
        answer.findings.push(self.redactor.finding(finding)?);
        Ok(())
    }

    /// Has a step done.
    pub(crate) async fn apply(
        &mut self,
        request: ApplyRequest,
        cx: &StepContext,
    ) -> Result<Applied, JobError> {
        let span = self.span("apply");
        span.record("step.id", request.step.id.as_str());
        in_span(span, self.ask_for_a_step(request, cx)).await
    }

    async fn ask_for_a_step(
        &mut self,
        request: ApplyRequest,
        cx: &StepContext,
    ) -> Result<Applied, JobError> {
        let (step, interrupt) = (request.step.id.clone(), cx.interrupt());
        let body = RequestBody::Apply(Box::new(request));
        self.begin(Doing::Apply(step), body, interrupt).await?;
        let applied = loop {
            match self.next(interrupt).await? {
                Answer::Memo { memo, .. } => {
                    if let Err(wrong) = self.redactor.check("a memo", &memo) {
                        return Err(self.fail(wrong).await.into());
                    }
                    cx.set_memo(memo).await?;
                    self.send(RequestBody::Kept, interrupt).await?;
                }
                Answer::Done { note, .. } => {
                    break Applied::Done {
                        note: self.noted(note),
                    };
                }
                Answer::Unchanged { .. } => break Applied::Unchanged,
                // Nobody asks again in this run.
                Answer::Requeue { .. } if self.was_interrupted() => {
                    break Applied::Stopped {
                        note: Some(
                            "it goes on elsewhere; the next run asks for it again".to_owned(),
                        ),
                    };
                }
                Answer::Requeue { after_seconds, .. } => {
                    break Applied::Requeue {
                        after: Duration::from_secs(after_seconds),
                        progress: None,
                    };
                }
                Answer::Stopped { note, .. } if self.was_interrupted() => {
                    break Applied::Stopped {
                        note: self.noted(note),
                    };
                }
                other => return Err(self.unwanted(other).await.into()),
            }
        };
        self.call = None;
        Ok(applied)
    }

    /// Ends it: what goes on is cancelled, and what does not end in time is killed.
    pub(crate) async fn end(mut self) {
        if self.call.is_some() && !self.is_over {
            // Whether it hears that or not, its time runs.
            let _ = timeout(self.plugin.limits.grace, self.write(&RequestBody::Cancel)).await;
        }
        self.stdin = None;
        self.process.end(self.plugin.limits.grace).await;
        self.hear_out().await;
    }

    /// Sends a request.
    async fn begin(
        &mut self,
        doing: Doing,
        body: RequestBody,
        interrupt: &Interrupt,
    ) -> Result<(), PluginError> {
        self.asked += 1;
        self.lines.begin();
        let is_first = doing == Doing::Describe;
        self.call = Some(Call {
            deadline: Instant::now() + self.limit(&doing).0,
            doing,
            cancelled: None,
        });
        let mut sent = self.send(body, interrupt).await;
        if let Err(error) = &mut sent
            && let Wrong::Ended { how, .. } = &*error.wrong
            && !is_first
        {
            // It has not got the whole line, so that it has begun nothing.
            *error.wrong = Wrong::Unheard { how: how.clone() };
        }
        sent
    }

    /// Sends a line about the request that is going on.
    async fn send(&mut self, body: RequestBody, interrupt: &Interrupt) -> Result<(), PluginError> {
        let deadline = self
            .call
            .as_ref()
            .map_or_else(Instant::now, |call| call.deadline);
        let grace = self.plugin.limits.grace;
        let interrupted = async {
            interrupt.draining().await;
            sleep(grace).await;
        };
        let wrong = tokio::select! {
            written = self.write(&body) => match written {
                Ok(()) => return Ok(()),
                // It does not listen any more: it has ended, or ends now.
                Err(_) => None,
            },
            () = sleep_until(deadline) => Some(Because::Late),
            () = interrupted => Some(Because::Interrupted),
        };
        Err(match wrong {
            None => self.ended().await,
            Some(because) => {
                let wrong = self.deaf(because);
                self.fail(wrong).await
            }
        })
    }

    async fn write(&mut self, body: &RequestBody) -> std::io::Result<()> {
        let request = Request {
            id: self.asked,
            body: body.clone(),
        };
        let mut line = serde_json::to_vec(&request)?;
        line.push(b'\n');
        match &mut self.stdin {
            Some(stdin) => {
                stdin.write_all(&line).await?;
                stdin.flush().await
            }
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The next answer to the request that is going on. When its time is up or the run is interrupted, the plugin is told to cancel, and
    /// killed when it does not answer then.
    async fn next(&mut self, interrupt: &Interrupt) -> Result<Answer, PluginError> {
        enum Event {
            Line(Next),
            Due,
            Interrupted,
            Gone,
        }
        loop {
            let (deadline, cancelled) = match &self.call {
                Some(call) => (call.deadline, call.cancelled),
                None => (Instant::now(), None),
            };
            // What it started may hold its stdout for longer than it lives.
            let process = &self.process;
            let gone = async {
                process.ended().await;
                sleep(LAST_WORDS).await;
            };
            let event = tokio::select! {
                biased;
                () = sleep_until(deadline) => Event::Due,
                () = interrupt.draining(), if cancelled.is_none() => Event::Interrupted,
                next = self.lines.next() => Event::Line(next),
                () = gone => Event::Gone,
            };
            match (event, cancelled) {
                (Event::Line(Next::Line(line)), _) => return self.read(&line).await,
                (Event::Line(Next::End) | Event::Gone, _) => return Err(self.ended().await),
                (Event::Line(flood), _) => {
                    let wrong = self.flood(&flood);
                    return Err(self.fail(wrong).await);
                }
                (Event::Due, Some(because)) => {
                    let wrong = self.deaf(because);
                    return Err(self.fail(wrong).await);
                }
                (Event::Due, None) => self.cancel(Because::Late).await,
                (Event::Interrupted, _) => self.cancel(Because::Interrupted).await,
            }
        }
    }

    async fn cancel(&mut self, because: Because) {
        let grace = self.plugin.limits.grace;
        if let Some(call) = &mut self.call {
            call.cancelled = Some(because);
            call.deadline = Instant::now() + grace;
        }
        // Whether it hears that or not, its time runs.
        let _ = timeout(grace, self.write(&RequestBody::Cancel)).await;
    }

    /// Understands a line.
    async fn read(&mut self, line: &[u8]) -> Result<Answer, PluginError> {
        self.excerpt = self.redactor.shown(line, EXCERPT);
        let (number, excerpt) = (self.lines.number(), self.excerpt.clone());
        let read: Result<Value, _> = serde_json::from_slice(line);
        let value = match read {
            Ok(value) => value,
            Err(error) => {
                let wrong = Wrong::NotJson {
                    line: number,
                    excerpt,
                    why: error.to_string(),
                };
                return Err(self.fail(wrong).await);
            }
        };
        // Another version may have another form.
        let version = value["plugin"]["protocol"].as_u64();
        if let Some(version) = version.filter(|version| *version != u64::from(VERSION)) {
            return Err(self.fail(Wrong::Version(version)).await);
        }
        let answer = serde_json::from_value::<Answer>(value);
        let answer = answer.map_err(|error| error.to_string());
        match answer.and_then(|answer| answer.check().map(|()| answer)) {
            Ok(answer) if answer.id() == self.asked => Ok(answer),
            Ok(answer) => {
                let wrong = Wrong::NotAsked {
                    line: number,
                    excerpt,
                    said: answer.id(),
                    asked: self.asked,
                };
                Err(self.fail(wrong).await)
            }
            Err(why) => {
                let wrong = Wrong::NoAnswer {
                    line: number,
                    excerpt,
                    // It may quote what was granted.
                    why: self.redactor.shown(why.as_bytes(), MESSAGE),
                };
                Err(self.fail(wrong).await)
            }
        }
    }

    /// The span of a call.
    fn span(&self, call: &'static str) -> tracing::Span {
        tracing::info_span!(
            "plugin",
            otel.kind = "client",
            plugin.kind = %self.plugin.kind,
            plugin.call = call,
            step.id = Empty,
            otel.status_code = Empty,
        )
    }

    fn was_interrupted(&self) -> bool {
        let call = self.call.as_ref();
        call.is_some_and(|call| matches!(call.cancelled, Some(Because::Interrupted)))
    }

    /// An answer that ends what is going on without success.
    async fn unwanted(&mut self, answer: Answer) -> PluginError {
        let doing = self.doing();
        let cancelled = self.call.as_ref().and_then(|call| call.cancelled);
        let wrong = match (answer, cancelled) {
            // What it gave up because it was told to is not tried again just as long.
            (
                Answer::Stopped { .. }
                | Answer::Failed {
                    class: WrittenClass::Transient,
                    ..
                },
                Some(Because::Late),
            ) => {
                let (limit, setting) = self.limit(&doing);
                Wrong::Stopped {
                    doing: doing.clone(),
                    limit,
                    setting,
                }
            }
            (Answer::Stopped { .. }, Some(Because::Interrupted)) => Wrong::Cancelled {
                doing: doing.clone(),
            },
            (
                Answer::Failed {
                    class,
                    message,
                    retry_after_seconds,
                    ..
                },
                _,
            ) => Wrong::Failed {
                doing: doing.clone(),
                class,
                message: self.redactor.shown(message.as_bytes(), MESSAGE),
                retry_after: retry_after_seconds.map(Duration::from_secs),
            },
            (other, _) => return self.wrong_answer(other.name()).await,
        };
        self.call = None;
        self.told(doing, wrong)
    }

    async fn wrong_answer(&mut self, answer: &'static str) -> PluginError {
        let wrong = Wrong::OutOfPlace {
            line: self.lines.number(),
            excerpt: self.excerpt.clone(),
            answer,
            doing: self.doing(),
        };
        self.fail(wrong).await
    }

    /// A note for people, as it can be shown.
    fn noted(&self, note: Option<String>) -> Option<String> {
        let note = self.redactor.shown(note?.as_bytes(), MESSAGE);
        (!note.is_empty()).then_some(note)
    }

    /// It has closed its stdout.
    async fn ended(&mut self) -> PluginError {
        self.stdin = None;
        let status = self.process.end(LAST_WORDS).await;
        let how = status.map_or_else(
            || "it closed its stdout, did not exit, and was killed".to_owned(),
            how,
        );
        let doing = self.doing();
        self.fail(Wrong::Ended { doing, how }).await
    }

    /// Kills it and says why.
    async fn fail(&mut self, wrong: Wrong) -> PluginError {
        self.is_over = true;
        self.stdin = None;
        self.process.end(Duration::ZERO).await;
        self.hear_out().await;
        PluginError {
            said: self.said.last(),
            ..self.told(self.doing(), wrong)
        }
    }

    /// Waits for its last words.
    async fn hear_out(&mut self) {
        if !self.logging.is_finished() {
            let _ = timeout(LAST_WORDS, &mut self.logging).await;
        }
    }

    fn told(&self, doing: Doing, wrong: Wrong) -> PluginError {
        PluginError {
            plugin: self.plugin.kind.clone(),
            doing,
            wrong: Box::new(wrong),
            said: Vec::new(),
        }
    }

    fn doing(&self) -> Doing {
        self.call
            .as_ref()
            .map_or(Doing::Describe, |call| call.doing.clone())
    }

    /// How long it may take, and what in runner.toml says so.
    fn limit(&self, doing: &Doing) -> (Duration, &'static str) {
        match doing {
            Doing::Describe => (self.plugin.limits.start, "plugins.start_timeout"),
            Doing::Plan | Doing::Apply(_) => (self.plugin.limits.call, "plugins.call_timeout"),
        }
    }

    fn flood(&self, next: &Next) -> Wrong {
        let (line, doing) = (self.lines.number(), self.doing());
        match next {
            Next::TooLong => Wrong::LongLine {
                line,
                limit: self.plugin.limits.line,
                doing,
            },
            _ => Wrong::TooMuch {
                line,
                limit: self.plugin.limits.answer,
                doing,
            },
        }
    }

    /// It heard nothing in time.
    fn deaf(&self, because: Because) -> Wrong {
        let (doing, grace) = (self.doing(), self.plugin.limits.grace);
        let (limit, setting) = self.limit(&doing);
        match because {
            Because::Interrupted => Wrong::Interrupted { doing, grace },
            Because::Late => Wrong::Hung {
                doing,
                limit,
                grace,
                setting,
            },
        }
    }
}

/// A call within its span.
async fn in_span<T, E>(
    span: tracing::Span,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let answered = call.instrument(span.clone()).await;
    if answered.is_err() {
        span.record("otel.status_code", "ERROR");
    }
    answered
}

fn counted(totals: WrittenTotals) -> Totals {
    let WrittenTotals {
        accounts,
        settled,
        due,
        skipped,
        steps,
        findings,
    } = totals;
    Totals {
        accounts,
        settled,
        due,
        skipped,
        steps,
        findings,
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
