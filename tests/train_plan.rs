//! What a training step needs of an adapter, without an adapter: memory of published settings, and refusals that name
//! the largest batch that fits.

use contraleak::Error;
use contraleak::augment::Recipe;
use contraleak::gpu::{Allocator, Facts, KernelClass, MemoryPlan, Products, TileRates};
use contraleak::nn::{Architecture, Stem};
use contraleak::optim::Optimizer;
use contraleak::train::{
    BatchNormScope, EncoderConfig, MocoConfig, SetSize, SimclrConfig, SupervisedConfig, TalosConfig,
    Training, plan,
};

const GIB: u64 = 1 << 30;
const SET: SetSize = SetSize { images: 50_000, height: 32, width: 32 };

/// A GPU of its own as NVIDIA's driver describes one.
fn discrete() -> Facts {
    Facts {
        products: Products::Single,
        class: KernelClass::Discrete,
        subgroup: Some(32),
        exact_conv: false,
        shared_memory: false,
        int64: true,
        threads: 1,
        code_cache_bytes: 32 << 10,
        max_binding_bytes: 2 * GIB - 1,
        max_buffer_bytes: 1 << 60,
        max_texture_side: 32_768,
        max_groups: 65_535,
        max_invocations: 1024,
        max_workgroup_bytes: 49_152,
        offset_alignment: 256,
        tile_rates: TileRates::default(),
    }
}

fn encoder(arch: Architecture, width: usize) -> EncoderConfig {
    EncoderConfig { arch, stem: Stem::Cifar, width, size: 32 }
}

fn recipe() -> Recipe {
    Recipe { size: 32, ..Recipe::named("moco-cifar").expect("a recipe") }
}

fn simclr(arch: Architecture, width: usize, batch: usize) -> SimclrConfig {
    SimclrConfig {
        batch_norm: BatchNormScope::Joint,
        ..SimclrConfig::emi_simclr(encoder(arch, width), recipe(), batch, 1, 0)
    }
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / GIB as f64
}

fn step(facts: &Facts, training: impl Into<Training>) -> MemoryPlan {
    let mut plans = plan::memory(facts, &training.into(), SET).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(plans.len(), 1);
    plans.remove(0)
}

/// 1,024 views a step, Adam. What lies on the device beside the transient tensors: parameters, gradients, two moments,
/// running statistics, and the set's images as bytes.
#[test]
fn published_batches_fit_the_memory_of_one_gpu() {
    for (arch, most_gib, trained) in
        [(Architecture::Resnet18, 16, 11_000_000), (Architecture::Resnet50, 40, 23_000_000)]
    {
        for scope in [BatchNormScope::Joint, BatchNormScope::PerView] {
            let training = SimclrConfig { batch_norm: scope, ..simclr(arch, 64, 512) };
            let found = step(&discrete(), training);
            println!(
                "{arch}, 512 images, {scope:?}: {:.2} GiB transient in {} buffers ({:.2} without sharing), {:.2} GiB persistent",
                gib(found.transient_bytes),
                found.buffer_slots,
                gib(found.unshared_bytes),
                gib(found.persistent_bytes),
            );
            let sum = found.transient_bytes + found.persistent_bytes;
            assert!(sum <= most_gib * 1_000_000_000, "{arch} {scope:?}: {:.2} GiB", gib(sum));
            // Four arenas, and images of four bytes a pixel.
            let images = SET.images as u64 * 32 * 32 * 4;
            assert!(found.persistent_bytes > 4 * 4 * trained + images, "{found:?}");
            assert!(found.transient_bytes < found.unshared_bytes, "{found:?}");
        }
    }
}

#[track_caller]
fn refused(facts: &Facts, training: impl Into<Training>) -> String {
    let training = training.into();
    match plan::check(facts, &training, SET) {
        Err(error @ Error::Limit { .. }) => error.to_string(),
        other => panic!("expected a limit, found {other:?}"),
    }
}

/// The batch that the message names fits, and the next one that the method allows does not.
#[track_caller]
fn names_the_largest(facts: &Facts, training: impl Into<Training>, parts: &[&str], step: usize) -> usize {
    let training = training.into();
    let message = refused(facts, training.clone());
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
    let (_, named) =
        message.rsplit_once("; the largest batch that fits is ").unwrap_or_else(|| panic!("{message}"));
    let named: usize = named.parse().unwrap_or_else(|_| panic!("{message}"));
    assert!(plan::check(facts, &training.with_batch(named), SET).is_ok(), "{named}");
    assert!(plan::check(facts, &training.with_batch(named + step), SET).is_err(), "{named} + {step}");
    named
}

