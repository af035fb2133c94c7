//! What a report says around the numbers: explanations, sources, assumptions, encoders, the adapter.

use crate::attack::encodermi::{Settings, Variant};
use crate::experiment::report::{AdapterSummary, Assumption, Citation, EncoderSummary};
use crate::gpu::Gpu;

pub(super) const UNTRAINED: &str = "The same attack on an encoder of the same architecture with its initial random weights. It has seen no image, so nothing may be found.";
pub(super) const FOREIGN: &str = "The same attack on the shadow encoder, asked about the audited images. It was trained on other images, so nothing may be found.";
pub(super) const SHUFFLED: &str = "EncoderMI-V trained on images whose membership labels were permuted. It learnt nothing true, so on average nothing may be found.";

pub(super) fn describe(variant: Variant) -> (&'static str, &'static str) {
    match variant {
        Variant::V => (
            "EncoderMI-V",
            "A small neural network reads how similar all pairs of altered versions of an image look to the encoder, sorted.",
        ),
        Variant::S => {
            ("EncoderMI-S", "A small neural network reads the same similarities as a set, without order.")
        }
        Variant::T => (
            "EncoderMI-T",
            "Says member when the altered versions of an image look alike enough to the encoder on average.",
        ),
    }
}

/// The adapter as results name it.
pub fn adapter(gpu: &Gpu) -> AdapterSummary {
    let d = gpu.description();
    AdapterSummary {
        name: d.name.clone(),
        backend: d.backend.clone(),
        driver: format!("{} {}", d.driver, d.driver_info).trim().to_string(),
        class: format!("{:?}", d.class).to_lowercase(),
    }
}

pub(super) fn citations() -> Vec<Citation> {
    let cite = |what: &str, authors: &str, title: &str, venue: &str, identifier: &str| Citation {
        what: what.into(),
        authors: authors.into(),
        title: title.into(),
        venue: venue.into(),
        identifier: Some(identifier.into()),
    };
    vec![
        cite(
            "EncoderMI-V, -S, -T",
            "H. Liu, J. Jia, W. Qu, N. Z. Gong",
            "EncoderMI: Membership Inference against Pre-trained Encoders in Contrastive Learning",
            "ACM CCS 2021",
            "doi 10.1145/3460120.3484749",
        ),
        cite(
            "SimCLR",
            "T. Chen, S. Kornblith, M. Norouzi, G. Hinton",
            "A Simple Framework for Contrastive Learning of Visual Representations",
            "ICML 2020",
            "arXiv 2002.05709",
        ),
        cite(
            "EncoderMI-S network",
            "M. Zaheer, S. Kottur, S. Ravanbakhsh, B. Póczos, R. Salakhutdinov, A. Smola",
            "Deep Sets",
            "NeurIPS 2017",
            "arXiv 1703.06114",
        ),
        cite(
            "TPR at low FPR",
            "N. Carlini, S. Chien, M. Nasr, S. Song, A. Terzis, F. Tramèr",
            "Membership Inference Attacks From First Principles",
            "IEEE S&P 2022",
            "arXiv 2112.03570",
        ),
    ]
}

pub(super) fn assumptions(settings: &Settings) -> Vec<Assumption> {
    let note = |what: &str, value: String, certainty: &str| Assumption {
        what: what.into(),
        value,
        certainty: certainty.into(),
    };
    vec![
        note("Views of each image", settings.views.to_string(), "certain in the paper: 10"),
        note(
            "V: epochs, batch, learning rate",
            format!(
                "{}, {}, {}",
                settings.vector.epochs, settings.vector.batch, settings.vector.learning_rate
            ),
            "reported: 300, 100, 1e-4",
        ),
        note("V: initial weights", "Glorot uniform, zero biases".into(), "assumed"),
        note(
            "S: layers, epochs, batch",
            format!(
                "3 equivariant layers of {}, {} epochs, {}",
                settings.set.width, settings.set.epochs, settings.set.batch
            ),
            if settings.compat_deepsets {
                "compat: the published point-cloud pipeline; its last whole batch and its fixed recall denominator are not imitated"
            } else {
                "assumed: layers; reported: 300 epochs for 20,000 shadow images"
            },
        ),
        note(
            "T: threshold",
            if settings.compat_grid501 { "501 edges".into() } else { "exact search".into() },
            "assumed among equally good thresholds: the middle of the widest interval",
        ),
    ]
}

/// What the report says of an encoder that was trained here.
pub fn summary(
    role: &str,
    config: &crate::train::SimclrConfig,
    outcome: &crate::train::Outcome,
    images: usize,
    parameters: u64,
) -> EncoderSummary {
    let per_epoch = (images / config.batch).max(1);
    let loss_curve = outcome
        .losses
        .chunks(per_epoch)
        .enumerate()
        .map(|(epoch, part)| {
            [epoch as f64 + 1.0, part.iter().map(|l| f64::from(l.1)).sum::<f64>() / part.len() as f64]
        })
        .collect();
    EncoderSummary {
        role: role.into(),
        architecture: config.encoder.to_string(),
        training: Some(format!(
            "SimCLR, {} images, batch {}, temperature {}",
            images, config.batch, config.temperature
        )),
        parameters: Some(parameters),
        epochs: Some(config.epochs),
        final_loss: Some(f64::from(outcome.final_loss)),
        checkpoint_hash: Some(outcome.encoder_sha256.clone()),
        loss_curve,
    }
}
