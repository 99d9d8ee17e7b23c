//! The report: tables for people, JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::options::Options;
use crate::run::{CaseResult, Row};
use crate::server::Kind;

/// What stands in a cell.
type Cell = fn(&CaseResult, &Row) -> String;

/// The columns of a table.
const COLUMNS: [(&str, Cell); 12] = [
    ("ns/msg", |_, row| format!("{:.0}", row.cost())),
    ("min", |_, row| format!("{:.0}", quantile(&row.costs, 0.0))),
    ("max", |_, row| format!("{:.0}", quantile(&row.costs, 1.0))),
    ("/floor", |result, row| result.ratio(row, Kind::Floor)),
    ("/mosq.", |result, row| result.ratio(row, Kind::Mosquitto)),
    ("msg/s", |_, row| format!("{:.0}", row.messages_per_s())),
    ("busy %", |_, row| format!("{:.0}", 100.0 * row.busy())),
    ("msg/sleep", |_, row| format!("{:.1}", 1.0 / row.per_message(row.usage.sleeps))),
    ("p50 us", |_, row| format!("{:.0}", row.latency_us(0.5))),
    ("p99 us", |_, row| format!("{:.0}", row.latency_us(0.99))),
    ("MiB", |_, row| format!("{:.1}", mib(row.rss_before))),
    ("more", |_, row| format!("{:.1}", mib(row.rss_after) - mib(row.rss_before))),
];

impl Row {
    /// CPU nanoseconds per delivered message: the median of the rounds.
    fn cost(&self) -> f64 {
        quantile(&self.costs, 0.5)
    }

    fn per_message(&self, count: u64) -> f64 {
        count as f64 / self.tally.delivered.max(1) as f64
    }

    fn messages_per_s(&self) -> f64 {
        self.tally.delivered as f64 / self.tally.wall.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The share of a core that the server used.
    fn busy(&self) -> f64 {
        self.usage.cpu_ns as f64 / self.tally.wall.as_nanos().max(1) as f64
    }

    fn latency_us(&self, share: f64) -> f64 {
        self.tally.latency.quantile(share).unwrap_or(0) as f64 / 1_000.0
    }

    /// Whether every message came once and in order.
    pub(crate) fn is_complete(&self) -> bool {
        self.tally.lost == 0 && self.tally.misplaced == 0
    }
}

impl CaseResult {
    fn ratio(&self, row: &Row, to: Kind) -> String {
        let other = self.rows.iter().find(|row| row.kind == to);
        let ratio = other.map(|other| format!("{:.2}", row.cost() / other.cost()));
        ratio.unwrap_or_else(|| "-".to_owned())
    }

