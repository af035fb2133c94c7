//! The rows of the main table: a measure each, a cell a method.

use super::{name, points, points_interval, within_shares};
use crate::experiment::leaks::summary::{Measured, Row, Summary};
use crate::experiment::membership::Family;
use crate::experiment::report::format::{interval_cell, percent};
use crate::metrics::Trials;

/// A number of one method.
pub struct Cell {
    pub trials: Trials,
    /// Lines of plain text below it.
    pub notes: Vec<String>,
}

/// A measure.
pub struct Line {
    /// Heading above a run of lines.
    pub group: String,
    pub title: String,
    /// A difference rather than a share.
    pub signed: bool,
    pub cells: Vec<Option<Cell>>,
}

impl Cell {
    fn plain(trials: &Trials) -> Option<Cell> {
        Some(Cell { trials: trials.clone(), notes: Vec::new() })
    }

    /// Mean and interval as text.
    pub fn text(&self, signed: bool) -> (String, Option<String>) {
        let (mean, interval) = (self.trials.mean, self.trials.interval);
        match signed {
            true => (format!("{} points", points(mean)), interval.map(|i| points_interval(&i))),
            false => (percent(mean), interval.map(|i| interval_cell(&within_shares(&i), percent))),
        }
    }
}

/// All measures of these methods.
pub fn lines(rows: &[&Row]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |group: &str, title: &str, signed: bool, get: &dyn Fn(&Row) -> Option<Cell>| {
        let cells: Vec<Option<Cell>> = rows.iter().map(|row| get(row)).collect();
        if cells.iter().any(Option::is_some) {
            lines.push(Line { group: group.into(), title: title.into(), signed, cells });
        }
    };
    add("Usefulness", "Accuracy at the task, on new images", false, &|row| Cell::plain(&row.task_accuracy));
    add("Usefulness", "Overfitting gap: training minus test accuracy", true, &|row| {
        Cell::plain(&row.overfitting_gap)
    });

    let mut attacks: Vec<&Measured> = Vec::new();
    for attack in rows.iter().flat_map(|row| &row.membership) {
        if !attacks.iter().any(|known| known.title == attack.title) {
            attacks.push(attack);
        }
    }
    for attack in attacks {
        let group = match attack.family {
            Family::Neural => "Membership, neural attack",
            Family::Metric => "Membership, metric attacks",
            Family::LabelOnly => "Membership, label-only attacks",
        };
        add(group, &attack.title, false, &|row| {
            let found = row.membership.iter().find(|a| a.title == attack.title)?;
            let tpr = &found.tpr_at_1_percent_fpr;
            // The percent sign once, at the mean.
            let bare = |share: f64| format!("{:.1}", 100.0 * share);
            let tpr = match tpr {
                None => "TPR: too few images to tell".to_string(),
                Some(tpr) => {
                    let interval = tpr
                        .interval
                        .map(|i| within_shares(&i))
                        .map_or(String::new(), |i| format!(" ({}–{})", bare(i.lower), bare(i.upper)));
                    format!("TPR {}{interval}", percent(tpr.mean))
                }
            };
            let notes = vec![format!("AUC {:.3}", found.auc.mean), tpr];
            Some(Cell { trials: found.accuracy.clone(), notes })
        });
    }

    let mut auxiliaries: Vec<&str> = Vec::new();
    for attribute in rows.iter().flat_map(|row| &row.attribute) {
        if !auxiliaries.contains(&attribute.auxiliary.as_str()) {
            auxiliaries.push(&attribute.auxiliary);
        }
    }
    for auxiliary in auxiliaries {
        let group = format!("Attribute, attacker holds {auxiliary}");
        let of = |row: &Row| row.attribute.iter().find(|a| a.auxiliary == auxiliary).cloned();
        add(&group, "Published network", false, &|row| Cell::plain(&of(row)?.published));
        add(&group, "Logistic regression", false, &|row| {
            let found = of(row)?;
            let logistic = found.adaptive.iter().find(|(title, _)| title == "logistic regression")?;
            Cell::plain(&logistic.1)
        });
        add(&group, "Best attacker in hindsight", false, &|row| {
            let found = of(row)?;
            let (title, trials) = found.strongest();
            let of = format!("{title}; the best of {} on these images", found.adaptive.len() + 1);
            Some(Cell { trials: trials.clone(), notes: vec![of] })
        });
        add(&group, "Imputation: from the task label alone", false, &|row| Cell::plain(&of(row)?.imputation));
        add(&group, "Majority: always the same answer", false, &|row| Cell::plain(&of(row)?.majority));
    }
    lines
}

/// The main table and the findings as Markdown, of all methods that have the most trials.
pub fn markdown(summary: &Summary) -> String {
    let most = summary.rows.iter().map(|row| row.seeds.len()).max().unwrap_or(0);
    let rows: Vec<&Row> = summary.rows.iter().filter(|row| row.seeds.len() == most).collect();
    let head: String = rows.iter().map(|row| format!(" {} |", name(row.method))).collect();
    let mut text = format!("| measure |{head}\n|---|{}\n", "---|".repeat(rows.len()));
    // Class and file names may hold what Markdown reads as a border.
    let safe = |cell: &str| cell.replace('|', "\\|").replace('\n', " ");
    for line in lines(&rows) {
        let cells: String = line
            .cells
            .iter()
            .map(|cell| match cell {
                None => " – |".into(),
                Some(cell) => {
                    let (mean, interval) = cell.text(line.signed);
                    let interval = interval.map_or(String::new(), |i| format!(" ({i})"));
                    let notes: String = cell.notes.iter().map(|note| format!("; {note}")).collect();
                    format!(" {} |", safe(&format!("{mean}{interval}{notes}")))
                }
            })
            .collect();
        text.push_str(&format!("| {} |{cells}\n", safe(&format!("{}: {}", line.group, line.title))));
    }
    text.push_str(&format!(
        "\nMeans of {most} trials; in brackets 95 % intervals (Student); TPR at 1 % FPR.\n\n"
    ));
    for c in &summary.comparisons {
        let verdict = match c.agrees {
            Some(true) => "seen",
            Some(false) => "not seen",
            None => "open",
        };
        let sign = if c.other_sign { "; the sign differs from the paper's" } else { "" };
        text.push_str(&format!("- {}: **{verdict}**, {}{sign}.\n", c.claim, c.seen));
    }
    text
}
