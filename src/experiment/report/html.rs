//! The page: one self-contained file, no script, nothing loaded from elsewhere.

use super::format::{count, escape, percent};
use super::html_attribute::attribute as attribute_table;
use super::html_parts as parts;
use super::images::is_inline_image;
use super::schema::{Citation, Results, SampleImage};
use super::svg;
use super::verdict::{Verdict, VerdictKind};

const STYLE: &str = include_str!("style.css");

/// Renders the whole page.
pub fn render_html(results: &Results) -> String {
    let sections = [
        header(results),
        tested(results),
        attacks(results),
        roc(results),
        histograms(results),
        losses(results),
        samples(results),
        attribute(results),
        privacy(results),
        making(results),
        assumptions(results),
        warnings(results),
        citations(results),
        footer(results),
    ];
    document(&results.title, "", &sections)
}

/// A whole page with the style of all pages and some `style` of its own; empty sections leave nothing behind.
pub fn document(title: &str, style: &str, sections: &[String]) -> String {
    let sections: Vec<&str> = sections.iter().map(String::as_str).filter(|s| !s.is_empty()).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>\n{STYLE}{style}</style>\n</head>\n\
         <body>\n<main>\n{}\n</main>\n</body>\n</html>\n",
        escape(title),
        sections.join("\n")
    )
}

/// A section with a heading; empty without a body.
pub fn section(id: &str, title: &str, body: &str) -> String {
    if body.is_empty() {
        String::new()
    } else {
        format!("<section id=\"{id}\">\n<h2>{}</h2>\n{body}\n</section>", escape(title))
    }
}

fn header(results: &Results) -> String {
    let date = results.date.as_deref().map_or(String::new(), |d| format!(" · {}", escape(d)));
    let banner = match results.warnings.len() {
        0 => String::new(),
        1 => "<p><a href=\"#warnings\">1 warning – read it before you use these numbers</a></p>".into(),
        n => {
            format!("<p><a href=\"#warnings\">{n} warnings – read them before you use these numbers</a></p>")
        }
    };
    format!(
        "<header>\n<p class=\"eyebrow\">{} {} · membership audit of an image encoder{date}</p>\n<h1>{}</h1>\n{}{banner}\n</header>",
        escape(&results.tool),
        escape(&results.version),
        escape(&results.title),
        verdict(&results.verdict)
    )
}

fn verdict(verdict: &Verdict) -> String {
    let class = match verdict.kind {
        VerdictKind::Leaks => "leaks",
        VerdictKind::NoEvidence => "no-evidence",
        VerdictKind::Inconclusive => "inconclusive",
    };
    // The answer itself stands out: up to the colon, or the two words "No evidence".
    let end = match verdict.kind {
        VerdictKind::NoEvidence => "No evidence".len().min(verdict.sentence.len()),
        _ => verdict.sentence.find(':').map_or(0, |i| i + 1),
    };
    let (answer, rest) = verdict.sentence.split_at_checked(end).unwrap_or(("", &verdict.sentence));
    let key = verdict.key.as_ref().map_or(String::new(), |k| {
        let what = if k.measure == "accuracy" {
            "of the images judged correctly by"
        } else {
            "of all pairs ranked correctly by"
        };
        format!(
            "<p class=\"key-number\"><strong>{}</strong><span>{what} {}<br><span class=\"interval\">guessing reaches \
             {}, a perfect attack 100\u{202f}%</span></span></p>",
            percent(k.value),
            escape(&k.attack),
            percent(k.chance)
        )
    });
    let details: String = verdict.details.iter().map(|d| format!("<li>{}</li>", escape(d))).collect();
    format!(
        "<div class=\"verdict {class}\"><p class=\"sentence\"><b>{}</b>{}</p>{key}<ul>{details}</ul></div>\n",
        escape(answer),
        escape(rest)
    )
}

fn tested(results: &Results) -> String {
    let Some(first) = results.attacks.first().map(|a| &a.metrics) else { return String::new() };
    let size = results.data.image_size.map_or(String::new(), |[h, w]| format!(", {w}×{h} pixels"));
    let training = results.encoder.training.as_deref().map_or(String::new(), |t| format!(", {}", escape(t)));
    let tile = |value: &str, label: &str| format!("<li><b>{value}</b>{label}</li>");
    let body = format!(
        "<p>An <em>encoder</em> turns an image into a list of numbers. If it remembers its training images, somebody \
         who may only query it can tell whether a given image was among them: a <em>membership inference \
         attack</em>. Here attacks were run on images whose true answer is known, and their answers were counted.</p>\n\
         <ul class=\"tiles\">{}{}{}{}</ul>\n\
         <p class=\"soft\"><b>Members</b> are images that the encoder was trained on; <b>non-members</b> are images \
         that it never saw.</p>",
        tile(&escape(&results.encoder.architecture), &format!("encoder{training}")),
        tile(&escape(&results.data.name), &format!("data{size}")),
        tile(&count(first.members), "members"),
        tile(&count(first.non_members), "non-members"),
    );
    section("tested", "What was tested", &body)
}

