//! Checkpoints: everything that the next step depends on, in one file that appears whole or not at all.
//!
//! Parameters and running statistics are `parameter.NAME`, moments of the optimizer `optimizer.N`; all are flat. What MoCo has
//! besides goes by the names of its published checkpoints: `encoder_k.NAME`, `queue` [D, K] and `queue_ptr`.

use super::config::Training;
use super::key_encoder::{PREFIX, QUEUE, QUEUE_POINTER};
use super::model::Values;
use super::precision::check_scale;
use super::trainer::Trainer;
use crate::files::write_bytes_atomic;
use crate::kernels::loss_scale::LossScaleState;
use crate::{Error, Result};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

const OPTIMIZER: &str = "optimizer.";
const PARAMETER: &str = "parameter.";
/// Key of the state of dynamic loss scaling in the header, as JSON.
const LOSS_SCALE: &str = "contraleak.loss_scale";
/// Checkpoints that are kept; the newest may be unreadable after a disk fault.
const KEPT: usize = 2;

/// A checkpoint file and its step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checkpoint {
    pub step: u64,
    pub path: PathBuf,
}

fn folder(run: &Path) -> PathBuf {
    run.join("checkpoint")
}

/// The checkpoints of a run, oldest first.
pub fn list(run: &Path) -> Result<Vec<Checkpoint>> {
    let folder = folder(run);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(|e| Error::io(&folder, e))? {
        let path = entry.map_err(|e| Error::io(&folder, e))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if let Some(step) = name
            .strip_prefix("step-")
            .and_then(|n| n.strip_suffix(".safetensors"))
            .and_then(|n| n.parse().ok())
        {
            found.push(Checkpoint { step, path });
        }
    }
    found.sort();
    Ok(found)
}

/// Saves the trainer's state, then drops all but the newest checkpoints.
///
/// # Errors
/// [`Error::Diverged`] for a value that is not finite, which is not saved: nothing could go on from it.
pub fn save(run: &Path, trainer: &Trainer) -> Result<Checkpoint> {
    let folder = folder(run);
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    let (values, state) = trainer.download()?;
    let step = trainer.step_count();
    let scale = trainer.loss_scale()?;
    scale.map_or(Ok(()), |scale| check_scale(&scale, step))?;
    let moments = state.iter().enumerate().map(|(i, s)| (format!("optimizer state {i}"), s));
    let moments: Vec<(String, &Vec<f32>)> = moments.collect();
    for (name, values) in values.iter().chain(moments.iter().map(|(name, s)| (name, *s))) {
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(Error::Diverged(format!(
                "{name} became {value} at step {step}; try a lower learning rate or a higher temperature"
            )));
        }
    }
    let mut tensors: BTreeMap<String, Vec<f32>> =
        values.into_iter().map(|(k, v)| (stored_name(k), v)).collect();
    tensors.extend(state.into_iter().enumerate().map(|(i, v)| (format!("{OPTIMIZER}{i}"), v)));
    let view = |name: &str, dtype, dimensions: Vec<usize>, bytes| {
        let view = TensorView::new(dtype, dimensions, bytes);
        view.map(|v| (name.to_string(), v)).map_err(|e| Error::shape(format!("checkpoint: {name}: {e}")))
    };
    let queue = match trainer.training() {
        Training::Moco(config) => Some((config.queue, (config.queue_pointer(step) as i64).to_le_bytes())),
        Training::Simclr(_) | Training::Supervised(_) => None,
    };
    let mut views = Vec::new();
    for (name, values) in &tensors {
        let dimensions = match &queue {
            Some((length, _)) if name == QUEUE => vec![values.len() / length, *length],
            _ => vec![values.len()],
        };
        views.push(view(name, Dtype::F32, dimensions, bytemuck::cast_slice(values))?);
    }
    if let Some((_, pointer)) = &queue {
        views.push(view(QUEUE_POINTER, Dtype::I64, vec![1], pointer)?);
    }
    let mut metadata = HashMap::from([
        ("contraleak.step".to_string(), step.to_string()),
        ("contraleak.config".to_string(), config_text(trainer.training())?),
    ]);
    if let Some(scale) = scale {
        let text = serde_json::to_string(&scale).map_err(|e| Error::shape(format!("loss scale: {e}")))?;
        metadata.insert(LOSS_SCALE.to_string(), text);
    }
    let bytes = serialize(views, Some(metadata)).map_err(|e| Error::shape(format!("checkpoint: {e}")))?;
    let path = folder.join(format!("step-{step:010}.safetensors"));
    write_bytes_atomic(&path, &bytes)?;
    let all = list(run)?;
    for old in &all[..all.len().saturating_sub(KEPT)] {
        std::fs::remove_file(&old.path).map_err(|e| Error::io(&old.path, e))?;
    }
    Ok(Checkpoint { step, path })
}