#[test]
fn a_batch_over_the_binding_limit_is_refused_with_the_largest_that_fits() {
    // The first layer's activations are the largest: 64 channels of 32 x 32 are 256 KiB a view.
    let facts = Facts { max_binding_bytes: 128 << 20, ..discrete() };
    let parts = ["batch 300: ", "157286400 bytes (150.0 MiB)", "a binding of at most 134217728 bytes"];
    assert_eq!(names_the_largest(&facts, simclr(Architecture::Resnet18, 64, 300), &parts, 1), 256);
    assert!(
        refused(&facts, simclr(Architecture::Resnet18, 64, 300))
            .contains("conv1, conv2d (kernel conv/conv2d)")
    );
    // A pass for each view halves what a binding holds.
    let per_view =
        SimclrConfig { batch_norm: BatchNormScope::PerView, ..simclr(Architecture::Resnet18, 64, 600) };
    assert_eq!(names_the_largest(&facts, per_view, &["batch 600: "], 1), 512);
    // Methods with two programs, labels, and one view.
    let talos =
        SimclrConfig { talos: Some(TalosConfig::new(1.0, 4)), ..simclr(Architecture::Resnet18, 64, 300) };
    assert_eq!(names_the_largest(&facts, talos, &["batch 300: "], 1), 256);
    let supervised =
        SupervisedConfig::cl_supervised(encoder(Architecture::Resnet18, 64), recipe(), 10, 4096, 1, 0, false);
    assert_eq!(names_the_largest(&facts, supervised, &["batch 4096: "], 1), 512);
    // The software class, with its operand textures and Winograd's transforms.
    let software =
        Facts { class: KernelClass::Software, subgroup: Some(8), max_texture_side: 16_384, ..facts.clone() };
    for shared_memory in [false, true] {
        let software = Facts { shared_memory, ..software.clone() };
        let named =
            names_the_largest(&software, simclr(Architecture::Resnet18, 64, 2000), &["batch 2000: "], 1);
        assert_eq!(named, 256, "what the layers need decides, not their scratch memory");
    }
}

/// MoCo's batches are multiples of its splits and divide its queue.
#[test]
fn the_largest_batch_is_one_that_the_method_allows() {
    let facts = Facts { max_binding_bytes: 64 << 20, ..discrete() };
    let moco = MocoConfig::emi_moco(encoder(Architecture::Resnet18, 64), recipe(), 1024, 1, 0);
    let message = refused(&facts, moco.clone());
    assert!(message.ends_with("; the largest batch that fits is 256"), "{message}");
    let odd = MocoConfig { queue: 3 * 80, batch: 240, splits: 8, ..moco };
    let message = refused(&Facts { max_binding_bytes: 30 << 20, ..facts }, odd);
    assert!(message.ends_with("; the largest batch that fits is 120"), "{message}");
}

#[test]
fn where_no_batch_fits_the_message_says_so() {
    let facts = Facts { max_binding_bytes: 400 << 10, ..discrete() };
    let message = refused(&facts, simclr(Architecture::Resnet18, 64, 8));
    assert!(message.ends_with("; no batch fits; use smaller images or a smaller model"), "{message}");
    // The parameters themselves are over the limit of buffers.
    let facts = Facts { max_buffer_bytes: 1 << 20, ..discrete() };
    let message = refused(&facts, simclr(Architecture::Resnet18, 64, 8));
    assert!(
        message.contains("buffer of at most 1048576 bytes") && message.contains("no batch fits"),
        "{message}"
    );
    // Images that do not stay on the device are as large as the batch.
    let facts = Facts { max_binding_bytes: 64 << 10, ..discrete() };
    let set = SetSize { images: 4000, height: 2000, width: 2000 };
    let training = Training::from(simclr(Architecture::Resnet18, 8, 2000));
    let error =
        plan::check(&Facts { max_buffer_bytes: GIB, ..facts }, &training, set).expect_err("16 MB an image");
    assert!(error.to_string().starts_with("batch 2000: images: 32000000000 bytes"), "{error}");
}

#[test]
fn settings_that_are_wrong_are_no_limits() {
    for (training, part) in [
        (simclr(Architecture::Resnet18, 8, 1), "batch: expected at least 2"),
        (SimclrConfig { temperature: 0.0, ..simclr(Architecture::Resnet18, 8, 8) }, "temperature"),
        (SimclrConfig { learning_rate: 0.0, ..simclr(Architecture::Resnet18, 8, 8) }, "learning_rate"),
    ] {
        let error = plan::check(&discrete(), &training.into(), SET).expect_err("it is wrong");
        assert!(matches!(&error, Error::Usage(message) if message.contains(part)), "{error}");
    }
}

/// Every optimizer's state is part of the plan.
#[test]
fn state_of_optimizers_is_counted() {
    let bytes = |optimizer| {
        step(&discrete(), SimclrConfig { optimizer, ..simclr(Architecture::Resnet18, 16, 16) })
            .persistent_bytes
    };
    let (adam, sgd) = (bytes(Optimizer::adam(0.0)), bytes(Optimizer::sgd(0.0)));
    let arena = adam - sgd;
    // ResNet-18 at width 16 and its head, padded to whole texels and places.
    assert!((4 * 690_000..4 * 1_100_000).contains(&arena), "{arena}");
    assert!(Allocator::Plan(&discrete()).buffer("too large", u64::MAX).is_err());
}
