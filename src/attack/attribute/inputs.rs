//! What an attribute attack is given.

use crate::{Error, Result};

/// Labels of a group of images.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// The sensitive attribute, `[n]`.
    pub attribute: &'a [u32],
    /// The task's label, `[n]`, where it is known: what imputation uses.
    pub task: Option<&'a [u32]>,
}

/// Rows of the auxiliary and of the test images in one feature space.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    /// Numbers of a row.
    pub width: usize,
    /// Rows of an image; more than one are averaged.
    pub views: usize,
    /// `[n, views, width]`, row-major.
    pub aux: &'a [f32],
    pub test: &'a [f32],
}

impl<'a> Features<'a> {
    /// One row an image.
    pub fn plain(width: usize, aux: &'a [f32], test: &'a [f32]) -> Features<'a> {
        Features { width, views: 1, aux, test }
    }
}

/// Embeddings of auxiliary and test images with their labels.
#[derive(Clone, Copy, Debug)]
pub struct Embeddings<'a> {
    /// Classes of the attribute.
    pub classes: usize,
    /// Classes of the task.
    pub task_classes: usize,
    pub aux: Labelled<'a>,
    pub test: Labelled<'a>,
    /// What the victim gives: h, one row an image.
    pub embedding: Features<'a>,
    /// Several views of each image: the attack on their mean.
    pub views: Option<Features<'a>>,
    /// Outputs of the projection head: the attack on z.
    pub projection: Option<Features<'a>>,
    /// The images themselves, made small: what an attacker who holds the images needs no model for.
    pub pixels: Option<Features<'a>>,
    /// Embeddings of the auxiliary images under an encoder of the attacker's own that was not censored, with their width:
    /// the de-censoring attack (Song and Shmatikov, ICLR 2020, section 4.2).
    pub uncensored: Option<(usize, &'a [f32])>,
}

impl<'a> Embeddings<'a> {
    /// Embeddings and labels alone.
    pub fn new(
        classes: usize,
        task_classes: usize,
        aux: Labelled<'a>,
        test: Labelled<'a>,
        embedding: Features<'a>,
    ) -> Embeddings<'a> {
        let (views, projection, pixels, uncensored) = (None, None, None, None);
        Embeddings { classes, task_classes, aux, test, embedding, views, projection, pixels, uncensored }
    }

    /// # Errors
    /// [`Error::Shape`] naming the part whose size does not fit, labels out of range, or features that are not finite.
    pub(super) fn check(&self) -> Result<()> {
        let (aux, test) = (self.aux.attribute.len(), self.test.attribute.len());
        if aux == 0 || test == 0 || self.classes < 2 {
            return Err(Error::shape(format!(
                "attribute attack: expected auxiliary and test images and at least 2 classes, found {aux} and {test} images, {} classes",
                self.classes
            )));
        }
        for (labels, count) in [(&self.aux, aux), (&self.test, test)] {
            crate::kernels::loss::check_labels(labels.attribute, self.classes)?;
            if let Some(task) = labels.task {
                crate::kernels::loss::check_labels(task, self.task_classes)?;
                if task.len() != count {
                    return Err(Error::shape(format!(
                        "attribute attack: expected {count} task labels, found {}",
                        task.len()
                    )));
                }
            }
        }
        let parts = [
            ("embeddings", Some(self.embedding)),
            ("views", self.views),
            ("projections", self.projection),
            ("pixels", self.pixels),
        ];
        for (name, features) in parts {
            let Some(Features { width, views, aux: a, test: t }) = features else { continue };
            let row = width * views;
            if row == 0 || a.len() != aux * row || t.len() != test * row {
                return Err(Error::shape(format!(
                    "attribute attack, {name}: {} and {} numbers do not make {aux} auxiliary and {test} test images of {views} rows of {width}",
                    a.len(),
                    t.len()
                )));
            }
            check_finite(name, a, row)?;
            check_finite(name, t, row)?;
        }
        if let Some((width, rows)) = self.uncensored {
            if width == 0 || rows.len() != aux * width {
                return Err(Error::shape(format!(
                    "attribute attack, uncensored embeddings: {} numbers do not make {aux} rows of {width}",
                    rows.len()
                )));
            }
            check_finite("uncensored embeddings", rows, width)?;
        }
        Ok(())
    }
}

fn check_finite(name: &str, values: &[f32], row: usize) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Error::shape(format!(
            "attribute attack, {name}: image {}: expected finite numbers, found {}",
            at / row,
            values[at]
        ))),
    }
}

/// Rows of one feature space as attackers train on them: the chosen auxiliary images and all test images, a row each.
pub(super) struct Space {
    pub width: usize,
    pub aux: Vec<f32>,
    pub test: Vec<f32>,
}

impl Space {
    /// Views averaged, auxiliary images in the order of `chosen`.
    pub fn of(features: &Features, chosen: &[usize]) -> Space {
        let (width, row) = (features.width, features.width * features.views);
        let mean = |views: &[f32]| -> Vec<f32> {
            if features.views == 1 {
                return views.to_vec();
            }
            let of = |c: usize| views.iter().skip(c).step_by(width).map(|&v| f64::from(v)).sum::<f64>();
            (0..width).map(|c| (of(c) / features.views as f64) as f32).collect()
        };
        Space {
            width,
            aux: chosen.iter().flat_map(|&i| mean(&features.aux[i * row..(i + 1) * row])).collect(),
            test: features.test.chunks(row).flat_map(mean).collect(),
        }
    }
}
