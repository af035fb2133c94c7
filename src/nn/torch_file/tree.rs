//! Which part of a checkpoint is the weights, and what their names are.
//!
//! Dicts and TorchScript modules are walked from the top, optimisers' state aside. Of the dicts with tensors in or
//! under them, the one whose key comes first in [`WHOLE`] is taken (of several, the one nearest to the top). Where no
//! key is known, it is the top itself, less outer dicts that only wrap one other.

use std::collections::BTreeMap;

use super::globals::Known;
use super::value::{Loaded, Object, Tensor, Value};
use super::{Fault, shown};
use crate::nn::layout;

/// Keys under which programs keep the weights of a whole model, the preferred first.
const WHOLE: [&str; 14] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "teacher",
    "student",
    "ema",
    "ema_state_dict",
    "model_ema",
    "state_dict_ema",
    "ema_model",
];
/// Keys of training state that is no model.
const TRAINING: [&str; 9] =
    ["scaler", "grad_scaler", "amp", "callbacks", "loops", "rng_state", "param_groups", "loss", "dino_loss"];
/// Dicts of settings whose numbers and texts are kept.
const SETTINGS: [&str; 7] =
    ["args", "opt", "config", "cfg", "hparams", "hyper_parameters", "hyperparameters"];
const DEEPEST: u32 = 64;
const MOST_ENTRIES: usize = 1_000_000;
const LONGEST_NAME: usize = 512;
const MOST_METADATA: usize = 200;
const MOST_PASSED_OVER: usize = 10;

/// The weights of a checkpoint.
pub struct Selection<'a, 'p> {
    /// By name, in its order.
    pub tensors: BTreeMap<String, &'a Tensor<'p>>,
    /// Tensors of kinds that are not read.
    pub others: BTreeMap<String, String>,
    pub metadata: BTreeMap<String, String>,
}

/// A dict or module, where it stands in the tree.
struct Place<'p> {
    parent: Option<usize>,
    key: &'p str,
    value: Value<'p>,
    depth: u32,
    /// Tensors in it and under it.
    tensors: usize,
    /// Tensors in it.
    own: usize,
}

/// Finds the weights; see the module's text for the rule.
pub fn select<'a, 'p>(loaded: &'a Loaded<'p>) -> Result<Selection<'a, 'p>, Fault> {
    let places = survey(loaded)?;
    // The attributes of a module are its own, whatever they are called.
    let module =
        matches!(loaded.object(loaded.top), Some(Object::Record(record)) if record.class == Known::Script);
    let chosen = match places.first() {
        Some(top) if top.tensors > 0 && module => 0,
        Some(top) if top.tensors > 0 => choose(&places),
        _ => return Err(nothing(loaded)),
    };
    let inside: Vec<bool> = places.iter().enumerate().fold(Vec::new(), |mut inside, (index, place)| {
        inside.push(index == chosen || place.parent.is_some_and(|parent| inside[parent]));
        inside
    });
    let mut selection =
        Selection { tensors: BTreeMap::new(), others: BTreeMap::new(), metadata: metadata(loaded) };
    for (index, place) in places.iter().enumerate().filter(|(index, _)| inside[*index]) {
        if place.own == 0 {
            continue;
        }
        let prefix = path(&places, index, Some(chosen))?;
        for (key, value) in loaded.items(place.value).unwrap_or_default() {
            let &Value::Text(key) = key else { continue };
            let name = match prefix.is_empty() {
                true => key.to_string(),
                false => format!("{prefix}.{key}"),
            };
            if name.len() > LONGEST_NAME {
                return Err(too_long(&name));
            }
            let again = match loaded.object(*value) {
                Some(Object::Tensor(tensor)) => selection.tensors.insert(name.clone(), tensor).is_some(),
                Some(Object::OtherTensor(kind)) => {
                    selection.others.insert(name.clone(), kind.to_string()).is_some()
                }
                _ => false,
            };
            if again {
                return Err(Fault::new(format!(
                    "expected one tensor for {}, found two; leave one of them out",
                    shown(&name)
                )));
            }
        }
    }
    let taken = path(&places, chosen, None)?;
    let mut passed_over = Vec::new();
    for (index, _) in places.iter().enumerate().filter(|(index, place)| place.own > 0 && !inside[*index]) {
        match passed_over.len() < MOST_PASSED_OVER {
            true => passed_over.push(shown(&path(&places, index, None)?)),
            false => {
                passed_over.push("…".into());
                break;
            }
        }
    }
    if !passed_over.is_empty() {
        // The top has no name of its own.
        passed_over.iter_mut().filter(|path| path.is_empty()).for_each(|path| *path = "(top level)".into());
        let passed_over = passed_over.join(", ");
        tracing::info!("checkpoint: weights taken from {}, passed over {passed_over}", shown(&taken));
        selection.metadata.insert("checkpoint.passed_over".into(), passed_over);
    }
    if !taken.is_empty() {
        selection.metadata.insert("checkpoint.taken".into(), shown(&taken));
    }
    Ok(selection)
}

