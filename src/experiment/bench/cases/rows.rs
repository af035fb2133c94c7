//! Losses and similarities of embeddings.

use super::{Case, Scale};
use crate::Result;
use crate::experiment::bench::Workspace;
use crate::kernels::loss::{self, CrossEntropy};
use crate::kernels::similarity::{self, Similarity};
use crate::kernels::{Shape, Tensor};

/// Values of a projection (SimCLR, MoCo).
const DIM: usize = 128;
/// Classes of the supervised heads.
const CLASSES: usize = 100;
/// Views of an image in a membership query.
const VIEWS: usize = 10;

pub(super) fn cases(scale: &Scale) -> Vec<Case> {
    [contrastive(scale), supervised(scale), similarities(scale)].into_iter().flatten().collect()
}

fn contrastive(scale: &Scale) -> Vec<Case> {
    let z = Shape::matrix(scale.rows, DIM);
    let batch = Shape::matrix(scale.rows / 4, DIM);
    let queue = Shape::matrix(4 * scale.rows, DIM);
    let nt_xent = |name, temperature: f32, backward: bool| {
        Case::new(name, format!("{z}, t = {temperature}"), move |space: &mut Workspace| {
            let (x, value) = (space.tensor("z", z)?, space.output(Shape::matrix(1, 1)));
            let forward = loss::nt_xent(&mut space.recording, x, temperature, value)?;
            if backward {
                let dx = space.output(z);
                loss::nt_xent_grad(&mut space.recording, &forward, 1.0, dx)?;
            }
            Ok(())
        })
    };
    let info_nce = |name, backward: bool| {
        Case::new(name, format!("{batch}, queue {}", queue.n), move |space: &mut Workspace| {
            let (q, k) = (space.tensor("q", batch)?, space.tensor("k", batch)?);
            let (all, value) = (space.tensor("queue", queue)?, space.output(Shape::matrix(1, 1)));
            let forward = loss::info_nce(&mut space.recording, q, k, all, 0.2, value)?;
            if backward {
                let dq = space.output(batch);
                loss::info_nce_grad(&mut space.recording, &forward, 1.0, dq)?;
            }
            Ok(())
        })
    };
    vec![
        nt_xent("nt_xent", 0.5, false),
        nt_xent("nt_xent + nt_xent_grad", 0.5, true),
        nt_xent("nt_xent, online", 0.04, false),
        info_nce("info_nce", false),
        info_nce("info_nce + info_nce_grad", true),
        Case::new("queue_update", format!("{batch}, queue {}", queue.n), move |space| {
            let (k, state, all) = (space.tensor("k", batch)?, space.step()?, space.tensor("queue", queue)?);
            loss::queue_update(&mut space.recording, k, state, all)
        }),
        Case::new("keep_loss", "64", |space| {
            let (step, value) = (space.step()?, space.tensor("loss", Shape::matrix(1, 1))?);
            let ring = space.zeros("ring", 64 * 4)?;
            loss::keep_loss(&mut space.recording, step, value, ring);
            Ok(())
        }),
    ]
}

