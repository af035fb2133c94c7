//! The data sets of the paper, at their published sizes.

use super::config::{LeaksConfig, Scale};
use crate::{Error, Result};

/// A data set of He & Zhang, Table 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// As `contraleak run` knows it.
    pub name: &'static str,
    /// The SPEC's kind; none for sets that need no folder.
    kind: &'static str,
    /// Options of the SPEC.
    options: &'static str,
    /// What it is, in a line for help.
    pub about: &'static str,
}

const fn preset_of(
    name: &'static str,
    kind: &'static str,
    options: &'static str,
    about: &'static str,
) -> Preset {
    Preset { name, kind, options, about }
}

/// All of them. STL-10 and CIFAR-10 have no sensitive attribute: membership alone is measured there. That of CIFAR-100 is its
/// superclass (assumed; the paper uses none).
pub const PRESETS: [Preset; 12] = [
    preset_of(
        "leaks-faces",
        "synthetic-faces",
        "count=1000,seed=5",
        "drawn faces: smile, skin tone; no files needed",
    ),
    preset_of("leaks-utkface", "utkface", "", "UTKFace: gender, race; 23,705 images, 5,926 a quarter"),
    preset_of(
        "leaks-celeba",
        "celeba",
        "target=Male,attribute=Young+Smiling",
        "CelebA: gender, Young+Smiling (four classes); 7,500 a quarter",
    ),
    preset_of(
        "leaks-celeba-mouth",
        "celeba",
        "target=Male,attribute=Mouth_Slightly_Open+Smiling",
        "CelebA with Mouth_Slightly_Open+Smiling",
    ),
    preset_of(
        "leaks-celeba-attractive",
        "celeba",
        "target=Male,attribute=Attractive+Smiling",
        "CelebA with Attractive+Smiling",
    ),
    preset_of(
        "leaks-stl10",
        "stl10",
        "part=all",
        "STL-10: class; no attribute; 3,250 a quarter; stage 0 on its unlabelled part",
    ),
    preset_of("leaks-cifar10", "cifar10", "part=all", "CIFAR-10: class; no attribute; 15,000 a quarter"),
    preset_of("leaks-cifar100", "cifar100", "part=all", "CIFAR-100: class, superclass; 15,000 a quarter"),
    preset_of(
        "leaks-places365",
        "places365",
        "subset=365,per-scene=200",
        "Places365: indoor or outdoor, scene; 18,250 a quarter",
    ),
    preset_of(
        "leaks-places100",
        "places365",
        "subset=100,per-scene=400",
        "100 scenes of Places365; 10,000 a quarter",
    ),
    preset_of("leaks-places50", "places365", "subset=50,per-scene=800", "50 scenes; 10,000 a quarter"),
    preset_of("leaks-places20", "places365", "subset=20,per-scene=2000", "20 scenes; 10,000 a quarter"),
];

/// The experiment of this name on the files in `folder`.
///
/// # Errors
/// A name that is not known; a folder that is missing or not needed.
pub fn preset(
    name: &str,
    folder: Option<&str>,
    stage_zero: Option<&str>,
    scale: Scale,
) -> Result<LeaksConfig> {
    let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
    let found = PRESETS.iter().find(|preset| preset.name == name);
    let preset = found.ok_or_else(|| Error::unknown("experiment", name, &names))?;
    let data = match (preset.kind, folder) {
        ("synthetic-faces", None) => format!("synthetic-faces:{}", preset.options),
        ("synthetic-faces", Some(_)) => {
            return Err(Error::usage(format!("{name}: draws its images; leave --data out")));
        }
        (kind, None) => {
            return Err(Error::usage(format!(
                "{name}: needs the folder of the data set: --data DIR ({kind})"
            )));
        }
        (kind, Some(folder)) if preset.options.is_empty() => format!("{kind}:{folder}"),
        (kind, Some(folder)) => format!("{kind}:{folder}#{}", preset.options),
    };
    let own = match (preset.kind, folder) {
        ("synthetic-faces", _) => Some("synthetic-faces:count=1000,seed=6".to_string()),
        ("stl10", Some(folder)) => Some(format!("stl10:{folder}#part=unlabeled")),
        _ => None,
    };
    let mut config = LeaksConfig::new(&data, stage_zero.or(own.as_deref()), scale);
    // The paper draws 30,000 of CelebA's images.
    if preset.kind == "celeba" && scale == Scale::Paper {
        config.part = Some(7_500);
    }
    if preset.kind == "synthetic-faces" {
        let size = config.encoder.size;
        config.data = format!("{data},size={size}");
        if let Some(stage) = &mut config.stage_zero {
            stage.data = format!("{},size={size}", stage.data);
        }
        // Drawn at any number, but not at the published ones.
        config.part = Some(config.part.unwrap_or(200).min(200));
        config.batch = config.batch.min(50);
        if let Some(stage) = &mut config.stage_zero {
            stage.batch = stage.batch.min(100);
        }
    }
    Ok(config)
}
