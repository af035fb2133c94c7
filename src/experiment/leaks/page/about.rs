//! Warnings, how the page's numbers were made, assumptions and sources.

use super::{name, several};
use crate::experiment::leaks::results::LeaksResults;
use crate::experiment::report::format::{count, duration, escape};
use crate::experiment::report::html::{section, sources};
use crate::experiment::report::html_parts::{definitions, table};
use crate::experiment::report::{Assumption, Citation};

/// Warnings of the run and of every attack, each once, with the models that they are about.
pub fn all_warnings(results: &LeaksResults) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut add = |text: &str, place: Option<String>| match found.iter_mut().find(|(known, _)| known == text)
    {
        Some((_, places)) => places.extend(place.filter(|p| !places.contains(p))),
        None => found.push((text.into(), place.into_iter().collect())),
    };
    for warning in &results.warnings {
        add(warning, None);
    }
    for subject in &results.subjects {
        let model = format!("{}, trial {}", name(subject.method), subject.seed);
        for attack in &subject.membership {
            for warning in &attack.warnings {
                add(&format!("{}: {warning}", attack.title), Some(model.clone()));
            }
        }
        for finding in &subject.attribute {
            for warning in &finding.warnings {
                add(warning, Some(format!("{model}, {}", finding.auxiliary)));
            }
        }
    }
    for defence in &results.defences {
        if let Some(warning) = defence.dp.as_ref().and_then(|dp| dp.warning.as_ref()) {
            let place = format!("{} on {}, trial {}", defence.title, name(defence.method), defence.seed);
            add(warning, Some(place));
        }
    }
    found
}

pub fn warnings(results: &LeaksResults) -> String {
    let body: String = all_warnings(results)
        .into_iter()
        .map(|(text, places)| {
            let places = match places.as_slice() {
                [] => String::new(),
                [one] => format!(" <span class=\"soft\">({})</span>", escape(one)),
                list => format!(
                    "<details><summary>{}</summary>{}</details>",
                    several(list.len(), "place"),
                    escape(&list.join("; "))
                ),
            };
            format!("<div class=\"banner\"><b>Warning.</b> {}{places}</div>", escape(&text))
        })
        .collect();
    section("warnings", "Warnings", &body)
}