fn supervised(scale: &Scale) -> Vec<Case> {
    let shape = Shape::matrix(4 * scale.batch, CLASSES);
    let column = Shape::matrix(shape.n, 1);
    let entropy = move |space: &mut Workspace| -> Result<CrossEntropy> {
        let labels: Vec<u32> = (0..shape.n).map(|row| (row % CLASSES) as u32).collect();
        Ok(CrossEntropy {
            logits: space.tensor("logits", shape)?,
            labels: space.words("labels", &labels)?,
            smoothing: 0.0,
            normalizers: space.constant("normalizers", Shape::matrix(shape.n, 1), 5.0)?,
        })
    };
    vec![
        Case::new("softmax_cross_entropy", shape, move |space| {
            let (entropy, value) = (entropy(space)?, space.output(Shape::matrix(1, 1)));
            loss::softmax_cross_entropy(&mut space.recording, &entropy, value);
            Ok(())
        }),
        Case::new("softmax_cross_entropy_grad", shape, move |space| {
            let (entropy, dlogits) = (entropy(space)?, space.output(shape));
            loss::softmax_cross_entropy_grad(&mut space.recording, &entropy, 1.0, dlogits);
            Ok(())
        }),
        Case::new("softmax", shape, move |space| {
            let (logits, y) = (space.tensor("logits", shape)?, space.output(shape));
            loss::softmax(&mut space.recording, logits, y);
            Ok(())
        }),
        Case::new("softmax_grad", shape, move |space| {
            let (y, dy, dx) = (space.tensor("y", shape)?, space.tensor("dy", shape)?, space.output(shape));
            loss::softmax_grad(&mut space.recording, y, dy, dx);
            Ok(())
        }),
        Case::new("sigmoid_mean", column, move |space| {
            let (logits, targets) = (space.tensor("logits", column)?, space.tensor("targets", column)?);
            let value = space.output(Shape::matrix(1, 1));
            loss::sigmoid_mean(&mut space.recording, logits, Some(targets), value);
            Ok(())
        }),
        Case::new("sigmoid_mean_grad", column, move |space| {
            let (logits, targets) = (space.tensor("logits", column)?, space.tensor("targets", column)?);
            let dlogits = space.output(column);
            loss::sigmoid_mean_grad(&mut space.recording, logits, Some(targets), dlogits);
            Ok(())
        }),
        Case::new("row_distance", shape, move |space| {
            let (x, origin) = (space.tensor("x", shape)?, space.tensor("origin", shape)?);
            let (distances, value) = (space.output(column), space.output(Shape::matrix(1, 1)));
            loss::row_distance(&mut space.recording, x, origin, distances, value);
            Ok(())
        }),
        Case::new("row_distance_grad", shape, move |space| {
            let (x, origin) = (space.tensor("x", shape)?, space.tensor("origin", shape)?);
            let (distances, dx) = (space.constant("distances", column, 1.0)?, space.output(shape));
            loss::row_distance_grad(&mut space.recording, x, origin, distances.slice, dx);
            Ok(())
        }),
    ]
}

fn similarities(scale: &Scale) -> Vec<Case> {
    let shape = Shape::matrix(scale.rows, DIM);
    let views = Shape::matrix(scale.batch * VIEWS, 512);
    let pairwise = |name, similarity, ascending| {
        Case::new(name, format!("{} images, {VIEWS} views, 512 features", scale.batch), {
            let batch = scale.batch;
            move |space: &mut Workspace| {
                let embeddings = space.tensor("embeddings", views)?;
                let features = space.output(Shape::matrix(batch, VIEWS * (VIEWS - 1) / 2));
                let means = space.output(Shape::matrix(batch, 1));
                similarity::pairwise_features(
                    &mut space.recording,
                    embeddings,
                    VIEWS,
                    similarity,
                    ascending,
                    features,
                    means,
                )
            }
        })
    };
    vec![
        Case::new("l2_normalize", shape, move |space| {
            let (x, y): (Tensor, Tensor) = (space.tensor("x", shape)?, space.output(shape));
            let norms = space.output_bytes(shape.n as u64 * 4);
            similarity::l2_normalize(&mut space.recording, x, y, norms);
            Ok(())
        }),
        Case::new("l2_normalize_grad", shape, move |space| {
            let (y, dy, dx) = (space.tensor("y", shape)?, space.tensor("dy", shape)?, space.output(shape));
            let norms = space.constant("norms", Shape::matrix(shape.n.div_ceil(4), 4), 1.0)?;
            similarity::l2_normalize_grad(&mut space.recording, y, norms.slice, dy, dx);
            Ok(())
        }),
        Case::new("cosine_similarity_matrix", format!("{shape} with itself"), move |space| {
            let (a, b) = (space.tensor("a", shape)?, space.tensor("b", shape)?);
            let y = space.output(Shape::matrix(shape.n, shape.n));
            similarity::cosine_similarity_matrix(&mut space.recording, a, b, y)
        }),
        pairwise("pairwise_features cosine", Similarity::Cosine, false),
        pairwise("pairwise_features cosine, sorted", Similarity::Cosine, true),
        pairwise("pairwise_features euclidean", Similarity::Euclidean, false),
        pairwise("pairwise_features pearson", Similarity::Pearson, false),
    ]
}