    fn letter(&self) -> String {
        format!("{:?}", self.case.scenario).to_lowercase()
    }
}

/// The value that this share of all stays below; not a number if there is none.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

pub(crate) fn mib(octets: u64) -> f64 {
    octets as f64 / f64::from(1 << 20)
}

/// The table of a case.
pub(crate) fn table(result: &CaseResult) -> String {
    let mut text = format!("{}  {}\n{:<10}", result.letter(), result.title, "");
    COLUMNS.iter().for_each(|(name, _)| text += &format!("{name:>10}"));
    for row in &result.rows {
        text += &format!("\n{:<10}", row.kind.name());
        COLUMNS.iter().for_each(|(_, cell)| text += &format!("{:>10}", cell(result, row)));
    }
    text.push('\n');
    for row in &result.rows {
        text += &remarks(row);
    }
    text
}

/// What does not fit into the columns.
fn remarks(row: &Row) -> String {
    let name = row.kind.name();
    let mut text = String::new();
    if let Some((calls, messages)) = &row.calls {
        let per_message = |count: u64| count as f64 / (*messages).max(1) as f64;
        write!(text, "{name}: {:.4} system calls per message", per_message(calls.total))
            .expect("a string takes everything");
        for (call, count) in &calls.by_name {
            write!(text, ", {call} {:.4}", per_message(*count)).expect("a string takes everything");
        }
        text.push('\n');
    }
    if !row.is_complete() {
        let tally = &row.tally;
        text += &format!("{name}: {} LOST, {} OUT OF PLACE\n", tally.lost, tally.misplaced);
    }
    text
}

/// All results as one object.
pub(crate) fn json(options: &Options, results: &[CaseResult]) -> Value {
    let cases: Vec<_> = results.iter().map(case_json).collect();
    json!({
        "seconds": options.seconds,
        "rounds": options.rounds,
        "payload_octets": options.payload,
        "cases": cases,
    })
}

fn case_json(result: &CaseResult) -> Value {
    let servers: Vec<_> = result.rows.iter().map(row_json).collect();
    json!({
        "scenario": result.letter(),
        "qos": result.case.qos,
        "cores": format!("{:?}", result.case.cores).to_lowercase(),
        "title": result.title,
        "servers": servers,
    })
}

fn row_json(row: &Row) -> Value {
    let calls = row.calls.as_ref().map(|(calls, messages)| {
        let by_name: serde_json::Map<_, _> =
            calls.by_name.iter().map(|(name, count)| (name.clone(), json!(count))).collect();
        json!({ "messages": messages, "total": calls.total, "by_name": by_name })
    });
    json!({
        "server": row.kind.name(),
        "cpu_ns_per_message": row.cost(),
        "cpu_ns_per_message_by_round": row.costs,
        "sent": row.tally.sent,
        "delivered": row.tally.delivered,
        "lost": row.tally.lost,
        "out_of_place": row.tally.misplaced,
        "messages_per_s": row.messages_per_s(),
        "busy": row.busy(),
        "sleeps": row.usage.sleeps,
        "preemptions": row.usage.preemptions,
        "latency_p50_us": row.latency_us(0.5),
        "latency_p99_us": row.latency_us(0.99),
        "rss_before_bytes": row.rss_before,
        "rss_after_bytes": row.rss_after,
        "system_calls": calls,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::options::{Cores, Scenario};
    use crate::run::Case;
    use crate::tally::Tally;
    use crate::usage::Usage;

    fn row(kind: Kind, costs: &[f64], lost: u64) -> Row {
        let wall = Duration::from_secs(1);
        Row {
            kind,
            costs: costs.to_vec(),
            tally: Tally { delivered: 1_000, lost, wall, ..Tally::default() },
            usage: Usage { cpu_ns: 500_000_000, sleeps: 10, preemptions: 0 },
            rss_before: 1 << 20,
            rss_after: 3 << 20,
            calls: None,
        }
    }

    fn result() -> CaseResult {
        let case = Case { scenario: Scenario::C, qos: 1, cores: Cores::Apart };
        let floor = row(Kind::Floor, &[300.0, 100.0, 200.0], 0);
        let rows = vec![floor, row(Kind::Gateway, &[300.0], 7)];
        CaseResult { case, title: "ten pairs".to_owned(), rows }
    }

    #[test]
    fn a_table_tells_cost_ratio_rate_and_loss() {
        let text = table(&result());
        let lines: Vec<_> = text.lines().collect();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines[0], "c  ten pairs");
        assert_eq!(words(lines[2])[..6], ["floor", "200", "100", "300", "1.00", "-"]);
        let gateway = words(lines[3]);
        assert_eq!(gateway[..6], ["gateway", "300", "300", "300", "1.50", "-"]);
        assert_eq!(gateway[6..], ["1000", "50", "100.0", "0", "0", "1.0", "2.0"]);
        assert_eq!(lines[4], "gateway: 7 LOST, 0 OUT OF PLACE");
    }

    #[test]
    fn the_object_has_the_same_numbers() {
        let servers = case_json(&result())["servers"].clone();
        assert_eq!(servers[0]["cpu_ns_per_message"], 200.0);
        assert_eq!(servers[1]["lost"], 7);
        assert_eq!(servers[1]["system_calls"], Value::Null);
    }
}