/// Every dict and module that can be reached by names from the top, parents before their children.
fn survey<'p>(loaded: &Loaded<'p>) -> Result<Vec<Place<'p>>, Fault> {
    let mut places = vec![Place { parent: None, key: "", value: loaded.top, depth: 0, tensors: 0, own: 0 }];
    let (mut next, mut entries) = (0, 0);
    while next < places.len() {
        let items = loaded.items(places[next].value).unwrap_or_default();
        entries += items.len() + 1;
        if entries > MOST_ENTRIES {
            return Err(Fault::new(format!(
                "expected at most {MOST_ENTRIES} entries in the checkpoint's dicts, found more; save \
                 model.state_dict() alone"
            )));
        }
        let depth = places[next].depth + 1;
        for &(key, value) in items {
            let Value::Text(key) = key else { continue };
            match loaded.object(value) {
                Some(Object::Tensor(_) | Object::OtherTensor(_)) => places[next].own += 1,
                Some(Object::Dict(_) | Object::Record(_)) if !is_training_state(key) => {
                    if places_above(&places, next).any(|above| places[above].value == value) {
                        continue;
                    }
                    if depth > DEEPEST {
                        return Err(Fault::new(format!(
                            "expected dicts at most {DEEPEST} deep, found more at {}",
                            shown(key)
                        )));
                    }
                    places.push(Place { parent: Some(next), key, value, depth, tensors: 0, own: 0 });
                }
                _ => {}
            }
        }
        next += 1;
    }
    for index in (0..places.len()).rev() {
        places[index].tensors += places[index].own;
        if let Some(parent) = places[index].parent {
            places[parent].tensors += places[index].tensors;
        }
    }
    Ok(places)
}

/// A place and all that it stands in.
fn places_above(places: &[Place], from: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(from), |&index| places[index].parent)
}

fn is_training_state(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.contains("optim") || key.contains("sched") || TRAINING.contains(&key.as_str())
}

/// The dict to take where there are tensors.
fn choose(places: &[Place]) -> usize {
    let known = |(index, place): (usize, &Place)| {
        let rank = WHOLE.iter().position(|key| *key == place.key)?;
        (place.tensors > 0).then_some((rank, place.depth, index))
    };
    if let Some((_, _, index)) = places.iter().enumerate().filter_map(known).min() {
        return index;
    }
    let mut chosen = 0;
    loop {
        let mut children =
            places.iter().enumerate().filter(|(_, place)| place.parent == Some(chosen) && place.tensors > 0);
        match (places[chosen].own, children.next(), children.next()) {
            // The layouts know what such a prefix means.
            (0, Some((child, place)), None) if !layout::is_wrapper(place.key) => chosen = child,
            _ => return chosen,
        }
    }
}

/// Keys from below `from` (the top for `None`) to a place, dotted.
fn path(places: &[Place], index: usize, from: Option<usize>) -> Result<String, Fault> {
    let keys: Vec<&str> = places_above(places, index)
        .take_while(|&above| Some(above) != from && places[above].parent.is_some())
        .map(|above| places[above].key)
        .collect();
    match keys.iter().map(|key| key.len() + 1).sum::<usize>() > LONGEST_NAME {
        true => Err(too_long(keys[0])),
        false => Ok(keys.into_iter().rev().collect::<Vec<_>>().join(".")),
    }
}

fn too_long(name: &str) -> Fault {
    Fault::new(format!("expected names of at most {LONGEST_NAME} bytes, found {}", shown(name)))
}

/// What to say of a checkpoint without weights.
fn nothing(loaded: &Loaded) -> Fault {
    let found = match (loaded.object(loaded.top), loaded.items(loaded.top)) {
        (_, Some(items)) => {
            let keys: Vec<String> =
                items.iter().take(10).filter_map(|(key, _)| loaded.simple(*key)).collect();
            format!("a dict of {} entries without any ({})", items.len(), shown(&keys.join(", ")))
        }
        (Some(Object::List(_) | Object::Tuple(_)), _) => "a list".into(),
        (Some(Object::Tensor(_) | Object::OtherTensor(_)), _) => "a single tensor".into(),
        _ => "a single value".into(),
    };
    Fault::new(format!(
        "expected a dict of tensors by name, found {found}; save the weights with torch.save(model.state_dict(), FILE)"
    ))
}

/// Numbers and texts at the top and in its settings.
fn metadata(loaded: &Loaded) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::new();
    let mut keep = |prefix: &str, items: &[(Value, Value)]| {
        for &(key, value) in items {
            let Value::Text(key) = key else { continue };
            if let Some(text) = loaded.simple(value)
                && key.len() <= LONGEST_NAME
                && metadata.len() < MOST_METADATA
            {
                metadata.insert(format!("checkpoint.{prefix}{key}"), text);
            }
        }
    };
    let top = loaded.items(loaded.top).unwrap_or_default();
    keep("", top);
    for &(key, value) in top {
        if let Value::Text(key) = key
            && SETTINGS.contains(&key)
        {
            keep(&format!("{key}."), loaded.items(value).unwrap_or_default());
        }
    }
    metadata
}
