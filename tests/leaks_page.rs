//! The page of the contrastive-leaks experiment on invented results: all families of numbers, honest findings, tidy HTML.

#[path = "common/leaks_results.rs"]
mod leaks_results;

use contraleak::experiment::leaks::{Classes, Method, Summary, markdown, render};
use leaks_results::{EVIL, results};

fn balanced(page: &str) {
    for tag in [
        "section",
        "table",
        "svg",
        "thead",
        "tbody",
        "tr",
        "details",
        "figure",
        "figcaption",
        "div",
        "ul",
        "li",
        "p",
        "span",
        "dl",
        "text",
        "b",
    ] {
        let open = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        let close = page.matches(&format!("</{tag}>")).count();
        assert_eq!(open, close, "<{tag}>: {open} opened, {close} closed");
    }
}

/// Text without tags, entities resolved as far as the page uses them here.
fn visible(page: &str) -> String {
    let body = &page[page.find("<body>").unwrap()..];
    let mut text = String::new();
    let mut inside = false;
    for c in body.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            _ if !inside => text.push(c),
            _ => {}
        }
    }
    text
}

fn check_page(page: &str) {
    balanced(page);
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
    assert!(!page.contains("url(") && !page.contains("@import") && !page.contains("src="));
    let text = visible(page);
    assert!(!text.contains("Some("));
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        assert!(!["NaN", "inf"].contains(&word), "the page says {word}");
    }
    for (at, _) in page.match_indices("<path") {
        let end = at + page[at..].find('>').unwrap();
        assert!(!page[at..end].contains("NaN") && !page[at..end].contains("inf"), "{}", &page[at..end]);
    }
}

#[test]
fn every_family_of_numbers_is_there() {
    let results = results();
    let page = render(&results);
    // To look at.
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/leaks-page.html"), &page).unwrap();
    check_page(&page);
    for id in [
        "findings",
        "run",
        "leaks",
        "curve",
        "overfitting",
        "defences",
        "epochs",
        "controls",
        "warnings",
        "making",
        "assumptions",
        "citations",
    ] {
        assert!(page.contains(&format!("<section id=\"{id}\">")), "section {id}");
    }
    for text in [
        // The models and their attacks.
        "Talos, λ = 10",
        "Neural network on the 2 largest posteriors",
        "Modified entropy",
        "Distance to the boundary (HopSkipJump)",
        "1534", // queries
        "TPR at 1 % FPR",
        "Overfitting gap",
        "Attribute, attacker holds target-train",
        "Attribute, attacker holds shadow-train",
        "Imputation: from the task label alone",
        "Majority: always the same answer",
        "chance: 33.3",
        "only 50 non-members",
        // Every attacker on the curve.
        "logistic regression on de-censored embeddings",
        "MLP 1024-1024-1024, Adam",
        "MLP 128-128-128, published on the projection",
        "20 nearest neighbours",
        "The de-censoring map explains",
        // Defences.
        "Olympus",
        "AttriGuard",
        "MemGuard",
        "ε = ",
        "δ = 1e-5",
        "probe stopped after 30 epochs",
        // Controls.
        "Images without a model (blind)",
        "Baseline F",
        "Expected by chance",
        "Holm",
        // How it was made.
        "contraleak run experiment.toml --out DIR",
        "llvmpipe",
        "sweep_seeds",
        "Are Attribute Inference Attacks Just Imputation?",
        "One class receives more than 99 % of the predictions.",
    ] {
        assert!(page.contains(text), "the page does not say: {text}");
    }
    assert!(page.contains("&lt;b&gt;light&lt;/b&gt;") && !page.contains(EVIL), "names are escaped");

    // The numbers of the main table are those of the summary.
    let summary = Summary::of(&results);
    for row in summary.rows.iter().take(3) {
        for attack in &row.membership {
            let mean = format!("{:.1}\u{202f}%", 100.0 * attack.accuracy.mean);
            assert!(page.contains(&mean), "{} {}: {mean}", row.method, attack.title);
        }
        assert!(page.contains(&format!("{:.1}\u{202f}%", 100.0 * row.task_accuracy.mean)));
    }
    // Three charts over lambda with a tick for each, the scatter, the epochs.
    assert_eq!(page.matches("role=\"img\"").count(), 5);
    // Every model is in the scatter, with a title.
    assert_eq!(page.matches(": gap ").count(), results.subjects.len());
}

#[test]
fn findings_are_told_as_they_are() {
    let mut results = results();
    let page = render(&results);
    assert!(page.contains("Contrastive models leak less about who was trained on"));
    assert!(page.contains("Contrastive models leak more about the sensitive attribute"));
    assert!(page.contains("Talos hides the attribute"));
    assert!(!page.contains("the sign differs from the paper"));

    // Contrastive and supervised models change places: the page says that it is the opposite.
    for subject in &mut results.subjects {
        subject.method = match subject.method {
            Method::Contrastive => Method::Supervised,
            Method::Supervised => Method::Contrastive,
            talos => talos,
        };
    }
    let page = render(&results);
    check_page(&page);
    assert!(page.contains("Contrastive models leak more about who was trained on"));
    assert!(page.contains("This is the opposite of what the paper found"));
    assert!(page.contains("the sign differs from the paper"));
    assert!(page.contains("not seen"));

    // One trial leaves everything open.
    results.subjects.retain(|s| s.seed == 0);
    results.config.seeds = vec![0];
    let summary = Summary::of(&results);
    assert!(!summary.comparisons.is_empty() && summary.comparisons.iter().all(|c| c.agrees.is_none()));
    let page = render(&results);
    check_page(&page);
    assert!(page.contains("stays open") && page.contains("one trial"));
}

#[test]
fn controls_are_counted() {
    let results = results();
    let page = render(&results);
    let section = &page[page.find("<section id=\"controls\">").unwrap()..];
    let section = &section[..section.find("</section>").unwrap()];
    // 3 blind, 14 shuffled, 28 shuffled attribute labels, 6 baselines; F is none.
    let subjects = results.subjects.len();
    let tests = 3 + subjects + 2 * subjects + 6;
    assert!(section.contains(&format!("{tests} controls were run")), "{tests} controls");
    assert!(section.contains("NOT at chance"), "the blind control of trial 2");
    assert!(section.contains("more than chance explains"));
    assert!(section.contains("is no control and is not counted"));
}

#[test]
fn without_attribute_defences_or_anything() {
    let mut results = results();
    results.attribute = Classes::default();
    results.defences.clear();
    results.baselines.clear();
    for subject in &mut results.subjects {
        subject.attribute.clear();
    }
    results.subjects.retain(|s| !matches!(s.method, Method::Talos { .. }));
    let page = render(&results);
    check_page(&page);
    for id in ["curve", "defences"] {
        assert!(!page.contains(&format!("<section id=\"{id}\">")), "section {id}");
    }
    assert!(page.contains("no sensitive attribute"));

    results.subjects.clear();
    results.blind.clear();
    check_page(&render(&results));
}

#[test]
fn markdown_has_the_main_table() {
    let summary = Summary::of(&results());
    let text = markdown(&summary);
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows[0].contains("Contrastive | Supervised | Talos, λ = 10"));
    for row in &rows {
        assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
    }
    assert_eq!(
        text.matches("**seen**").count() + text.matches("**open**").count(),
        summary.comparisons.len()
    );
    assert!(text.contains("HopSkipJump") && text.contains("Means of 3 trials"));
}