pub fn making(results: &LeaksResults) -> String {
    let code = |text: &str| format!(r#"<span class="code">{}</span>"#, escape(text));
    let adapter = &results.adapter;
    let mut items = vec![
        (
            "Adapter".to_string(),
            escape(&format!(
                "{} ({} backend, driver {}, class {})",
                adapter.name, adapter.backend, adapter.driver, adapter.class
            )),
        ),
        ("Wall time of the last run".into(), duration(results.wall_time_s)),
    ];
    if !results.stages.is_empty() {
        let list: Vec<String> =
            results.stages.iter().map(|s| format!("{} {}", escape(&s.name), duration(s.seconds))).collect();
        items.push(("of which".into(), list.join(", ")));
    }
    let measuring: f64 = results.subjects.iter().map(|s| s.seconds).sum();
    items.push(("Measuring the models".into(), duration(measuring)));
    let mode = if results.config.compat {
        "contrastive-leaks: the artefacts of the released code"
    } else {
        "none: the sound form"
    };
    items.push(("Compatibility switches".into(), mode.into()));
    if let Some(near) = results.data.near_duplicates {
        items.push(("Near-duplicates between members and non-members".into(), count(near)));
    }
    let parts =
        results.data.parts.iter().map(|p| vec![escape(&p.role), count(p.count), code(&p.sha256)]).collect();
    let encoders = results
        .subjects
        .iter()
        .map(|s| {
            vec![
                escape(&name(s.method)),
                s.seed.to_string(),
                code(&s.encoders[0]),
                code(&s.encoders[1]),
                duration(s.seconds),
            ]
        })
        .collect();
    let head = ["Method", "Trial", "Target, SHA-256", "Shadow, SHA-256", "Measured in"];
    // A configuration has only numbers, strings and lists, all of which TOML can hold.
    let config = toml::to_string(&results.config).unwrap_or_default();
    let body = format!(
        "{}{}<details><summary>Encoder files</summary><div class=\"wide\">{}</div></details><h3>Repeat it</h3><p>Save \
         this as <span class=\"code\">experiment.toml</span>; it is also <span class=\"code\">config.toml</span> in the \
         folder of the run.</p><pre>{}</pre><pre>contraleak run experiment.toml --out DIR\ncontraleak report DIR</pre>\
         <p class=\"soft\">The first command does everything and goes on where it was stopped; the second renders this \
         page again.</p>",
        definitions(items.into_iter()),
        table("Parts of the first trial", &["Part", "Images", "SHA-256 of the images"], parts),
        table("Encoders", &head, encoders),
        escape(&config)
    );
    section("making", "How it was made", &body)
}

pub fn assumptions(results: &LeaksResults) -> String {
    let config = &results.config;
    let mut list: Vec<[String; 3]> = Vec::new();
    let mut note = |what: &str, value: String, certainty: &str| {
        list.push([what.into(), value, certainty.into()]);
    };
    let lambdas: Vec<String> = config.sweep.iter().map(f32::to_string).collect();
    note(
        "λ of Talos",
        format!("{} in the main table; curve: {}", config.lambda, lambdas.join(", ")),
        "assumed: the value of the paper's tables is unknown; the released script has 10",
    );
    note(
        "Sizes",
        format!(
            "{} epochs, batch {}, width {}, {} pixels",
            config.epochs, config.batch, config.encoder.width, config.encoder.size
        ),
        "published: 100 epochs, batch 512, width 64, 96 pixels",
    );
    note("Trials", several(config.seeds.len(), "trial"), "published: one");
    note("Temperature of NT-Xent", "0.07".into(), "certain");
    note("Posteriors that the neural attack sees", "2, with a correctness bit".into(), "certain");
    note(
        "Thresholds of metric attacks",
        "one per class from the shadow; pooled for a class that the shadow lacks".into(),
        "certain; assumed for missing classes",
    );
    note(
        "HopSkipJump",
        format!(
            "7 iterations; {} + {} images; {}",
            config.boundary_samples,
            config.boundary_samples,
            if config.compat {
                "random starts, no final projection"
            } else {
                "image starts, final projection"
            }
        ),
        if config.compat { "certain: the released code" } else { "assumed fix; published: 500 + 500 images" },
    );
    note(
        "Attribute attacker's images",
        if config.compat { "target-train" } else { "target-train as published, and shadow-train" }.into(),
        if config.compat { "certain" } else { "assumed: both are reported" },
    );
    note(
        "Adaptive attribute attackers",
        format!(
            "logistic regression, nearest neighbours, MLPs of three widths, mean of {} views, projection, de-censoring",
            config.views
        ),
        "assumed; de-censoring after Song and Shmatikov",
    );
    note(
        "Last layer of attack networks",
        if config.compat { "ReLU on the logits" } else { "linear" }.into(),
        if config.compat { "certain: the released code" } else { "fix of the released code's ReLU" },
    );
    note(
        "Olympus",
        "d-256-128-256-d, SGD 0.01 with cosine".into(),
        "network certain, training reported, alpha assumed",
    );
    note(
        "AttriGuard",
        "on embeddings; two phases adapted to embeddings".into(),
        "reported; adaptation assumed",
    );
    note("MemGuard", "of the original code, two-point release".into(), "certain for the original code");
    note(
        "Adversarial regularisation, DP-SGD",
        "on the linear head".into(),
        "reported; the head alone is assumed",
    );
    note("Margin of \"stays\"", "3 percentage points".into(), "assumed");
    let assumptions: Vec<Assumption> =
        list.into_iter().map(|[what, value, certainty]| Assumption { what, value, certainty }).collect();
    let rows =
        assumptions.iter().map(|a| vec![escape(&a.what), escape(&a.value), escape(&a.certainty)]).collect();
    let body = table(
        "Values in force; certain = stated by paper or code, reported = from secondary sources, assumed = chosen here",
        &["What", "Value", "Certainty"],
        rows,
    );
    section("assumptions", "Assumptions", &body)
}

pub fn citations() -> String {
    let cite = |[what, authors, title, venue]: [&str; 4]| Citation {
        what: what.into(),
        authors: authors.into(),
        title: title.into(),
        venue: venue.into(),
        identifier: None,
    };
    let list: Vec<Citation> = SOURCES.into_iter().map(cite).collect();
    section("citations", "Sources", &format!("<ul>{}</ul>", sources(&list)))
}

/// For what, authors, title, venue.
const SOURCES: [[&str; 4]; 14] = [
    [
        "The experiment and Talos",
        "X. He, Y. Zhang",
        "Quantifying and Mitigating Privacy Risks of Contrastive Learning",
        "ACM CCS 2021",
    ],
    [
        "Baselines A to G",
        "H. Liu, J. Jia, W. Qu, N. Z. Gong",
        "EncoderMI: Membership Inference against Pre-trained Encoders in Contrastive Learning",
        "ACM CCS 2021",
    ],
    [
        "SimCLR",
        "T. Chen, S. Kornblith, M. Norouzi, G. Hinton",
        "A Simple Framework for Contrastive Learning of Visual Representations",
        "ICML 2020",
    ],
    [
        "Metric attacks",
        "L. Song, P. Mittal",
        "Systematic Evaluation of Privacy Risks of Machine Learning Models",
        "USENIX Security 2021",
    ],
    [
        "Label-only attacks",
        "C. A. Choquette-Choo, F. Tramèr, N. Carlini, N. Papernot",
        "Label-Only Membership Inference Attacks",
        "ICML 2021",
    ],
    [
        "Distance to the boundary",
        "J. Chen, M. I. Jordan, M. J. Wainwright",
        "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack",
        "IEEE S&P 2020",
    ],
    [
        "Attribute inference, de-censoring",
        "C. Song, V. Shmatikov",
        "Overlearning Reveals Sensitive Attributes",
        "ICLR 2020",
    ],
    [
        "Imputation",
        "B. Jayaraman, D. Evans",
        "Are Attribute Inference Attacks Just Imputation?",
        "ACM CCS 2022",
    ],
    [
        "Olympus",
        "N. Raval, A. Machanavajjhala, J. Pan",
        "Olympus: Sensor Privacy through Utility Aware Obfuscation",
        "PoPETs 2019",
    ],
    [
        "AttriGuard",
        "J. Jia, N. Z. Gong",
        "AttriGuard: A Practical Defense Against Attribute Inference Attacks via Adversarial Machine Learning",
        "USENIX Security 2018",
    ],
    [
        "MemGuard",
        "J. Jia, A. Salem, M. Backes, Y. Zhang, N. Z. Gong",
        "MemGuard: Defending against Black-Box Membership Inference Attacks via Adversarial Examples",
        "ACM CCS 2019",
    ],
    [
        "Adversarial regularisation",
        "M. Nasr, R. Shokri, A. Houmansadr",
        "Machine Learning with Membership Privacy using Adversarial Regularization",
        "ACM CCS 2018",
    ],
    [
        "DP-SGD",
        "M. Abadi, A. Chu, I. Goodfellow, H. B. McMahan, I. Mironov, K. Talwar, L. Zhang",
        "Deep Learning with Differential Privacy",
        "ACM CCS 2016",
    ],
    [
        "Blind control",
        "D. Das, J. Zhang, F. Tramèr",
        "Blind Baselines Beat Membership Inference Attacks for Foundation Models",
        "2024",
    ],
];
