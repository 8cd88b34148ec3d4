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
    /// Absent where nginx has nothing like it.
    nginx: Option<f64>,
    claviger: f64,
    /// Claviger's share of nginx's requests per CPU second; where less is better, how many times as much.
    ratio: Option<f64>,
    goal: Option<Goal>,
    /// The middle runs, nginx's first.
    middle: Option<(Run, Run)>,
    runs: Option<(Vec<Run>, Vec<Run>)>,
}

/// How good it has to be, and how good it would like to be: a ratio under load, else a value not to go above.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Goal {
    pub(crate) must: f64,
    pub(crate) aim: f64,
}

impl Row {
    /// Requests per CPU second: the more, the better.
    pub(crate) fn load(what: &str, nginx: Run, claviger: Run, goal: Option<Goal>, runs: (Vec<Run>, Vec<Run>)) -> Self {
        let (theirs, ours) = (nginx.per_cpu_second, claviger.per_cpu_second);
        let what = format!("{what}, req/cpu-s");
        let (middle, runs) = (Some((nginx, claviger)), Some(runs));
        Self { what, nginx: Some(theirs), claviger: ours, ratio: Some(ours / theirs), goal, middle, runs }
    }

    /// Something of which less is better, whatever nginx has.
    pub(crate) fn less(what: &str, nginx: f64, claviger: f64, goal: Goal) -> Self {
        Self { nginx: Some(nginx), ratio: Some(claviger / nginx), ..Self::alone(what, claviger, goal) }
    }

    /// Something of which less is better, and which nginx does not have.
    pub(crate) fn alone(what: &str, claviger: f64, goal: Goal) -> Self {
        let what = what.to_owned();
        Self { what, nginx: None, claviger, ratio: None, goal: Some(goal), middle: None, runs: None }
    }

    /// A figure by itself, with nothing that it has to be.
    pub(crate) fn told(what: &str, claviger: f64) -> Self {
        let what = what.to_owned();
        Self { what, nginx: None, claviger, ratio: None, goal: None, middle: None, runs: None }
    }

    fn failed(&self) -> f64 {
        self.runs.iter().flat_map(|(theirs, ours)| theirs.iter().chain(ours)).map(|run| run.failed).sum()
    }

    fn reaches(&self, bound: f64) -> bool {
        if self.middle.is_some() { self.ratio.is_some_and(|ratio| ratio >= bound) } else { self.claviger <= bound }
    }

    /// A fast wrong answer is no answer.
    fn is_met(&self) -> bool {
        self.failed() == 0.0 && self.goal.is_none_or(|goal| self.reaches(goal.must))
    }

    fn verdict(&self) -> &'static str {
        match self.goal {
            _ if !self.is_met() => "NOT MET",
            None => "",
            Some(goal) if self.reaches(goal.aim) => "met, and aim",
            Some(_) => "met",
        }
    }
}

impl Table {
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Whether every row is as good as it must be, and no request failed.
    pub(crate) fn is_met(&self) -> bool {
        self.rows.iter().all(Row::is_met)
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
        let heads = ["nginx", "claviger", "ratio", "must", "aim", "", "failed", "p50 ms", "p99 ms", "MiB after"];
        write!(f, "{:36}", "")?;
        heads.iter().try_for_each(|head| write!(f, "{head:>13}"))?;
        writeln!(f)?;
        for row in &self.rows {
            let sign = if row.middle.is_some() { "≥" } else { "≤" };
            let bound = |of: fn(Goal) -> f64| row.goal.map_or_else(String::new, |goal| format!("{sign} {}", of(goal)));
            let (must, aim, verdict) = (bound(|goal| goal.must), bound(|goal| goal.aim), row.verdict());
            let (theirs, ours) = (row.nginx.map_or_else(String::new, shown), shown(row.claviger));
            let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}"));
            write!(f, "{:36}{theirs:>13}{ours:>13}{ratio:>13}", row.what)?;
            write!(f, "{must:>13}{aim:>13}{verdict:>13}")?;
            if let Some((theirs, ours)) = &row.middle {
                let pair = |of: fn(&Run) -> f64| format!("{:.2}/{:.2}", of(theirs), of(ours));
                let (p50, p99, memory) = (pair(|run| run.p50_ms), pair(|run| run.p99_ms), pair(|run| run.memory_mib));
                write!(f, "{:>13}{p50:>13}{p99:>13}{memory:>13}", row.failed())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// With as many places as its size leaves of interest.
fn shown(value: f64) -> String {
    if value < 10.0 { format!("{value:.3}") } else { format!("{value:.1}") }
}