fn attacks(results: &Results) -> String {
    if results.attacks.is_empty() {
        return String::new();
    }
    let details: String = results.attacks.iter().map(parts::attack_details).collect();
    let body = format!(
        "<p><b>Accuracy</b>: share of all images judged correctly. <b>Precision</b>: of the images called members, the \
         share that are. <b>Recall</b>: of the members, the share that was found. <b>AUC</b>: how often a member \
         scores higher than a non-member; 0.5 is guessing, 1 is perfect. <b>TPR at 1 % FPR</b>: share of members \
         found when at most 1 in 100 non-members may be accused wrongly. A <b>control</b> repeats the attack where \
         nothing can be found; it has to come out at guessing.</p>\n\
         <figure class=\"single\">{}<figcaption>Dots are measured accuracies, bars their 95 % intervals; the dotted \
         line is guessing. Attacks whose bar lies right of the line know something; the hollow controls have to \
         touch it.</figcaption></figure>\n{}\n<h3>What the attacks and controls do</h3>\n{}\n{details}",
        svg::accuracies(&results.attacks, &results.controls),
        parts::attack_table(results),
        parts::explanations(results),
    );
    section("attacks", "Results of the attacks", &body)
}

fn roc(results: &Results) -> String {
    let Some(non_members) = results.attacks.iter().map(|a| a.metrics.non_members).min() else {
        return String::new();
    };
    let grey = if non_members < 10_000 {
        format!(
            " In the grey part fewer than one of the {} non-members would be accused: this set is too small to say \
             anything there.",
            count(non_members)
        )
    } else {
        String::new()
    };
    let body = format!(
        "{}<figure><div class=\"pair\"><div><h3>Logarithmic: few accusations, enlarged</h3>{}</div>\
         <div><h3>Linear: the whole range</h3>{}</div></div>\
         <figcaption><b>How to read it (ROC curve).</b> An attack can be made stricter or more lenient. Each line shows \
         all its settings: to the right, how many unseen images it wrongly calls training images; upwards, how many \
         training images it finds. The dotted diagonal is guessing. The further a line lies above it, the more the \
         encoder gives away. The logarithmic picture enlarges the lower left corner, where an attack makes almost no \
         wrong accusations and is most dangerous for single images.{grey}</figcaption></figure>",
        svg::roc_legend(&results.attacks),
        svg::roc(&results.attacks, true),
        svg::roc(&results.attacks, false),
    );
    section("roc", "Found images against wrong accusations", &body)
}

fn histograms(results: &Results) -> String {
    if results.histograms.is_empty() {
        return String::new();
    }
    let figures: String = results
        .histograms
        .iter()
        .map(|f| format!("<div><h3>{}</h3>{}</div>", escape(&f.title), svg::histogram(f)))
        .collect();
    let control = if results.histograms.len() > 1 {
        " An encoder that never trained on these images has to show two equal hills. Every picture has its own \
         horizontal scale."
    } else {
        ""
    };
    let body = format!(
        "{}<figure><div class=\"pair\">{figures}</div><figcaption><b>How to read it.</b> Every image was altered at random \
         several times (cropped, mirrored, recoloured). The horizontal axis says how alike the encoder finds these \
         versions on average, 1 being identical. If the hill of the members lies further right than that of the \
         non-members, the encoder knows its training images better than others: that is what the attacks \
         use.{control}</figcaption></figure>",
        svg::histogram_legend()
    );
    section("similarity", "How alike the encoder finds altered copies", &body)
}

fn losses(results: &Results) -> String {
    let encoders: Vec<_> = std::iter::once(&results.encoder).chain(&results.other_encoders).collect();
    svg::losses(&encoders).map_or(String::new(), |(figure, legend)| {
        let body = format!(
            "{legend}<figure class=\"single\">{figure}<figcaption><b>How to read it.</b> The training loss is what \
             training makes small. A curve that falls and flattens belongs to a training that worked; one that jumps \
             or rises does not.</figcaption></figure>"
        );
        section("training", "Training of the encoders", &body)
    })
}

