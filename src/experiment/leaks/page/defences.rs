//! The defences beside the undefended models and Talos.

use super::{NONE, chief_of, name, neural, over_proportions};
use crate::experiment::leaks::encoders::Method;
use crate::experiment::leaks::results::{Defence, LeaksResults, MembershipAttack, Subject};
use crate::experiment::membership::Family;
use crate::experiment::report::format::{decimal, escape, number, percent};
use crate::experiment::report::html;
use crate::experiment::report::html_parts::table;
use crate::metrics::Proportion;

/// The numbers of one line, trial by trial.
#[derive(Default)]
struct Entry {
    method: Option<Method>,
    title: String,
    settings: Vec<String>,
    task: Vec<Proportion>,
    neural: Vec<Proportion>,
    neural_auc: Vec<f64>,
    /// Title and accuracy.
    metric: Vec<(String, Proportion)>,
    published: Vec<Proportion>,
    strongest: Vec<(String, Proportion)>,
    promise: Vec<String>,
    notes: Vec<String>,
}

impl Entry {
    fn membership(&mut self, attacks: &[MembershipAttack]) {
        if let Some(attack) = neural(attacks) {
            self.neural.push(attack.metrics.accuracy);
            self.neural_auc.push(attack.metrics.auc.value);
        }
        let metric = attacks.iter().filter(|a| a.family == Family::Metric);
        self.metric.extend(
            largest(metric.map(|a| (a.title.as_str(), a.metrics.accuracy)))
                .map(|(title, accuracy)| (title.to_string(), accuracy)),
        );
    }

    fn attribute(&mut self, attackers: &[(String, Proportion)]) {
        self.published.extend(attackers.first().map(|(_, p)| *p));
        self.strongest.extend(
            largest(attackers.iter().map(|(id, p)| (id.as_str(), *p))).map(|(id, p)| (id.to_string(), p)),
        );
    }

    fn defence(&mut self, defence: &Defence) {
        self.method = Some(defence.method);
        self.title.clone_from(&defence.title);
        remember(&mut self.settings, &defence.setting);
        self.task.push(defence.task_accuracy);
        self.membership(&defence.membership);
        self.attribute(&defence.attribute);
        if let Some(dp) = &defence.dp {
            let sampling = if dp.poisson_sampling { "Poisson sampling" } else { "NO Poisson sampling" };
            let promise = format!(
                "ε = {} at δ = {} (noise multiplier {}, {} steps, {sampling}, adjacency: {})",
                decimal(dp.epsilon),
                number(dp.delta),
                number(dp.accountant.noise_multiplier),
                dp.accountant.steps,
                dp.adjacency
            );
            remember(&mut self.promise, &promise);
            if let Some(warning) = &dp.warning {
                remember(&mut self.notes, warning);
            }
        }
        for note in &defence.notes {
            remember(&mut self.notes, note);
        }
    }

    /// A model as it is, attacked by the attribute attackers `ids` that the defences met too.
    fn undefended(subjects: &[&Subject], title: &str, ids: &[String]) -> Entry {
        let mut entry = Entry { title: title.into(), ..Entry::default() };
        for subject in subjects {
            entry.method = Some(subject.method);
            entry.task.push(subject.utility.target_test);
            entry.membership(&subject.membership);
            if let Some(finding) = chief_of(subject) {
                let same: Vec<(String, Proportion)> = finding
                    .attackers
                    .iter()
                    .filter(|a| ids.contains(&a.id))
                    .map(|a| (a.id.clone(), a.metrics.accuracy))
                    .collect();
                entry.attribute(&same);
            }
        }
        entry
    }