/// Removes the checkpoint of `step` if there is one.
pub fn discard(run: &Path, step: u64) -> Result<()> {
    for bad in list(run)?.iter().filter(|checkpoint| checkpoint.step == step) {
        std::fs::remove_file(&bad.path).map_err(|e| Error::io(&bad.path, e))?;
    }
    Ok(())
}

/// Puts the newest readable checkpoint of `run` into `trainer`; `None` if there is none yet.
///
/// # Errors
/// A checkpoint of another configuration; only unreadable checkpoints.
pub fn restore(run: &Path, trainer: &mut Trainer) -> Result<Option<u64>> {
    let mut problem = None;
    for checkpoint in list(run)?.into_iter().rev() {
        match load(&checkpoint, trainer.training()) {
            Ok(Loaded { values, optimizer_state, loss_scale }) => {
                trainer.restore(checkpoint.step, &values, &optimizer_state)?;
                trainer.restore_loss_scale(loss_scale)?;
                return Ok(Some(checkpoint.step));
            }
            Err(error @ Error::Usage(_)) => return Err(error),
            Err(error) => {
                tracing::warn!("{error}; trying the one before");
                problem = Some(error);
            }
        }
    }
    problem.map_or(Ok(None), Err)
}

/// What a value is called in a checkpoint.
fn stored_name(name: String) -> String {
    if of_moco(&name) { name } else { format!("{PARAMETER}{name}") }
}

/// Whether a value has its own name in a checkpoint.
fn of_moco(name: &str) -> bool {
    name == QUEUE || name.starts_with(PREFIX)
}

fn config_text(config: &Training) -> Result<String> {
    serde_json::to_string(config).map_err(|e| Error::usage(format!("configuration: {e}")))
}

/// What a checkpoint holds besides its step.
struct Loaded {
    values: Values,
    optimizer_state: Vec<Vec<f32>>,
    loss_scale: Option<LossScaleState>,
}

fn load(checkpoint: &Checkpoint, config: &Training) -> Result<Loaded> {
    let path = &checkpoint.path;
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let broken =
        |e: &dyn std::fmt::Display| Error::data(path.display(), format!("expected a checkpoint, found {e}"));
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| broken(&e))?;
    let metadata = header.metadata().as_ref();
    if metadata.and_then(|m| m.get("contraleak.config")) != Some(&config_text(config)?) {
        return Err(Error::usage(format!(
            "{}: belongs to a run with another configuration; resume with the same settings or start in a new folder",
            path.display()
        )));
    }
    let loss_scale = metadata
        .as_ref()
        .and_then(|m| m.get(LOSS_SCALE))
        .map(|text| serde_json::from_str(text).map_err(|e| broken(&format!("a loss scale with {e}"))))
        .transpose()?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| broken(&e))?;
    let (mut values, mut state) = (Values::new(), BTreeMap::new());
    for (name, view) in file.tensors() {
        if name == QUEUE_POINTER {
            // It follows from the step; the file has it for others who read it.
            continue;
        }
        if view.dtype() != Dtype::F32 {
            return Err(broken(&format!("{name} of type {:?}", view.dtype())));
        }
        let floats: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
        if let Some(name) = name.strip_prefix(PARAMETER) {
            values.insert(name.to_string(), floats);
        } else if let Some(index) = name.strip_prefix(OPTIMIZER).and_then(|i| i.parse::<usize>().ok()) {
            state.insert(index, floats);
        } else if of_moco(&name) {
            values.insert(name, floats);
        }
    }
    Ok(Loaded { values, optimizer_state: state.into_values().collect(), loss_scale })
}