fn sample_list(samples: &[&SampleImage]) -> String {
    let item = |s: &&SampleImage| {
        let truth = if s.member { "member" } else { "non-member" };
        let judged = if s.decision == s.member { "judged correctly" } else { "judged wrongly" };
        // Anything but an inline picture is left out, so that the page never loads from elsewhere.
        let picture = if is_inline_image(&s.image) {
            format!("<img src=\"{}\" alt=\"{}\">", s.image, escape(&s.caption))
        } else {
            String::new()
        };
        format!(
            "<li>{picture}{}<br><b>{truth}</b>, {judged}<br><span class=\"soft\">score {:.3}</span></li>",
            escape(&s.caption),
            s.score
        )
    };
    format!("<ul class=\"samples\">{}</ul>", samples.iter().map(item).collect::<String>())
}

fn samples(results: &Results) -> String {
    if results.samples.is_empty() {
        return String::new();
    }
    let mut attacks: Vec<&str> = Vec::new();
    for sample in &results.samples {
        if !attacks.contains(&sample.attack.as_str()) {
            attacks.push(&sample.attack);
        }
    }
    let mut body = String::new();
    for id in attacks {
        let title = results.attacks.iter().find(|a| a.id == id).map_or(id, |a| a.title.as_str());
        let mut group: Vec<&SampleImage> = results.samples.iter().filter(|s| s.attack == id).collect();
        group.sort_by(|a, b| b.score.total_cmp(&a.score));
        let (most, least) = group.split_at(group.len().div_ceil(2));
        let least: Vec<&SampleImage> = least.iter().rev().copied().collect();
        body +=
            &format!("<h3>Looks most like training images to {}</h3>\n{}", escape(title), sample_list(most));
        if !least.is_empty() {
            body += &format!(
                "<h3>Looks least like training images to {}</h3>\n{}",
                escape(title),
                sample_list(&least)
            );
        }
    }
    body += "<p class=\"soft\">Bold is the truth. Extremes are shown on purpose; they are not typical images.</p>";
    section("samples", "The most and least suspicious images", &body)
}

fn attribute(results: &Results) -> String {
    results.attribute.as_ref().map_or(String::new(), |finding| {
        section(
            "attribute",
            "Can a sensitive attribute be read from the features?",
            &attribute_table(finding),
        )
    })
}

fn privacy(results: &Results) -> String {
    let body = parts::privacy(results);
    if body.is_empty() {
        return body;
    }
    let text = "<p>ε is the measure of differential privacy: small means that no attack can learn much about a single \
                image. An attack that succeeds proves that ε is at least so large. 0 means that the attack proves nothing. \
                An <em>estimate</em> is not a proof, because the members were not drawn by independent coin flips.</p>\n";
    section("privacy", "Privacy parameter ε", &(text.to_string() + &body))
}

fn making(results: &Results) -> String {
    let mut body = parts::making(results);
    if !results.commands.is_empty() {
        let lines: Vec<String> = results.commands.iter().map(|c| escape(c)).collect();
        body += &format!("<h3>Repeat it</h3>\n<pre>{}</pre>", lines.join("\n"));
    }
    if !results.config.is_null() {
        // Display of a Value cannot fail; `{:#}` is the indented form.
        let text = format!("{:#}", results.config);
        body +=
            &format!("<details><summary>Full configuration</summary><pre>{}</pre></details>", escape(&text));
    }
    section("making", "How it was made", &body)
}

fn assumptions(results: &Results) -> String {
    let rows = results
        .assumptions
        .iter()
        .map(|a| vec![escape(&a.what), escape(&a.value), escape(&a.certainty)])
        .collect();
    let body = parts::table(
        "Values that the papers do not state (assumed) or that come from secondary sources (reported)",
        &["What", "Value", "Certainty"],
        rows,
    );
    section("assumptions", "Assumptions", &body)
}

fn warnings(results: &Results) -> String {
    let body: String = results
        .warnings
        .iter()
        .map(|w| format!("<p class=\"banner\"><b>Warning.</b> {}</p>", escape(w)))
        .collect();
    section("warnings", "Warnings", &body)
}

fn citations(results: &Results) -> String {
    if results.citation.is_empty() {
        return String::new();
    }
    section("citations", "Sources", &format!("<ul>{}</ul>", sources(&results.citation)))
}

/// List items.
pub fn sources(citations: &[Citation]) -> String {
    citations
        .iter()
        .map(|c| {
            let identifier = c.identifier.as_deref().map_or(String::new(), |i| format!(", {}", escape(i)));
            format!(
                "<li><b>{}</b>: {}. <em>{}</em>. {}{identifier}.</li>",
                escape(&c.what),
                escape(&c.authors),
                escape(&c.title),
                escape(&c.venue)
            )
        })
        .collect()
}

fn footer(results: &Results) -> String {
    format!(
        "<footer>Made by {} {}. All numbers in full precision: results.json (schema {}); one row per image: scores.csv. \
         This page is one file and loads nothing.</footer>",
        escape(&results.tool),
        escape(&results.version),
        results.schema
    )
}
