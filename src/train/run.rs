//! A pre-training run in a folder: progress, metrics, checkpoints, exact resume, the encoder at the end.

use super::buffers::LOSS_RING;
use super::checkpoint;
use super::config::{CONFIG_FILE, PretrainConfig, Start};
use super::model::{Attachments, Model, Values};
use super::trainer::Trainer;
use crate::data::{ImageSet, Normalization};
use crate::files::write_bytes_atomic;
use crate::gpu::{Gpu, Pending};
use crate::nn::{EncoderFile, EncoderMetadata, StateDict};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the caller sees of a run, and its chance to stop it.
pub trait Progress {
    /// After losses of steps up to `step` of `total` came back; `loss` is the last one.
    fn step(&mut self, step: u64, total: u64, loss: f32);
    /// Asked before each step; `true` ends the run at its last checkpoint.
    fn stop(&mut self) -> bool {
        false
    }
}

impl Progress for () {
    fn step(&mut self, _: u64, _: u64, _: f32) {}
}

/// Where and how a run happens; nothing here changes its bits.
#[derive(Clone, Debug)]
pub struct RunOptions {
    pub folder: PathBuf,
    /// What runs; written to `config.toml`.
    pub config: PretrainConfig,
    /// Go on from the newest checkpoint in `folder`. Without it, a folder that holds a run already is an error.
    pub resume: bool,
    /// Steps between checkpoints; `None`: one every half minute.
    pub checkpoint_every: Option<u64>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub steps: u64,
    /// Steps of this process: fewer than `steps` after a resume.
    pub steps_here: u64,
    pub final_loss: f32,
    /// Steps whose gradients were not finite, where loss scaling skips them.
    pub skipped_steps: Option<u64>,
    /// (step, loss) of each line of `metrics.jsonl`.
    pub losses: Vec<(u64, f32)>,
    pub encoder: PathBuf,
    pub encoder_sha256: String,
    /// Seconds of this process.
    pub seconds: f64,
}

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    /// Counted from 1.
    step: u64,
    epoch: u64,
    /// Whose loss it is, where two networks take turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phase: Option<String>,
    loss: f32,
    learning_rate: f64,
}

const CHECKPOINT_PAUSE: Duration = Duration::from_secs(30);
/// Names of the phases of a method with two, as [`super::config::Place`] counts them.
const PHASES: [&str; 2] = ["encoder", "adversary"];
const METRICS: &str = "metrics.jsonl";
const ENCODER: &str = "encoder.safetensors";

