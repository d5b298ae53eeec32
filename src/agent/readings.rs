//! Runs the readings of `check` in a child process that can be abandoned.
//!
//! A read from a hanging FUSE server ends only when the server answers, and the process cannot end before that, not
//! even with SIGKILL. The program therefore starts itself as a child, which reads and writes its results to a pipe.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::collectors::{COLLECTORS, Context, Survey, survey};
use crate::host::Problem;

/// Environment variable that marks the child.
const CHILD: &str = "_HEKA_INSIGHTS_AGENT_READS_FOR_CHECK";
/// Time limit for the readings. In the child each reading has its own deadline; this one allows for a busy machine.
const MOST: Duration = Duration::from_secs(7);
const MOST_BYTES: u64 = 16 << 20;

#[must_use]
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs in the child: reads all sources and writes the results as one line.
pub fn write(context: &Context, mut out: impl Write) {
    let surveys: Vec<Value> = survey(context).iter().map(encode).collect();
    let _ = writeln!(out, "{}", Value::Array(surveys)).and_then(|()| out.flush());
}

/// Reads in a child process. If the child does not answer, the result is a single entry that reports this. If no child
/// can be started or it ends without a result, this process reads.
#[must_use]
pub fn from_child(context: impl Fn() -> Context) -> Vec<Survey> {
    let Some(mut child) = start() else { return survey(&context()) };
    let Some(out) = child.stdout.take() else { return survey(&context()) };
    let (line, received) = mpsc::channel();
    let reader = std::thread::Builder::new().name("child".to_owned());
    let read = reader.spawn(move || {
        let mut text = String::new();
        let _ = BufReader::new(out.take(MOST_BYTES)).read_line(&mut text);
        let _ = line.send(text);
    });
    if read.is_err() {
        return survey(&context());
    }
    let answer = received.recv_timeout(MOST);
    // Do not wait for the child: it may hang in the kernel.
    let _ = child.kill();
    match answer {
        // No result. Some emulators also report this if they cannot start the program.
        Ok(text) => decode(&text).unwrap_or_else(|| survey(&context())),
        Err(_) => {
            let words = format!("the process that reads the host did not answer within {MOST:?}");
            vec![Survey {
                collector: "all",
                series: 0,
                took: MOST,
                problems: vec![Problem { path: "/proc".into(), failed: true, words }],
                panicked: false,
            }]
        }
    }
}

fn start() -> Option<Child> {
    let own = std::env::args_os().next().map(PathBuf::from);
    // `/proc/self/exe` is the running file even if it was replaced, but it needs a mounted /proc.
    [Some(PathBuf::from("/proc/self/exe")), own].into_iter().flatten().find_map(|program| {
        Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(CHILD, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // An abandoned child must not keep the caller's pipe open.
            .stderr(Stdio::null())
            .spawn()
            .ok()
    })
}

fn encode(survey: &Survey) -> Value {
    let problem = |problem: &Problem| json!({ "path": problem.path.to_string_lossy(), "failed": problem.failed, "words": problem.words });
    json!({
        "collector": survey.collector,
        "series": survey.series,
        "nanos": u64::try_from(survey.took.as_nanos()).unwrap_or(u64::MAX),
        "panicked": survey.panicked,
        "problems": survey.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

fn decode(line: &str) -> Option<Vec<Survey>> {
    let value: Value = serde_json::from_str(line).ok()?;
    value.as_array()?.iter().map(decode_one).collect()
}

fn decode_one(value: &Value) -> Option<Survey> {
    let name = value.get("collector")?.as_str()?;
    let problem = |value: &Value| {
        Some(Problem {
            path: value.get("path")?.as_str()?.into(),
            failed: value.get("failed")?.as_bool()?,
            words: value.get("words")?.as_str()?.to_owned(),
        })
    };
    Some(Survey {
        collector: COLLECTORS.iter().find(|definition| definition.name == name)?.name,
        series: usize::try_from(value.get("series")?.as_u64()?).ok()?,
        took: Duration::from_nanos(value.get("nanos")?.as_u64()?),
        panicked: value.get("panicked")?.as_bool()?,
        problems: value.get("problems")?.as_array()?.iter().map(problem).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_passes_the_pipe_unchanged() {
        let problem = Problem { path: "/proc/a \"b\"\n".into(), failed: true, words: "it does not answer".to_owned() };
        let survey = Survey {
            collector: "cpu",
            series: 7,
            took: Duration::from_micros(250),
            problems: vec![problem.clone()],
            panicked: true,
        };
        let line = Value::Array(vec![encode(&survey)]).to_string();
        assert!(!line.contains('\n'));
        let read = decode(&line).unwrap();
        assert_eq!((read[0].collector, read[0].series, read[0].took, read[0].panicked), ("cpu", 7, survey.took, true));
        assert_eq!(read[0].problems, [problem]);
    }

    #[test]
    fn text_that_is_no_survey_is_not_decoded() {
        for line in ["", "{}", "[{}]", "[{\"collector\":\"none\"}]", "[1"] {
            assert!(decode(line).is_none(), "{line}");
        }
    }
}
