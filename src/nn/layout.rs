//! Names of encoder weights in files of other programs, brought to the names used here (torchvision's, with the
//! projection head under `projector.`).
//!
//! Training code wraps a model in prefixes (`module.encoder_q.…`) and may number its layers instead of naming
//! them (`f.0.weight`). Both are recognised by a tensor that only that layout has. Sources: the public
//! repositories named beside each layout.

use std::collections::BTreeMap;

use super::state_dict::StateDict;
use crate::data::problems::shown;
use crate::{Error, Result};

/// Wrappers that may stand before the names of a backbone, in any combination.
const WRAPPERS: [&str; 18] = [
    "module.",
    "_orig_mod.",
    "model.",
    "state_dict.",
    "encoder.",
    "encoder_q.",
    "base_encoder.",
    "backbone.",
    "visual.",
    // Lightning modules: BYOL and its kin, wrappers called by their kind
    "online_network.",
    "online_encoder.",
    "feature_extractor.",
    "network.",
    "net.",
    "resnet.",
    // facebookresearch/vissl
    "trunk.",
    "_feature_blocks.",
    "base_model.",
];
/// Wrappers before one name, and different prefixes in one file, of which more are not tried: programs nest three
/// or four, and what a file may cost must not grow with the square of its names.
const MOST_WRAPPERS: usize = 8;
const MOST_PREFIXES: usize = 1000;
/// Wrappers that say nothing of what they wrap (data parallel, compiled, Lightning): they leave every name.
const NEUTRAL: [&str; 4] = ["module.", "_orig_mod.", "model.", "state_dict."];
/// Wrappers whose `fc` is a projection head: what they wrap was trained by contrast, not on classes.
const CONTRASTIVE: [&str; 6] =
    ["encoder.", "encoder_q.", "base_encoder.", "backbone.", "online_network.", "online_encoder."];

/// One naming scheme.
struct Layout {
    name: &'static str,
    /// Tensors that together only this layout has.
    signature: &'static [&'static str],
    /// Beginnings of names, and what they become. The first that fits is taken.
    renames: &'static [(&'static str, &'static str)],
}

/// Layouts in the order in which they are tried.
const LAYOUTS: [Layout; 14] = [
    Layout { name: "CLIP ViT", signature: &["visual.conv1.weight", "visual.class_embedding"], renames: &[] },
    Layout {
        name: "CLIP ResNet",
        signature: &["visual.conv1.weight", "visual.attnpool.positional_embedding"],
        renames: &[],
    },
    // model.visual.state_dict() of openai/CLIP and open_clip
    Layout {
        name: "CLIP ViT, image tower",
        signature: &["conv1.weight", "class_embedding", "ln_pre.weight"],
        renames: &[("", "visual.")],
    },
    Layout {
        name: "CLIP ResNet, image tower",
        signature: &["conv1.weight", "attnpool.positional_embedding"],
        renames: &[("", "visual.")],
    },
    // kuangliu/pytorch-cifar, HobbitLong/SupContrast
    Layout {
        name: "pytorch-cifar ResNet",
        signature: &["conv1.weight", "layer1.0.conv1.weight", "layer2.0.shortcut.0.weight"],
        renames: &[("linear.", "fc.")],
    },
    Layout {
        name: "torchvision ResNet",
        signature: &["conv1.weight", "layer1.0.conv1.weight"],
        renames: &[],
    },
    // Sequential(*resnet.children()), as lightly's examples wrap it
    Layout {
        name: "torchvision ResNet, numbered",
        signature: &["0.weight", "1.running_mean", "4.0.conv1.weight"],
        renames: &[
            ("0.", "conv1."),
            ("1.", "bn1."),
            ("4.", "layer1."),
            ("5.", "layer2."),
            ("6.", "layer3."),
            ("7.", "layer4."),
        ],
    },
    // facebookresearch/moco, CIFAR-10 notebook
    Layout {
        name: "MoCo CIFAR notebook",
        signature: &["net.0.weight", "net.3.0.conv1.weight"],
        renames: &[
            ("net.0.", "conv1."),
            ("net.1.", "bn1."),
            ("net.3.", "layer1."),
            ("net.4.", "layer2."),
            ("net.5.", "layer3."),
            ("net.6.", "layer4."),
            ("net.9.", "projector.0."),
        ],
    },
    // leftthomas/SimCLR
    Layout {
        name: "SimCLR (f, g)",
        signature: &["f.0.weight", "f.3.0.conv1.weight"],
        renames: &[
            ("f.0.", "conv1."),
            ("f.1.", "bn1."),
            ("f.3.", "layer1."),
            ("f.4.", "layer2."),
            ("f.5.", "layer3."),
            ("f.6.", "layer4."),
            ("g.", "projector."),
        ],
    },
    // jinyuan-jia/BadEncoder
    Layout {
        name: "BadEncoder",
        signature: &["f.f.0.weight", "f.f.3.0.conv1.weight"],
        renames: &[
            ("f.f.0.", "conv1."),
            ("f.f.1.", "bn1."),
            ("f.f.3.", "layer1."),
            ("f.f.4.", "layer2."),
            ("f.f.5.", "layer3."),
            ("f.f.6.", "layer4."),
            ("f.g.", "projector."),
            ("g.", "projector."),
        ],
    },
    // xinleihe/ContrastiveLeaks
    Layout {
        name: "ContrastiveLeaks ResNet",
        signature: &["features.0.weight", "features.4.0.conv1.weight"],
        renames: &[
            ("features.0.", "conv1."),
            ("features.1.", "bn1."),
            ("features.4.", "layer1."),
            ("features.5.", "layer2."),
            ("features.6.", "layer3."),
            ("features.7.", "layer4."),
            ("l1.", "projector.0."),
            ("l2.", "projector.2."),
        ],
    },
    Layout {
        name: "ContrastiveLeaks MobileNetV2",
        signature: &["features.features.0.0.weight"],
        renames: &[("features.features.", "features."), ("l1.", "projector.0."), ("l2.", "projector.2.")],
    },
    Layout {
        name: "torchvision MobileNetV2",
        signature: &["features.0.0.weight", "features.1.conv.0.0.weight"],
        renames: &[],
    },
    Layout { name: "torchvision VGG", signature: &["features.0.weight", "features.4.weight"], renames: &[] },
];

