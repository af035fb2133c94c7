//! What an encoder file is, from names and shapes alone.

use contraleak::nn::recognize::Recognition;
use contraleak::nn::{Architecture, StateDict, StateTensor, Stem};
use contraleak::train::{Attachments, EncoderConfig, Model};

/// The state of an untrained encoder; only names and shapes matter.
fn state(config: EncoderConfig) -> StateDict {
    let model = Model::new(config, Attachments::NONE).unwrap();
    let tensors = model.parameters.iter().map(|(_, p)| {
        let dimensions = p.dimensions.clone();
        (p.name.clone(), StateTensor { values: vec![0.5; dimensions.iter().product()], dimensions })
    });
    StateDict { tensors: tensors.collect(), ..StateDict::default() }
}

/// Every architecture at some width and size that differ from the usual ones.
fn configs() -> Vec<EncoderConfig> {
    let mut all = Vec::new();
    for arch in Architecture::ALL {
        let stems = if arch.is_resnet() { vec![Stem::Cifar, Stem::Imagenet] } else { vec![Stem::Own] };
        for stem in stems {
            let (width, size) = if arch == Architecture::ClipRn50 {
                (32, 96)
            } else if arch.is_clip() {
                (192, 160)
            } else {
                (16, 64)
            };
            all.push(EncoderConfig { arch, stem, width, size });
        }
    }
    all
}

#[test]
fn every_architecture_is_recognised_from_its_own_tensors() {
    for config in configs() {
        let found = Recognition::of(&state(config), "encoder.pt").unwrap().unwrap();
        // GELU leaves no trace in names and shapes.
        let expected = match config.arch {
            Architecture::OpenClipVitB32 => Architecture::ClipVitB32,
            other => other,
        };
        assert_eq!((found.architecture, found.stem, found.width), (expected, config.stem, config.width));
        assert_eq!(found.size, config.arch.is_clip().then_some(config.size), "{}", config.arch);
        assert!(!found.evidence.is_empty());
    }
}

#[test]
fn preparation_is_that_of_the_layout() {
    let of = |arch, stem, width, size| {
        let config = EncoderConfig { arch, stem, width, size };
        Recognition::of(&state(config), "x").unwrap().unwrap().preparation(None)
    };
    let clip = of(Architecture::ClipVitB32, Stem::Own, 192, 224);
    assert_eq!((clip.normalization, clip.size, clip.certain), ("clip", 224, true));
    let imagenet = of(Architecture::Resnet50, Stem::Imagenet, 8, 32);
    assert_eq!((imagenet.normalization, imagenet.size, imagenet.certain), ("imagenet", 224, false));
    let cifar = of(Architecture::Resnet18, Stem::Cifar, 8, 32);
    assert_eq!((cifar.normalization, cifar.size, cifar.certain), ("cifar10", 32, false));
}

#[test]
fn relatives_that_are_not_supported_are_named() {
    let resnet50 = || {
        let (arch, stem) = (Architecture::Resnet50, Stem::Imagenet);
        state(EncoderConfig { arch, stem, width: 8, size: 32 })
    };
    let refused = |state: &StateDict, parts: &[&str]| {
        let problem = Recognition::of(state, "their.pt").unwrap_err().to_string();
        for part in parts.iter().chain(&["their.pt"]) {
            assert!(problem.contains(part), "expected {part:?} in: {problem}");
        }
    };
    let mut wide = resnet50();
    let tensor = StateTensor { dimensions: vec![16, 16, 3, 3], values: vec![0.0; 16 * 16 * 9] };
    wide.tensors.insert("layer1.0.conv2.weight".into(), tensor);
    refused(&wide, &["ResNeXt or wide ResNet", "ResNet-18, -34, -50 or -101"]);
    let mut longer = resnet50();
    let block = longer.tensors["layer3.5.conv1.weight"].clone();
    longer.tensors.insert("layer3.6.conv1.weight".into(), block);
    refused(&longer, &["[3, 4, 7, 3]"]);
    let mut patches =
        state(EncoderConfig { arch: Architecture::ClipVitB32, stem: Stem::Own, width: 192, size: 64 });
    let tensor = StateTensor { dimensions: vec![192, 3, 16, 16], values: vec![0.0; 192 * 3 * 256] };
    patches.tensors.insert("visual.conv1.weight".into(), tensor);
    refused(&patches, &["12 layers over patches of 16", "ViT-B/32"]);
    let mut tokens =
        state(EncoderConfig { arch: Architecture::ClipRn50, stem: Stem::Own, width: 32, size: 96 });
    let name = "visual.attnpool.positional_embedding";
    let tensor = StateTensor { dimensions: vec![7, 1024], values: vec![0.0; 7 * 1024] };
    tokens.tensors.insert(name.into(), tensor);
    refused(&tokens, &["positional embedding", "7"]);
    for (dimensions, part) in [
        (vec![1_048_577, 0], ""),
        (vec![10], "[10]"),
        (vec![10, 1000], "[10, 1000]"),
        (vec![65 * 65 + 1, 1024], "at most 64 a side"),
    ] {
        let values = vec![0.0; dimensions.iter().product()];
        tokens.tensors.insert(name.into(), StateTensor { dimensions: dimensions.clone(), values });
        match dimensions.contains(&0) {
            // Then it is not there, and nothing says that this is CLIP.
            true => assert_eq!(Recognition::of(&tokens, "x").unwrap(), None),
            false => refused(&tokens, &["positional embedding", part]),
        }
    }
}

#[test]
fn widths_are_limited() {
    let (arch, stem) = (Architecture::Resnet18, Stem::Cifar);
    let mut wide = state(EncoderConfig { arch, stem, width: 8, size: 32 });
    let tensor = StateTensor { dimensions: vec![65_537, 3, 3, 3], values: Vec::new() };
    wide.tensors.insert("conv1.weight".into(), tensor);
    let message = Recognition::of(&wide, "x").unwrap_err().to_string();
    assert!(message.contains("1 to 65536 channels") && message.contains("65537"), "{message}");
}

#[test]
fn other_tensors_are_of_no_architecture() {
    let mut state = StateDict::default();
    assert_eq!(Recognition::of(&state, "x").unwrap(), None);
    state.tensors.insert("w".into(), StateTensor { dimensions: vec![1], values: vec![1.0] });
    assert_eq!(Recognition::of(&state, "x").unwrap(), None);
}