/// Trains an encoder and leaves `encoder.safetensors`, `metrics.jsonl`, `config.toml` and `checkpoint/` in the folder.
///
/// A run that was killed at any moment and is resumed ends in the same bits as one that was not.
///
/// # Errors
/// [`Error::Diverged`] at the first step whose loss is not finite: the last good checkpoint stays.
/// [`Error::Interrupted`] when `progress` asked to stop: a checkpoint was saved, and the message says how to resume.
pub fn pretrain(
    gpu: &Gpu,
    set: &ImageSet,
    options: &RunOptions,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let start = Instant::now();
    let folder = &options.folder;
    if options.resume {
        same_run(folder, &options.config)?;
    } else if folder.join(ENCODER).exists() || !checkpoint::list(folder)?.is_empty() {
        return Err(Error::usage(format!(
            "{0}: holds a run already; go on with it by contraleak pretrain --resume {0}, or choose another folder",
            folder.display()
        )));
    }
    if gpu.facts().exact_conv != options.config.exact_conv {
        let name = |exact| if exact { "direct" } else { "default" };
        return Err(Error::usage(format!(
            "{}: the run's convolutions are the {} ones, but the GPU was opened for the {} ones",
            folder.display(),
            name(options.config.exact_conv),
            name(gpu.facts().exact_conv)
        )));
    }
    let mut trainer = Trainer::new(gpu, options.config.training.clone(), set)?;
    if let Some(start) = &options.config.start {
        trainer.start_from(&start_values(start, &trainer)?)?;
    }
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    options.config.write(folder)?;
    let first = if options.resume { checkpoint::restore(folder, &mut trainer)?.unwrap_or(0) } else { 0 };
    let mut metrics = Metrics::open(folder, first)?;
    let mut saved = (first, Instant::now());
    let mut window: Option<(u64, Pending)> = None;
    let mut read_from = first;
    let mut asked = first;
    let total = trainer.total_steps();
    while trainer.step_count() < total {
        if progress.stop() {
            settle(gpu, &trainer, &mut window, &mut read_from, &mut metrics, progress)?;
            let at = checkpoint::save(folder, &trainer)?;
            return Err(Error::Interrupted(format!(
                "stopped after step {} of {total}; go on with: contraleak pretrain --resume {}",
                at.step,
                folder.display()
            )));
        }
        trainer.step()?;
        let step = trainer.step_count();
        if step - asked >= LOSS_RING / 2 {
            if let Some((upto, pending)) = window.take() {
                metrics.take(gpu, &trainer, pending, read_from, upto, progress)?;
                read_from = upto;
            }
            window = Some((step, trainer.losses_later()?));
            asked = step;
        }
        let due = options
            .checkpoint_every
            .map_or(saved.1.elapsed() >= CHECKPOINT_PAUSE, |every| step - saved.0 >= every.max(1));
        if due && step < total {
            settle(gpu, &trainer, &mut window, &mut read_from, &mut metrics, progress)?;
            checkpoint::save(folder, &trainer)?;
            saved = (step, Instant::now());
            asked = step;
        }
    }
    settle(gpu, &trainer, &mut window, &mut read_from, &mut metrics, progress)?;
    checkpoint::save(folder, &trainer)?;
    let (encoder, encoder_sha256) = save_encoder(folder, &trainer, &options.config)?;
    Ok(Outcome {
        steps: trainer.step_count(),
        steps_here: trainer.step_count() - first,
        final_loss: final_loss(&trainer, &metrics.losses),
        skipped_steps: trainer.loss_scale()?.map(|scale| scale.skipped.iter().map(|&n| u64::from(n)).sum()),
        losses: metrics.losses,
        encoder,
        encoder_sha256,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Whether `config` is what the run in `folder` was started with; a folder without a configuration holds no run yet.
fn same_run(folder: &Path, config: &PretrainConfig) -> Result<()> {
    if !folder.join(CONFIG_FILE).exists() {
        return Ok(());
    }
    let old = PretrainConfig::read(folder)?;
    if old.data_hash != config.data_hash {
        return Err(Error::usage(format!(
            "{}: its run has other data: expected content hash {}, found {}; resume with the same images or start in a new folder",
            folder.display(),
            old.data_hash,
            config.data_hash
        )));
    }
    if old.start != config.start {
        return Err(Error::usage(format!(
            "{}: its run started from {:?}, not from {:?}; resume with the same start or begin in a new folder",
            folder.display(),
            old.start,
            config.start
        )));
    }
    let changed = old.training.changes(&config.training)?;
    if !changed.is_empty() {
        return Err(Error::usage(format!(
            "{}: its run has another configuration: {}; resume with the same settings or start in a new folder",
            folder.display(),
            changed.join("; ")
        )));
    }
    Ok(())
}

/// Reads all losses up to the last step, so that what is saved next is known to be finite and no line of metrics before
/// it can get lost.
fn settle(
    gpu: &Gpu,
    trainer: &Trainer,
    window: &mut Option<(u64, Pending)>,
    read_from: &mut u64,
    metrics: &mut Metrics,
    progress: &mut dyn Progress,
) -> Result<()> {
    if let Some((upto, pending)) = window.take() {
        metrics.take(gpu, trainer, pending, *read_from, upto, progress)?;
        *read_from = upto;
    }
    let step = trainer.step_count();
    if step > *read_from {
        metrics.take(gpu, trainer, trainer.losses_later()?, *read_from, step, progress)?;
        *read_from = step;
    }
    metrics.flush()
}

/// `metrics.jsonl`, a line a step.
struct Metrics {
    folder: PathBuf,
    path: PathBuf,
    file: std::fs::File,
    losses: Vec<(u64, f32)>,
}

impl Metrics {
    /// Keeps the whole lines up to step `upto`, which a killed run may have gone beyond, and appends from there.
    fn open(folder: &Path, upto: u64) -> Result<Metrics> {
        let path = folder.join(METRICS);
        let old = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::io(&path, error)),
        };
        let lines: Vec<(Line, &str)> = old
            .lines()
            .filter_map(|text| serde_json::from_str::<Line>(text).ok().map(|line| (line, text)))
            .filter(|(line, _)| line.step <= upto)
            .collect();
        let kept: String = lines.iter().flat_map(|(_, text)| [text, "\n"]).collect();
        write_bytes_atomic(&path, kept.as_bytes())?;
        let file = std::fs::OpenOptions::new().append(true).open(&path).map_err(|e| Error::io(&path, e))?;
        let losses = lines.into_iter().map(|(l, _)| (l.step, l.loss)).collect();
        Ok(Metrics { folder: folder.to_path_buf(), path, file, losses })
    }

    /// Writes the lines of steps `from + 1 ..= upto`, whose losses are in `pending`.
    ///
    /// # Errors
    /// [`Error::Diverged`] at the first loss that is not finite, after the lines before it and without the
    /// checkpoint that leads to it.
    fn take(
        &mut self,
        gpu: &Gpu,
        trainer: &Trainer,
        pending: Pending,
        from: u64,
        upto: u64,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let ring: Vec<f32> = pending.wait(gpu)?;
        let mut text = String::new();
        for step in from..upto {
            let loss = ring[(step % LOSS_RING) as usize];
            if !loss.is_finite() {
                self.append(&text)?;
                checkpoint::discard(&self.folder, step)?;
                let kept = checkpoint::list(&self.folder)?
                    .pop()
                    .map_or(String::new(), |good| format!("; the checkpoint of step {} is kept", good.step));
                return Err(Error::Diverged(format!(
                    "the loss became {loss} at step {}{kept}; try a lower learning rate or a higher temperature",
                    step + 1
                )));
            }
            let place = trainer.place(step);
            let phase = (trainer.training().phases() > 1).then(|| PHASES[place.phase].to_string());
            let learning_rate = trainer.learning_rate(step);
            let line = Line { step: step + 1, epoch: place.epoch, phase, loss, learning_rate };
            text.push_str(&serde_json::to_string(&line).map_err(|e| Error::shape(format!("metrics: {e}")))?);
            text.push('\n');
            self.losses.push((step + 1, loss));
        }
        self.append(&text)?;
        if let Some(&(step, loss)) = self.losses.last() {
            progress.step(step, trainer.total_steps(), loss);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io(&self.path, e))
    }

    fn append(&mut self, text: &str) -> Result<()> {
        self.file.write_all(text.as_bytes()).map_err(|e| Error::io(&self.path, e))
    }
}

/// The last loss of the encoder, which in Talos is not the last one.
fn final_loss(trainer: &Trainer, losses: &[(u64, f32)]) -> f32 {
    let of_encoder = |step: u64| trainer.place(step - 1).phase == 0;
    losses.iter().rev().find(|(step, _)| of_encoder(*step)).map_or(f32::NAN, |(_, loss)| *loss)
}

/// The weights that a run starts from.
///
/// # Errors
/// A file that is missing or has changed; an encoder of another shape.
fn start_values(start: &Start, trainer: &Trainer) -> Result<Values> {
    let file = EncoderFile::read(&start.file)?;
    if file.sha256 != start.sha256 {
        return Err(Error::usage(format!(
            "{}: the run starts from the file with SHA-256 {}, found {}; bring that file back or begin a new run",
            start.file.display(),
            start.sha256,
            file.sha256
        )));
    }
    // The encoder must be there as a whole; a projection head is taken if its shape is the same.
    let bare = Model::new(trainer.model().config, Attachments::NONE)?;
    let mut values = file.match_parameters(&bare.parameters, |_| false)?.values;
    for (name, tensor) in &file.state.tensors {
        if name.starts_with("projector.") {
            values.insert(name.clone(), tensor.values.clone());
        }
    }
    Ok(values)
}

fn save_encoder(folder: &Path, trainer: &Trainer, run: &PretrainConfig) -> Result<(PathBuf, String)> {
    let training = trainer.training();
    let settings = training.settings();
    let (values, _) = trainer.download()?;
    // Running statistics move once for each pass, and only in the first phase.
    let updates = (trainer.step_count() / training.phases() as u64 * training.passes()) as i64;
    let state = StateDict::of_parameters(&trainer.model().parameters, &values, updates)?;
    let json = serde_json::to_value(run).map_err(|e| Error::usage(format!("configuration: {e}")))?;
    let metadata = EncoderMetadata {
        arch: settings.encoder.arch.to_string(),
        stem: settings.encoder.stem.to_string(),
        width: settings.encoder.width,
        normalization: Normalization {
            mean: settings.recipe.mean.map(|v| v as f32),
            std: settings.recipe.std.map(|v| v as f32),
        },
        config: json,
    };
    let path = folder.join(ENCODER);
    let sha256 = EncoderFile::write(&path, state, &metadata)?;
    Ok((path, sha256))
}