    fn row(&self) -> Vec<String> {
        let titled = |list: &[(String, Proportion)]| {
            let values: Vec<Proportion> = list.iter().map(|(_, p)| *p).collect();
            let mut titles = Vec::new();
            for (title, _) in list {
                remember(&mut titles, title);
            }
            let note = match titles.is_empty() {
                true => String::new(),
                false => format!(r#"<span class="note">{}</span>"#, escape(&titles.join("; "))),
            };
            over_proportions(&values) + &note
        };
        let auc = match self.neural_auc.len() {
            0 => String::new(),
            n => format!(
                r#"<span class="note">AUC {}</span>"#,
                decimal(self.neural_auc.iter().sum::<f64>() / n as f64)
            ),
        };
        let setting: String =
            self.settings.iter().map(|s| format!(r#"<span class="note">{}</span>"#, escape(s))).collect();
        let notes: Vec<String> = self.promise.iter().chain(&self.notes).map(|n| escape(n)).collect();
        vec![
            format!("{}{setting}", escape(&self.title)),
            over_proportions(&self.task),
            format!("{}{auc}", over_proportions(&self.neural)),
            titled(&self.metric),
            over_proportions(&self.published),
            titled(&self.strongest),
            if notes.is_empty() { NONE.into() } else { notes.join("; ") },
        ]
    }
}

fn remember(list: &mut Vec<String>, text: &str) {
    if !text.is_empty() && !list.iter().any(|known| known == text) {
        list.push(text.into());
    }
}

/// The largest accuracy, the first of equals.
fn largest<'a>(list: impl Iterator<Item = (&'a str, Proportion)>) -> Option<(&'a str, Proportion)> {
    list.reduce(|a, b| if b.1.value > a.1.value { b } else { a })
}

/// A table for each method.
pub fn section(results: &LeaksResults) -> String {
    if results.defences.is_empty() {
        return String::new();
    }
    let mut seeds: Vec<u64> = results.defences.iter().map(|d| d.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let mut ids: Vec<String> = Vec::new();
    for (id, _) in results.defences.iter().flat_map(|d| &d.attribute) {
        remember(&mut ids, id);
    }
    let head = [
        "Defence",
        "Accuracy at the task",
        "Membership, neural",
        "Membership, strongest metric attack",
        "Attribute, published",
        "Attribute, strongest",
        "Promise and notes",
    ];
    let mut tables = String::new();
    for method in [Method::Contrastive, Method::Supervised] {
        let entries = entries(results, method);
        if entries.is_empty() {
            continue;
        }
        let of = |method| -> Vec<&Subject> {
            results.subjects.iter().filter(|s| s.method == method && seeds.contains(&s.seed)).collect()
        };
        let mut rows = vec![Entry::undefended(&of(method), "No defence", &ids).row()];
        if method == Method::Contrastive {
            let talos = Method::Talos { lambda: results.config.lambda };
            let subjects = of(talos);
            if !subjects.is_empty() {
                rows.push(Entry::undefended(&subjects, &name(talos), &ids).row());
            }
        }
        rows.extend(entries.iter().map(Entry::row));
        tables += &table(&format!("{} models", name(method)), &head, rows);
    }
    let majority = results
        .subjects
        .iter()
        .find(|s| seeds.contains(&s.seed))
        .and_then(chief_of)
        .and_then(|f| f.baseline("majority"))
        .map_or(String::new(), |b| format!("; for the attribute, {}", percent(b.accuracy.value)));
    let intervals = match seeds.len() {
        1 => "within the one trial in which defences were run (Clopper–Pearson)".to_string(),
        n => format!("of the mean over {n} trials (Student)"),
    };
    let listed: Vec<String> = seeds.iter().map(u64::to_string).collect();
    let text = format!(
        "<p>The defences that Talos was compared with, on the same models, in trial {}. Some protect membership, some \
         the attribute; a dash means that a defence does not touch that question. The attacker knows the defence and \
         has it on his shadow model too. Guessing membership is 50.0\u{202f}%{majority}.</p><p class=\"soft\">Small \
         numbers: 95 % intervals {intervals}. The strongest attack of a cell was chosen on the test images, which \
         flatters it; it is named below its number. Attribute attackers here: {}.</p>",
        listed.join(", "),
        if ids.is_empty() { "none".to_string() } else { escape(&ids.join(", ")) }
    );
    html::section(
        "defences",
        "Talos beside other defences",
        &format!("{text}<div class=\"wide\">{tables}</div>"),
    )
}

/// The same defence in several trials is one line.
fn entries(results: &LeaksResults, method: Method) -> Vec<Entry> {
    let mut keys: Vec<(&str, usize)> = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    let mut seen: Vec<(u64, &str)> = Vec::new();
    for defence in results.defences.iter().filter(|d| d.method == method) {
        // The settings of one defence come in the same order in every trial; their words may differ.
        let ordinal = seen.iter().filter(|known| **known == (defence.seed, defence.id.as_str())).count();
        seen.push((defence.seed, &defence.id));
        let key = (defence.id.as_str(), ordinal);
        let index = keys.iter().position(|known| *known == key).unwrap_or_else(|| {
            keys.push(key);
            entries.push(Entry::default());
            keys.len() - 1
        });
        entries[index].defence(defence);
    }
    entries
}
