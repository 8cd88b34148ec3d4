//! What was measured, for people and for programs.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::load::Run;

/// The rows so far.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

/// One comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    what: String,
    nginx: f64,
    claviger: f64,
    /// Claviger's share of nginx's requests per CPU second; where less is better, how many times as much.
    ratio: f64,
    floor: Option<f64>,
    /// The middle runs, nginx's first.
    middle: Option<(Run, Run)>,
    runs: Option<(Vec<Run>, Vec<Run>)>,
}

impl Row {
    /// Requests per CPU second: the more, the better.
    pub(crate) fn load(what: &str, nginx: Run, claviger: Run, floor: Option<f64>, runs: (Vec<Run>, Vec<Run>)) -> Self {
        let (theirs, ours) = (nginx.per_cpu_second, claviger.per_cpu_second);
        let what = format!("{what}, req/cpu-s");
        Self {
            what,
            nginx: theirs,
            claviger: ours,
            ratio: ours / theirs,
            floor,
            middle: Some((nginx, claviger)),
            runs: Some(runs),
        }
    }

    /// Something of which less is better, and which has no floor.
    pub(crate) fn less(what: &str, nginx: f64, claviger: f64) -> Self {
        Self { what: what.to_owned(), nginx, claviger, ratio: claviger / nginx, floor: None, middle: None, runs: None }
    }

    fn failed(&self) -> f64 {
        self.runs.iter().flat_map(|(theirs, ours)| theirs.iter().chain(ours)).map(|run| run.failed).sum()
    }

    /// A fast wrong answer is no answer.
    fn met(&self) -> bool {
        self.floor.is_none_or(|floor| self.ratio >= floor) && self.failed() == 0.0
    }
}

impl Table {
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Whether every row is above its floor, and no request failed.
    pub(crate) fn floors_met(&self) -> bool {
        self.rows.iter().all(Row::met)
    }

    /// Leaves the table and every run of it in the folder.
    pub(crate) fn keep(&self, folder: &Path) {
        let json = serde_json::to_vec_pretty(self).expect("numbers are JSON");
        fs::write(folder.join("bench.json"), json).expect("the folder is writable");
        fs::write(folder.join("bench.txt"), self.to_string()).expect("the folder is writable");
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["nginx", "claviger", "ratio", "floor", "failed", "p50 ms", "p99 ms", "MiB after"];
        write!(f, "{:32}", "")?;
        heads.iter().try_for_each(|head| write!(f, "{head:>14}"))?;
        writeln!(f)?;
        for row in &self.rows {
            let floor = row
                .floor
                .map_or_else(String::new, |floor| format!("{floor:.2} {}", if row.met() { "met" } else { "NOT MET" }));
            write!(f, "{:32}{:>14.1}{:>14.1}{:>14.3}{floor:>14}", row.what, row.nginx, row.claviger, row.ratio)?;
            if let Some((theirs, ours)) = &row.middle {
                let pair = |of: fn(&Run) -> f64| format!("{:.2}/{:.2}", of(theirs), of(ours));
                let (p50, p99, memory) = (pair(|run| run.p50_ms), pair(|run| run.p99_ms), pair(|run| run.memory_mib));
                write!(f, "{:>14}{p50:>14}{p99:>14}{memory:>14}", row.failed())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