/// What [`to_native_names`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognized {
    pub layout: &'static str,
    /// What stood before every name of the backbone, for example `module.encoder_q.`.
    pub prefix: String,
}

/// Renames the tensors and counters of `state` from the layout of the file they were read from. Names that are no
/// part of a layout (`encoder_k.…`, `queue`) lose `module.` and its like and stay otherwise as they are. `None`, and nothing
/// renamed, when no layout is recognised.
///
/// # Errors
/// [`Error::Data`] at `place` when two tensors would get one name (both named).
pub fn to_native_names(state: &mut StateDict, place: &str) -> Result<Option<Recognized>> {
    let Some((layout, prefix)) = recognize(state) else { return Ok(None) };
    let contrastive = prefix.split_inclusive('.').any(|wrapper| CONTRASTIVE.contains(&wrapper));
    // Beside a projector of its own name, `fc` is what the backbone was built with.
    let names = || state.tensors.keys().chain(state.counters.keys()).chain(state.skipped.keys());
    let projects = |name: &String| native_name(name, layout, &prefix, false).starts_with("projector.");
    let head = contrastive && !names().any(projects);
    let rename = |name: &str| native_name(name, layout, &prefix, head);
    state.tensors = renamed(std::mem::take(&mut state.tensors), rename, place)?;
    state.counters = renamed(std::mem::take(&mut state.counters), rename, place)?;
    state.skipped = renamed(std::mem::take(&mut state.skipped), rename, place)?;
    Ok(Some(Recognized { layout: layout.name, prefix }))
}

/// The layout and the prefix before it; the shortest prefix where there are several.
fn recognize(state: &StateDict) -> Option<(&'static Layout, String)> {
    let mut prefixes: Vec<&str> = vec![""];
    for name in state.tensors.keys() {
        let mut end = 0;
        for _ in 0..MOST_WRAPPERS {
            let fits = |wrapper: &&&str| name[end..].starts_with(**wrapper);
            let Some(wrapper) = WRAPPERS.iter().find(fits) else { break };
            end += wrapper.len();
            prefixes.push(&name[..end]);
        }
    }
    prefixes.sort_unstable_by_key(|prefix| (prefix.len(), *prefix));
    prefixes.dedup();
    prefixes.into_iter().take(MOST_PREFIXES).find_map(|prefix| {
        let has = |name: &&str| state.tensors.contains_key(&format!("{prefix}{name}"));
        let layout = LAYOUTS.iter().find(|layout| layout.signature.iter().all(has))?;
        Some((layout, prefix.to_string()))
    })
}

fn native_name(name: &str, layout: &Layout, prefix: &str, head: bool) -> String {
    let Some(inner) = name.strip_prefix(prefix) else {
        let outer = without_neutral(name, prefix);
        return match outer.strip_prefix("classifier.model.") {
            Some(classifier) => format!("head.{classifier}"),
            None => outer.to_string(),
        };
    };
    for (from, to) in layout.renames {
        if let Some(rest) = inner.strip_prefix(from) {
            return format!("{to}{rest}");
        }
    }
    if layout.name == "pytorch-cifar ResNet" && inner.starts_with("layer") {
        return inner.replacen(".shortcut.", ".downsample.", 1);
    }
    match inner.strip_prefix("fc.") {
        // A lone linear layer has no number of its own.
        Some(rest @ ("weight" | "bias")) if head => format!("projector.0.{rest}"),
        Some(rest) if head => format!("projector.{rest}"),
        _ => inner.to_string(),
    }
}

/// A name without the neutral wrappers that stand before it; `model.` only where it stands before the backbone too.
fn without_neutral<'a>(name: &'a str, prefix: &str) -> &'a str {
    let mut rest = name;
    while let Some(wrapper) = NEUTRAL.iter().find(|wrapper| rest.starts_with(**wrapper)) {
        if !matches!(*wrapper, "module." | "_orig_mod.") && !prefix.contains(wrapper) {
            break;
        }
        rest = &rest[wrapper.len()..];
    }
    rest
}

/// Whether names may stand under `key` without changing what they mean.
pub(super) fn is_wrapper(key: &str) -> bool {
    WRAPPERS.iter().any(|wrapper| wrapper.strip_suffix('.') == Some(key))
}

fn renamed<T>(
    entries: BTreeMap<String, T>,
    rename: impl Fn(&str) -> String,
    place: &str,
) -> Result<BTreeMap<String, T>> {
    let mut result: BTreeMap<String, (String, T)> = BTreeMap::new();
    for (name, value) in entries {
        let native = rename(&name);
        if let Some((other, _)) = result.get(&native) {
            return Err(Error::data(
                place,
                format!(
                    "expected one tensor for {}, found {} and {}; leave one of them out",
                    shown(&native),
                    shown(other),
                    shown(&name)
                ),
            ));
        }
        result.insert(native, (name, value));
    }
    Ok(result.into_iter().map(|(native, (_, value))| (native, value)).collect())
}
