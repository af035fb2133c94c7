//! Classifiers that attackers train.

use super::inputs::Space;
use super::settings::{AdaptiveSettings, PublishedSettings};
use crate::Result;
use crate::attack::classifier::{Architecture, Classifier, Training};
use crate::attack::probe::{
    KnnSettings, LogisticRegression, LogisticSettings, Neighbours, Posteriors, Rows, Standardisation, softmax,
};
use crate::gpu::Gpu;
use crate::kernels::elementwise::Unary;
use crate::nn::LinearInit;
use crate::optim::Optimizer;

/// Network and training of the published attack on `width` features and `classes`.
pub fn published_network(
    settings: &PublishedSettings,
    width: usize,
    classes: usize,
    seed: u64,
) -> (Architecture, Training) {
    let architecture = Architecture::Mlp {
        widths: [&[width], &settings.hidden[..], &[classes]].concat(),
        activation: Unary::Relu,
        init: LinearInit::FanIn,
        last: settings.final_relu.then_some(Unary::Relu),
    };
    let training = Training {
        batch: settings.batch,
        epochs: settings.epochs,
        learning_rate: settings.learning_rate,
        decay_every: None,
        optimizer: Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 },
        weight_penalty: 0.0,
        clip: None,
        keep_partial: true,
        seed,
    };
    (architecture, training)
}

/// Network and training of a stronger attacker with hidden layers of `hidden`.
pub fn adaptive_network(
    settings: &AdaptiveSettings,
    hidden: usize,
    width: usize,
    classes: usize,
    seed: u64,
) -> (Architecture, Training) {
    let architecture = Architecture::Mlp {
        widths: vec![width, hidden, hidden, hidden, classes],
        activation: Unary::Relu,
        init: LinearInit::Default,
        last: None,
    };
    let training = Training {
        batch: settings.batch,
        epochs: settings.epochs,
        learning_rate: settings.learning_rate,
        decay_every: None,
        optimizer: Optimizer::adam(settings.weight_decay),
        weight_penalty: 0.0,
        clip: None,
        keep_partial: true,
        seed,
    };
    (architecture, training)
}

/// How an attacker learns.
#[derive(Clone, Copy)]
pub(super) enum Method<'a> {
    Published(&'a PublishedSettings),
    /// With the width of its hidden layers.
    Adaptive(&'a AdaptiveSettings, usize),
    Logistic(&'a LogisticSettings),
    Knn(KnnSettings),
}

impl Method<'_> {
    /// End of the attacker's id.
    pub fn id(&self) -> String {
        match self {
            Method::Published(settings) => {
                format!("mlp-{}", settings.hidden.first().copied().unwrap_or(0))
            }
            Method::Adaptive(_, width) => format!("adam-mlp-{width}"),
            Method::Logistic(_) => "logistic".into(),
            Method::Knn(settings) => format!("knn-{}", settings.neighbours),
        }
    }

    pub fn title(&self) -> String {
        match self {
            Method::Published(settings) => {
                let hidden: Vec<String> = settings.hidden.iter().map(usize::to_string).collect();
                format!("MLP {}, published", hidden.join("-"))
            }
            Method::Adaptive(_, width) => format!("MLP {width}-{width}-{width}, Adam"),
            Method::Logistic(_) => "logistic regression".into(),
            Method::Knn(settings) => format!("{} nearest neighbours", settings.neighbours),
        }
    }

    /// Trains on the auxiliary rows; gives posteriors of auxiliary (training) and test rows.
    pub fn posteriors(
        &self,
        gpu: &Gpu,
        space: &Space,
        labels: &[u32],
        classes: usize,
        seed: u64,
    ) -> Result<Posteriors> {
        let aux = Rows::new(&space.aux, labels, space.width, classes)?;
        match self {
            Method::Published(settings) => {
                let (architecture, training) = published_network(settings, space.width, classes, seed);
                network(gpu, &architecture, &training, &aux, &space.test)
            }
            Method::Adaptive(settings, hidden) => {
                let (architecture, training) =
                    adaptive_network(settings, *hidden, space.width, classes, seed);
                let scale = Standardisation::of(&space.aux, space.width);
                let (rows, test) = (scale.apply(&space.aux), scale.apply(&space.test));
                network(gpu, &architecture, &training, &Rows { features: &rows, ..aux }, &test)
            }
            Method::Logistic(settings) => {
                let head = LogisticRegression::new((*settings).clone()).fit(&aux, seed)?.head;
                Ok(Posteriors { train: head.posteriors(&space.aux)?, test: head.posteriors(&space.test)? })
            }
            Method::Knn(settings) => {
                let neighbours = Neighbours::new(*settings, &aux)?;
                Ok(Posteriors {
                    train: neighbours.leave_one_out(),
                    test: neighbours.posteriors(&space.test)?,
                })
            }
        }
    }
}

fn network(
    gpu: &Gpu,
    architecture: &Architecture,
    training: &Training,
    aux: &Rows,
    test: &[f32],
) -> Result<Posteriors> {
    let classifier = Classifier::train(gpu, architecture, training, aux.features, aux.labels, None)?;
    let of = |rows: &[f32]| -> Result<Vec<f64>> { Ok(softmax(&classifier.logits(gpu, rows)?, aux.classes)) };
    Ok(Posteriors { train: of(aux.features)?, test: of(test)? })
}
