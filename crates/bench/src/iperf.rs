//! TCP on the same road, by iperf3: the yardstick of what the road and this
//! computer carry at the moment.

use std::path::Path;
use std::time::Duration;

use passalong_netns::{Failure, Running};
use serde::Deserialize;

use crate::ends::{End, Ends};
use crate::programs::Program;

/// How long it may take beyond the time that it is told to send.
const PATIENCE: Duration = Duration::from_secs(30);

/// What TCP achieved.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Bytes that arrived.
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// Processor time of each side.
    pub(crate) sender: Duration,
    pub(crate) receiver: Duration,
}

#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    error: Option<String>,
    end: Totals,
}

#[derive(Deserialize)]
struct Totals {
    #[serde(default)]
    sum_received: Option<Sum>,
}

#[derive(Deserialize)]
struct Sum {
    seconds: f64,
    bytes: u64,
}

/// Sends for `time` with one connection from memory to memory.
pub(crate) async fn send(
    iperf3: &Path,
    ends: &Ends,
    program: Program,
    time: Duration,
) -> Result<Sent, Failure> {
    let address = ends.address(End::Receiver).to_string();
    let mut command = ends.command(End::Receiver, iperf3);
    command.args(["--server", "--one-off", "--forceflush", "--bind", &address]);
    let mut server = Running::start("iperf3 --server", command)?;
    loop {
        match server.line().await {
            Some(said) if said.text.contains("listening") => break,
            Some(_) => {}
            None => return Err(server.failure("it does not listen")),
        }
    }
    let control = match program {
        Program::Bbr => "bbr",
        _ => "cubic",
    };
    let mut command = ends.command(End::Sender, iperf3);
    command.args(["--json", "--client", &address, "--congestion", control]);
    command.args(["--time", &time.as_secs().max(1).to_string()]);
    let mut client = Running::start("iperf3 --client", command)?;
    let mut text = String::new();
    let heard = tokio::time::timeout(time + PATIENCE, async {
        while let Some(said) = client.line().await {
            text.push_str(&said.text);
            text.push('\n');
        }
    });
    if heard.await.is_err() {
        return Err(client.failure("it does not end"));
    }
    client.ended().await?;
    let sum = received(&text).map_err(|problem| client.failure(&problem))?;
    server.ended().await?;
    Ok(Sent {
        bytes: sum.bytes,
        seconds: sum.seconds,
        sender: client.used().cpu,
        receiver: server.used().cpu,
    })
}

fn received(text: &str) -> Result<Sum, String> {
    let report: Report =
        serde_json::from_str(text).map_err(|error| format!("it printed no report: {error}"))?;
    match (report.error, report.end.sum_received) {
        (Some(error), _) => Err(error),
        (None, Some(sum)) => Ok(sum),
        (None, None) => Err("its report has no sum".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_or_the_error_of_a_report_is_found() {
        let text =
            r#"{"start":{},"end":{"sum_received":{"seconds":10.5,"bytes":1000,"sender":true}}}"#;
        assert_eq!(received(text).map(|sum| sum.bytes), Ok(1000));
        let text = r#"{"start":{},"end":{},"error":"no route"}"#;
        assert_eq!(
            received(text).map(|sum| sum.bytes),
            Err("no route".to_owned())
        );
        assert!(received("{").is_err());
    }
}
