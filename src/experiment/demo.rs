//! The demo: the main job end to end on built-in data, small enough for two cores without a GPU.

use super::encodermi::{Audit, Finding, Knowledge, Sets, Side, summary};
use super::tell::{Tell, Watch};
use crate::attack::encodermi::{Settings, Variant};
use crate::augment::Recipe;
use crate::data::splits::{EncoderMiPool, encodermi_split};
use crate::data::{self, ImageSet};
use crate::gpu::Gpu;
use crate::nn::{Architecture, EncoderFile, Stem};
use crate::train::{
    Attachments, BatchNormScope, Encoder, EncoderConfig, Model, Outcome, PretrainConfig, RunOptions,
    SimclrConfig, pretrain,
};
use crate::{Error, Result};
use std::path::Path;
use std::time::Instant;

/// Images of each of the four groups.
const GROUP: usize = 50;
const SIZE: usize = 32;

/// How the demo's encoders are trained: a narrow ResNet-18 on few images for many epochs, so that it overfits in a minute.
/// What members stand out by grows like epochs over images, so that few images show most in a given time.
fn simclr(recipe: Recipe, seed: u64) -> SimclrConfig {
    let encoder = EncoderConfig { arch: Architecture::Resnet18, stem: Stem::Imagenet, width: 32, size: SIZE };
    SimclrConfig {
        batch_norm: BatchNormScope::Joint,
        temperature: 0.2,
        ..SimclrConfig::emi_simclr(encoder, recipe, GROUP, 300, seed)
    }
}

/// Pre-trains a target and a shadow encoder on drawn faces, audits the target with EncoderMI-V, -S and -T, and writes
/// the report into `folder`.
pub fn run(gpu: &Gpu, folder: &Path, seed: u64, tell: &mut dyn Tell) -> Result<Finding> {
    let start = Instant::now();
    let spec = format!("synthetic-faces:count={},size={SIZE},seed={seed}", 5 * GROUP);
    tell.stage("drawing faces");
    let set = data::open(&spec)?;
    let split = encodermi_split(&EncoderMiPool::Custom { images: set.len(), proportions: [0.2; 5] }, seed)?;
    let part = |indices: &[usize]| set.subset(indices);
    let sets = Sets::new([
        part(&split.members)?,
        part(&split.nonmembers)?,
        part(&split.shadow_members)?,
        part(&split.shadow_nonmembers)?,
    ])?;
    let normalization = set.normalization();
    let constants = (normalization.mean.map(f64::from), normalization.std.map(f64::from));
    let recipe = Recipe::named("moco-cifar")?.sized(SIZE).normalised(constants);
    let demo_seed = seed;
    let train = |role: &str,
                 members: &ImageSet,
                 seed: u64,
                 tell: &mut dyn Tell|
     -> Result<(Encoder, Outcome, SimclrConfig)> {
        tell.stage(&format!("pre-training the {role} encoder on {} faces", members.len()));
        let config = simclr(recipe.clone(), seed);
        let options = RunOptions {
            folder: folder.join(role),
            config: PretrainConfig {
                data: format!("{spec} ({role} members of the split with seed {seed})"),
                data_hash: members.content_hash(),
                start: None,
                exact_conv: gpu.facts().exact_conv,
                training: config.clone().into(),
            },
            resume: folder.join(role).join(crate::train::CONFIG_FILE).exists(),
            checkpoint_every: None,
        };
        let outcome = pretrain(gpu, members, &options, &mut Watch(tell)).map_err(|e| match e {
            Error::Interrupted(_) => Error::Interrupted(format!(
                "stopped while pre-training the {role} encoder; go on with: contraleak demo --out {} --seed {demo_seed}",
                folder.display()
            )),
            Error::Usage(problem) => Error::Usage(format!(
                "{problem}\n(the folder holds a demo with other settings: delete it, or choose another with --out)"
            )),
            other => other,
        })?;
        let file = EncoderFile::read(&outcome.encoder)?;
        let model = Model::new(config.encoder, Attachments::NONE)?;
        let values = file.match_parameters(&model.parameters, |_| false)?.values;
        Ok((Encoder::new(gpu, config.encoder, &values)?, outcome, config))
    };
    let (target, target_outcome, config) = train("target", &sets.members, seed, tell)?;
    let (shadow, shadow_outcome, _) = train("shadow", &sets.shadow_members, seed.wrapping_add(1), tell)?;
    let trained = start.elapsed().as_secs_f64();

    tell.stage("attacking the target with EncoderMI");
    let mut settings = Settings::default();
    // The published 300 epochs of S are for 20,000 images; here they would take longer than everything else.
    settings.set.epochs = 100;
    let audit = Audit {
        target: Side {
            encoder: &target,
            sha256: &target_outcome.encoder_sha256,
            recipe: &recipe,
            members: &sets.members,
            non_members: &sets.non_members,
        },
        knowledge: Knowledge::Shadow(Side {
            encoder: &shadow,
            sha256: &shadow_outcome.encoder_sha256,
            recipe: &recipe,
            members: &sets.shadow_members,
            non_members: &sets.shadow_non_members,
        }),
        variants: Variant::ALL.to_vec(),
        settings,
        shuffles: 5,
        control_images: usize::MAX,
        keep: None,
        seed,
    };
    let mut finding =
        audit.run(gpu, "Demo: what a contrastive encoder tells about its training faces", &mut |what| {
            tell.progress(0, 0, what);
            tell.stop()
        })?;
    let results = &mut finding.results;
    let parameters = Model::new(config.encoder, Attachments::NONE)?.parameters.trained_elements() as u64;
    results.encoder = summary("target", &config, &target_outcome, sets.members.len(), parameters);
    results.other_encoders =
        vec![summary("shadow", &config, &shadow_outcome, sets.shadow_members.len(), parameters)];
    results.data = sets.summary();
    results.data.name = spec;
    results.data.content_hash = Some(set.content_hash());
    results.commands = vec![format!("contraleak demo --seed {seed}")];
    results.seeds.insert("demo".into(), seed);
    results.stages.insert(
        0,
        super::report::Stage {
            name: "drawing faces, pre-training the target and the shadow encoder".into(),
            seconds: trained,
        },
    );
    results.wall_time_s = start.elapsed().as_secs_f64();
    if let Some(object) = results.config.as_object_mut() {
        let text = serde_json::to_value(&config).map_err(|e| Error::usage(format!("configuration: {e}")))?;
        object.insert("pretrain".into(), text);
    }
    finding.write(folder)?;
    Ok(finding)
}
